"""Memories whose rows are loaded at run time, and read back."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.memory_style import MemoryStyle


__all__ = ["FOLD_BITS", "Contents", "LoadPort", "LoadedRam", "Loading", "folded", "load_signature"]

FOLD_BITS = 32
"""Width of what is read back: rows are folded to that."""


@dataclass(frozen=True)
class Loading:
    """How a table is loaded.

    Attributes
    ----------
    chunk : int
        Bits that are written at once.
    halved : bool
        Whether both ports of block RAMs read, each half a row; one of them writes, too. Halves are
        loaded and read back one after the other, the lower one first.
    """

    chunk: int
    halved: bool = False

    def word_bits(self, width: int) -> int:
        """Bits of what is loaded and read back at one address, of rows of ``width`` bits."""
        return -(-width // 2) if self.halved else width

    def chunks(self, width: int) -> list[int]:
        """Bits of each chunk of such a word."""
        bits = self.word_bits(width)
        return [min(self.chunk, bits - low) for low in range(0, bits, self.chunk)]

    def words(self, width: int, rows: list[int]) -> list[int]:
        """What is loaded of such rows, in that order."""
        if not self.halved:
            return rows
        bits = self.word_bits(width)
        return [row >> shift & (1 << bits) - 1 for row in rows for shift in (0, bits)]


@dataclass(frozen=True)
class Contents:
    """What a table holds, and how it is loaded.

    Attributes
    ----------
    width : int
        Bits of a row.
    rows : list of int
    loading : Loading
    order : list of int
        Rows in the order in which a frame needs them, if that is another.
    """

    width: int
    rows: list[int]
    loading: Loading
    order: list[int] | None = None

    @property
    def words(self) -> list[int]:
        """What is loaded, in that order."""
        return self.loading.words(self.width, self.rows)

    @property
    def read_back(self) -> list[int]:
        """Words in the order in which they are read back."""
        rows = self.rows if self.order is None else [self.rows[n] for n in self.order]
        return self.loading.words(self.width, rows)

    @property
    def latency(self) -> int:
        """Clock cycles from an address to its word on ``fold``."""
        reads = 2 if len(self.rows) > 1 else 0
        return reads + len(_fold_levels(self.loading.word_bits(self.width)))

    @property
    def chunks(self) -> list[int]:
        """Bits of each chunk of a word."""
        return self.loading.chunks(self.width)


def load_signature(loading: Loading):
    """Bus on which a table is loaded and read back.

    A token goes through the chunks of all words of all tables, with every ``move``: the chunk that
    has it is written all the time, until it moves on. It ``enters`` from the table before, and
    ``leaves`` to the next one. ``clear`` removes it, or with ``start`` brings it to the beginning,
    and words are counted from the first one again. While ``check`` is high, words go to ``fold``,
    one every cycle. ``active`` is high while words are written or read back.
    """
    return wiring.Signature({
        "data": Out(loading.chunk),
        "start": Out(1),
        "move": Out(1),
        "enters": Out(1),
        "leaves": In(1),
        "active": Out(1),
        "check": Out(1),
        "clear": Out(1),
        "fold": In(FOLD_BITS),
    })


class LoadPort:
    """A table's side of a `load_signature`: the token, and what is read back.

    Attributes
    ----------
    write : :class:`Signal`
        Which chunks are written.
    last : :class:`Signal`
        Whether the token is at the last chunk of a word, and moves on.
    """

    def __init__(self, m, bus, chunks):
        self._bus = bus
        self.write = Signal(len(chunks))
        self.last = Signal()
        m.d.comb += self.last.eq(bus.move & self.write[-1])

    def take(self, m, end):
        """Pass the token on; ``end`` is whether the word is the last one."""
        bus, write = self._bus, self.write
        m.d.comb += bus.leaves.eq(write[-1] & end)
        with m.If(bus.clear):
            m.d.sync += write.eq(bus.start)
        with m.Elif(bus.move):
            m.d.sync += write.eq(Cat(bus.enters | (write[-1] & ~end), write))

    def show(self, m, word):
        """Fold a word."""
        lanes = [[] for _ in range(FOLD_BITS)]
        for n in range(len(word)):
            lanes[_lane(n)].append(word[n])
        for level in _fold_levels(len(word)):
            lanes = [_xor_groups(m, lane, f"fold_{level}_{n}") for n, lane in enumerate(lanes)]
        m.d.comb += self._bus.fold.eq(Cat(lane[0] if lane else 0 for lane in lanes))


def folded(word: int, bits: int) -> int:
    """Fold a word of so many bits, as the hardware does."""
    result, mask = 0, (1 << FOLD_BITS) - 1
    for n in range(-(-bits // FOLD_BITS)):
        part, turn = word >> n * FOLD_BITS & mask, n % FOLD_BITS
        result ^= (part << turn | part >> (FOLD_BITS - turn)) & mask
    return result


def _lane(bit):
    """Where a bit goes: parts are rotated, so that the same in two of them does not cancel."""
    return (bit + bit // FOLD_BITS) % FOLD_BITS


def _fold_levels(bits):
    """Numbers of the levels of the tree, of four inputs a look-up table, each with a register."""
    terms, levels = -(-bits // FOLD_BITS), 0
    while terms > 1:
        terms, levels = -(-terms // 4), levels + 1
    return range(levels)


def _xor_groups(m, terms, name):
    """XORs of up to four terms each, registered."""
    groups = [Cat(terms[n : n + 4]).xor() for n in range(0, len(terms), 4)]
    registers = Signal(len(groups), name=name, reset_less=True)
    m.d.sync += registers.eq(Cat(groups))
    return list(registers)


class LoadedRam(wiring.Component):
    """A `Rom` whose rows are written at run time, a chunk at a time; nothing is read meanwhile.

    A platform that has its own way to describe one has a method ``get_ram``.

    Parameters
    ----------
    width, rows, style
        As for a `Rom`; the rows are what it holds at first.
    loading : :class:`Loading`

    Members
    -------
    en, address, data
        As for a `Rom`.
    half : ``In(1)``
        Which half of a row is read into the upper half of ``data``, and written: 1 but while they
        are loaded and read back.
    write : ``In(chunks)``
        Whether ``write_data`` becomes that chunk of a word; the last one may have fewer bits.
    write_address : ``In(range(len(rows)))``
        If rows are not halved; otherwise it is ``address``.
    write_data : ``In(loading.chunk)``
    """

    def __init__(self, width, rows, *, loading, style=MemoryStyle.AUTO):
        self.width = width
        self.rows = rows
        self.loading = loading
        self.style = style
        super().__init__({
            "en": In(1),
            "address": In(range(len(rows))),
            "data": Out(width),
            "half": In(1, init=1),
            "write": In(len(loading.chunks(width))),
            "write_address": In(range(len(rows))),
            "write_data": In(loading.chunk),
        })

    def elaborate(self, platform):
        if hasattr(platform, "get_ram"):
            return platform.get_ram(self)
        m = Module()
        words = self.loading.words(self.width, self.rows)
        low, parts, halved = 0, [], self.loading.halved
        written = Cat(self.half, self.address) if halved else self.write_address
        for n, bits in enumerate(self.loading.chunks(self.width)):
            init = [word >> low & (1 << bits) - 1 for word in words]
            m.submodules[f"chunk_{n}"] = chunk = memory.Memory(
                shape=bits, depth=len(words), init=init, attrs=self.style.attributes()
            )
            write = chunk.write_port()
            m.d.comb += [
                write.en.eq(self.write[n]),
                write.addr.eq(written),
                write.data.eq(self.write_data),
            ]
            addresses = [self.address]
            if halved:
                addresses = [Cat(C(0, 1), self.address), written]
            ports = [chunk.read_port() for _ in addresses]
            for port, address in zip(ports, addresses, strict=True):
                m.d.comb += [port.en.eq(self.en), port.addr.eq(address)]
            parts.append([port.data for port in ports])
            low += bits
        m.d.comb += self.data.eq(Cat(Cat(each) for each in zip(*parts, strict=True)))
        return m
