"""Constants that a unit needs word by word: in read-only memories, or in some that are loaded."""

from math import lcm

import numpy as np
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.loaded_memory import LoadedRam, LoadPort, load_signature
from xnorflow.hw.arithmetic.memory_style import MemoryStyle


__all__ = [
    "ConstantTable",
    "MemoryStyle",
    "Rom",
    "are_shifts",
    "channel_rows",
    "narrowest_shape",
]


class Rom(wiring.Component):
    """A read-only memory whose output is registered, so that it may be a block RAM.

    A platform that has its own way to describe one has a method ``get_rom``, which takes this
    component and returns what is elaborated instead of it.

    Parameters
    ----------
    width : :class:`int`
        Bits of a row.
    rows : list of :class:`int`
        Contents, at least two rows.
    style : :class:`MemoryStyle`

    Members
    -------
    en : ``In(1)``
        Clock enable.
    address : ``In(range(len(rows)))``
    data : ``Out(width)``
        The row, an enabled cycle later.
    """

    def __init__(self, width, rows, *, style=MemoryStyle.AUTO):
        self.width = width
        self.rows = rows
        self.style = style
        super().__init__({"en": In(1), "address": In(range(len(rows))), "data": Out(width)})

    def elaborate(self, platform):
        if hasattr(platform, "get_rom"):
            return platform.get_rom(self)
        m = Module()
        m.submodules.memory = rows = memory.Memory(
            shape=self.width, depth=len(self.rows), init=self.rows, attrs=self.style.attributes()
        )
        port = rows.read_port()
        m.d.comb += [port.en.eq(self.en), port.addr.eq(self.address), self.data.eq(port.data)]
        return m


class ConstantTable(wiring.Component):
    """Rows of constants that go round and round, one row a step.

    The row of a step is there ``latency`` enabled cycles later. Block RAMs are slow to deliver, so
    there is a register behind the memory. A single row costs nothing: it is always there.

    With ``classes``, the rows go round once for every pixel of a frame, and are those of its class.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One row.
    rows : list of :class:`int`
        Contents; with ``classes`` those of class 0, then as many of each other class.
    style : :class:`MemoryStyle`
    classes : array of :class:`int`, (height, width), optional
        Class of each pixel. Rows and columns of pixels that have equal classes share logic.
    loaded : :class:`Loading`, optional
        How rows are written at run time, if they are. Then a single row is in registers. A reset
        leaves what has been written.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from a step to its row: 2.

    Members
    -------
    en : ``In(1)``
        Clock enable.
    step : ``In(1)``
        Take a row, and move on.
    row : ``Out(shape)``
    load : ``In(load_signature(loaded))``
        If it is loaded.

    Raises
    ------
    :exc:`ValueError`
        If there is no row, or if the classes do not share the rows out evenly.
    """

    latency = 2

    def __init__(self, shape, rows, *, style=MemoryStyle.AUTO, classes=None, loaded=None):
        if not rows:
            raise ValueError("A table of constants must have at least one row")
        self.rows = list(rows)
        self.style = style
        self.classes = classes
        self.loaded = loaded
        # A single row is for all classes.
        if classes is not None and len(self.rows) > 1 and len(self.rows) % (int(classes.max()) + 1):
            raise ValueError(
                f"{len(self.rows)} rows cannot be shared out to {int(classes.max()) + 1} classes"
            )
        load = {"load": In(load_signature(loaded))} if loaded else {}
        super().__init__({"en": In(1), "step": In(1), "row": Out(shape), **load})

    def elaborate(self, platform):
        m = Module()
        row = Value.cast(self.row)

        if len(self.rows) == 1:
            m.d.comb += row.eq(self._written(m) if self.loaded else Const(self.rows[0], len(row)))
            return m

        output = Signal(len(row), reset_less=True)
        if self.loaded:
            rom = LoadedRam(len(row), self.rows, loading=self.loaded, style=self.style)
            address = self._loaded_address(m, rom, output)
        else:
            rom = Rom(len(row), self.rows, style=self.style)
            address, _ = self._address(m, self.en & self.step)
        m.submodules.rom = rom
        m.d.comb += [rom.en.eq(self.en), rom.address.eq(address), row.eq(output)]
        with m.If(self.en):
            m.d.sync += output.eq(rom.data)

        return m

    def _written(self, m):
        """The only row, in registers."""
        row = Signal(len(Value.cast(self.row)), init=self.rows[0], reset_less=True, name="written")
        chunks, low = self.loaded.chunks(len(row)), 0
        port = LoadPort(m, self.load, chunks)
        for n, bits in enumerate(chunks):
            with m.If(port.write[n]):
                m.d.sync += row[low : low + bits].eq(self.load.data)
            low += bits
        port.take(m, Const(1))
        port.show(m, row)
        return row

    def _loaded_address(self, m, rom, output):
        """Address of the next step's row, or of the word that is loaded or read back."""
        load, port = self.load, LoadPort(m, self.load, self.loaded.chunks(rom.width))
        word, moves = output, port.last | load.check
        m.d.comb += [rom.write.eq(port.write), rom.write_data.eq(load.data)]
        if self.loaded.halved:
            half = Signal()
            with m.If(load.clear):
                m.d.sync += half.eq(0)
            with m.Elif(moves):
                m.d.sync += half.eq(~half)
            m.d.comb += rom.half.eq(~load.active | half)
            address, last = self._address(m, (self.en & self.step) | (moves & half), load.clear)
            last, word = last & half, output[self.loaded.word_bits(rom.width) :]
        elif self.classes is None:
            address, last = self._address(m, (self.en & self.step) | moves, load.clear)
            m.d.comb += rom.write_address.eq(address)
        else:  # rows are written in another order than they are needed
            address, _ = self._address(m, (self.en & self.step) | load.check, load.clear)
            written, last = counter(m, "loaded", len(self.rows), port.last, clear=load.clear)
            m.d.comb += rom.write_address.eq(written)
        port.take(m, last)
        port.show(m, word)
        return address

    def _address(self, m, moves, clear=None):
        """Address of the next step's row, and whether it is the last one."""
        step = Signal()
        m.d.comb += step.eq(moves)
        if self.classes is None:
            return counter(m, "address", len(self.rows), step, clear=clear)

        # The first row of a pixel's class, and from there on the rows of its words.
        words = len(self.rows) // (int(self.classes.max()) + 1)
        word, last_word = counter(m, "word", words, step, clear=clear)
        height, width = self.classes.shape
        column, last_column = counter(m, "column", width, step & last_word, clear=clear)
        row, last_row = counter(m, "row", height, step & last_word & last_column, clear=clear)
        first_rows, row_kinds = np.unique(self.classes, axis=0, return_inverse=True)
        kinds, column_kinds = np.unique(first_rows, axis=1, return_inverse=True)
        row_kind, column_kind = Signal(range(len(kinds))), Signal(range(kinds.shape[1]))
        m.d.comb += [
            row_kind.eq(Array(row_kinds.ravel().tolist())[row]),
            column_kind.eq(Array(column_kinds.ravel().tolist())[column]),
        ]
        first = Array(Array((classes * words).tolist())[column_kind] for classes in kinds)[row_kind]
        address = Signal(range(len(self.rows)))
        m.d.comb += address.eq(first + word)
        return address, last_word & last_column & last_row


def channel_rows(columns, *, lanes, vector, shapes=None):
    """Per-channel constants, in the order in which a vector's words need them.

    Parameters
    ----------
    columns : dict of :class:`str` to array of :class:`int`, (channels,) or (classes, channels)
        Constants by name. If some have border classes, the rows are those of class 0, then those
        of class 1, ….
    lanes : :class:`int`
        Values a word.
    vector : :class:`int`
        Values of a vector: its channels, or whole pixels if it spans several.
    shapes : dict of :class:`str` to :class:`ShapeLike`, optional
        Shapes of the columns, where others may be loaded: rows are then all there, equal or not.

    Returns
    -------
    layout : :class:`StructLayout`
        A row: under each name an array of ``lanes`` values.
    rows : list of :class:`int`
        Contents of a `ConstantTable`; a single row if all words need the same.
    """
    columns = {name: np.atleast_2d(values) for name, values in columns.items()}
    (channels,) = {values.shape[1] for values in columns.values()}
    classes = max(len(values) for values in columns.values())
    words = -(-vector // lanes)
    # In a vector of several pixels, the pattern repeats where channels and lanes line up again. If
    # the vector ends before that, the table has all of its words.
    period = lcm(channels, lanes) // lanes
    if vector == channels or words % period:
        period = words
    narrowest = {name: narrowest_shape(values) for name, values in columns.items()}
    layout = data.StructLayout({
        name: data.ArrayLayout(shape, lanes) for name, shape in (shapes or narrowest).items()
    })
    rows = []
    for border_class in range(classes):
        for word in range(period):
            picked = [(word * lanes + lane) % channels for lane in range(lanes)]
            row = {
                name: values[border_class if len(values) > 1 else 0, picked].tolist()
                for name, values in columns.items()
            }
            rows.append(layout.const(row).as_bits())
    return layout, rows[:1] if shapes is None and len(set(rows)) == 1 else rows


def narrowest_shape(values):
    """Shape that holds all ``values``; signed only if one is negative."""
    return Shape.cast(range(min(0, int(values.min())), max(0, int(values.max())) + 1))


def are_shifts(factors):
    """Whether products with these constants need no multiplier.

    Then all channels have the same factor, and it is 0 or a power of two.
    """
    (first, *others) = set(factors.tolist())
    return not others and first & (first - 1) == 0
