"""Count the ones of a word: the compressor tree at the heart of every binary layer."""

from math import ceil

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from xnorflow.hw.families.ecp5 import ECP5


__all__ = ["Popcount", "counts_triples", "popcount_latency"]


# Below this width, counters end in a ripple of full adders, short and (measured at 16) smaller than
# a carry chain or what Yosys makes of an addition without one. At 32 it already slows abc9 down.
_CHAIN_FROM = 32

# Which bits meet in a counter makes a difference of a few per cent either way; as measured.
_SPARE_FIRST_FROM = 64


def _has_adders(width, family):
    return family.adders_from is not None and width >= family.adders_from


def counts_triples(width, family):
    """Whether the first level of a `Popcount` of ``width`` bits are counters of three bits."""
    return width > 2 and not _has_adders(width, family)


def _full_adder(a, b, c):
    """Add three bits, or as many times three bits as the values are wide.

    The carry reads the sum, so that with an XNOR in front of every bit both together take three
    LUT4 and not four: {a b}, {parity c}, {parity sum a}.
    """
    parity = a ^ b
    total = parity ^ c
    return total, (parity & (total ^ parity)) | (~parity & a)


def _compress(m, columns, spare_first):
    """One level: every three bits of a weight become one of it and one of twice of it.

    Columns are words of bits of a weight. The bits of a third of a column meet those of the next
    third and of the last one; spare bits go to the next level behind the sums, or before them.
    """
    result = [[] for _ in range(len(columns) + 1)]
    for weight, column in enumerate(columns):
        third = len(column) // 3
        total, carry = _full_adder(*(column[n * third : (n + 1) * third] for n in range(3)))
        sums, carries = Signal(third, name="sums"), Signal(third, name="carries")
        m.d.comb += [sums.eq(total), carries.eq(carry)]
        spare = column[3 * third :]
        result[weight] += [spare, sums] if spare_first else [sums, spare]
        result[weight + 1].append(carries)
    columns = [Cat(parts) for parts in result]
    return columns if len(columns[-1]) else columns[:-1]


def _compressed(heights):
    """Bits of each weight behind a level of `_compress`."""
    sums = [height - 2 * (height // 3) for height in heights] + [0]
    carries = [0] + [height // 3 for height in heights]
    heights = [s + c for s, c in zip(sums, carries, strict=True)]
    return heights if heights[-1] else heights[:-1]


def _ripple(columns):
    """Add columns of at most two bits to a number."""
    total, carry = [], []
    for column in columns:
        match column + carry:
            case [bit]:
                total, carry = [*total, bit], []
            case [a, b]:
                total, carry = [*total, a ^ b], [a & b]
            case bits:
                bit, carry_out = _full_adder(*bits)
                total, carry = [*total, bit], [carry_out]
    return total + carry


def _levels(width, family, planes):
    """Return the number of levels, the final addition included."""
    if _has_adders(width, family):
        return width.bit_length() - 1 + ceil_log2(planes)
    heights, levels = [width] * planes, 0
    while max(heights) > 2:
        heights, levels = _compressed(heights), levels + 1
    return levels + (max(heights) > 1)


def popcount_latency(width, family, planes=1):
    """Clock cycles that a `Popcount` of ``width`` bits takes, without building one."""
    return ceil(_levels(width, family, planes) / family.levels_per_stage)


class Popcount(wiring.Component):
    """Count the bits of ``i`` that are set; with several planes, those of plane n 2ⁿ times.

    A tree of adders in carry chains, or of 3:2 counters and at the end an adder, whichever is
    smaller on the family; takes a word every enabled cycle. The first level are counters that hang
    directly on ``i``: an XNOR or AND in front of them is absorbed by their look-up tables.
    The output is registered, but for width 1, which is a wire.

    A platform may have a method ``get_count``: see `xnorflow.hw.arithmetic.behavioural`.

    Parameters
    ----------
    width : :class:`int`
        Number of bits to count, at least 1.
    family : :class:`Family`
        FPGA family: decides the tree, and how many levels lie between registers.
    counted : :class:`bool`
        Whether ``i`` is behind the first level of counters: see `count_triples`. Only where
        `counts_triples` says so.
    planes : :class:`int`
        Words of ``width`` bits in ``i``, the lowest plane first.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from ``i`` to ``o``.

    Members
    -------
    i : ``In(planes * width)``
        The words; if they are ``counted``, the ``width - width // 3`` bits that are left of each.
    en : ``In(1)``
        Clock enable of all registers: while low, the whole pipeline stands still.
    o : ``Out(range((2**planes - 1) * width + 1))``
        The count of ``i``, ``latency`` enabled cycles ago.

    Raises
    ------
    :exc:`ValueError`
        If the width is less than 1.
    """

    def __init__(self, width, family=ECP5, *, counted=False, planes=1):
        if width < 1:
            raise ValueError(f"Popcount width must be at least 1, not {width!r}")
        self.width = width
        self.family = family
        self.planes = planes
        self._levels = _levels(width, family, planes)
        self.latency = popcount_latency(width, family, planes)
        self.counted = counted
        super().__init__({
            "i": In(planes * (width - width // 3 if counted else width)),
            "en": In(1),
            "o": Out(range((2**planes - 1) * width + 1)),
        })

    gate = None

    @property
    def parts(self):
        """Bits of ``i`` that count 2ⁿ times: first bit, number of bits, and n."""
        size = len(self.i) // self.planes
        carries = self.width // 3 if self.counted else 0
        for plane in range(self.planes):
            yield plane * size, size - carries, plane
            yield (plane + 1) * size - carries, carries, plane + 1

    def elaborate(self, platform):
        if hasattr(platform, "get_count"):
            return platform.get_count(self)
        m = Module()
        if _has_adders(self.width, self.family):
            count = self._planes(m)
        else:
            count = self._counters(m)
        m.d.comb += self.o.eq(count)
        return m

    def _planes(self, m):
        """Count each plane by adders, and add the counts in pairs."""
        level = self._levels - ceil_log2(self.planes)
        counts = [
            Cat(self._adders(m, list(self.i.word_select(n, self.width)), level))
            for n in range(self.planes)
        ]
        shift = 1
        while len(counts) > 1:
            level += 1
            pairs = [counts[n : n + 2] for n in range(0, len(counts), 2)]
            sums = [low + (other[0] << shift if other else 0) for low, *other in pairs]
            counts = [
                self._stage(m, total[: len(self.o)], level, f"planes{level}_{n}")
                for n, total in enumerate(sums)
            ]
            shift *= 2
        return counts[0]

    def _adders(self, m, bits, level):
        """Count ``bits`` in that many levels: the last one adds two smaller counts and one bit."""
        if not bits or level == 0:
            return bits
        # Left is the largest 2ⁿ-1, so that no code of its count is wasted.
        left = (1 << len(bits).bit_length() - 1) - 1
        if len(bits) == left:
            left //= 2
        if len(bits) == 1 or level > len(bits).bit_length() - 1:
            return list(
                self._stage(m, Cat(self._adders(m, bits, level - 1)), level, f"level{level}")
            )
        a, b, c = (
            self._adders(m, part, level - 1) for part in (bits[:left], bits[left:-1], bits[-1:])
        )
        # A look-up table of six inputs increments a bit without a chain.
        if len(a) == 1 or (not b and self.family.lut_inputs == 6):
            total = _ripple([a[:1] + b + c, *([bit] for bit in a[1:])])
        else:
            # Without `keep`, Yosys would merge this addition with the next into full adders of
            # two look-up tables; in a carry chain they take one.
            total = Signal(
                range(len(bits) + 1), name=f"sum{level}", attrs={"keep": 1}, reset_less=True
            )
            m.d.comb += total.eq(Cat(a) + Cat(b) + Cat(c))
        return list(self._stage(m, Cat(total), level, f"level{level}"))

    def _counters(self, m):
        """Count the bits by levels of 3:2 counters and a final addition."""
        size = len(self.i) // self.planes
        columns = [self.i.word_select(n, size) for n in range(self.planes)]
        for level in range(1, self._levels + 1):
            if level == 1 and self.counted:
                ones = self.width - 2 * (self.width // 3)
                parts = [*((word[:ones], word[ones:]) for word in columns), (Const(0, 0),) * 2]
                columns = [
                    Cat(one, carries[1])
                    for (one, _), carries in zip(parts, [parts[-1], *parts], strict=False)
                ]
            elif max(len(column) for column in columns) > 2:
                columns = _compress(m, columns, self.width >= _SPARE_FIRST_FROM)
            elif self.width < _CHAIN_FROM:
                columns = _ripple([list(column) for column in columns])[: len(self.o)]
            else:
                rows = [Cat(Cat(column, C(0, 1))[n] for column in columns) for n in (0, 1)]
                columns = list((rows[0] + rows[1])[: len(self.o)])
            columns = [
                self._stage(m, column, level, f"level{level}_{weight}")
                for weight, column in enumerate(columns)
            ]
        return Cat(columns)

    def _stage(self, m, word, level, name):
        """Name what comes out of a level, and register it where a stage ends."""
        # Stage boundaries are spread evenly; the last is at the output.
        before, after = (n * self.latency // self._levels for n in (level - 1, level))
        named = Signal(len(word), name=name, reset_less=True)
        domain = m.d.sync if after > before else m.d.comb
        with m.If(self.en if after > before else 1):
            domain += named.eq(word)
        return named
