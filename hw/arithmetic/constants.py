"""Read-only memories: constants that a unit needs word by word."""

from enum import Enum
from math import lcm

import numpy as np
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter


__all__ = ["ConstantTable", "MemoryStyle", "Rom", "are_shifts", "channel_rows"]


class MemoryStyle(Enum):
    """Place of a memory; the values are those of Yosys' ``rom_style`` and ``ram_style``."""

    AUTO = "auto"
    BLOCK = "block"
    DISTRIBUTED = "distributed"
    LOGIC = "logic"

    def attributes(self):
        """Attributes that ask the synthesiser for this style."""
        if self is MemoryStyle.AUTO:
            return {}
        return {"rom_style": self.value, "ram_style": self.value}


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

    Raises
    ------
    :exc:`ValueError`
        If there is no row, or if the classes do not share the rows out evenly.
    """

    latency = 2

    def __init__(self, shape, rows, *, style=MemoryStyle.AUTO, classes=None):
        if not rows:
            raise ValueError("A table of constants must have at least one row")
        self.rows = list(rows)
        self.style = style
        self.classes = classes
        # A single row is for all classes.
        if classes is not None and len(self.rows) > 1 and len(self.rows) % (int(classes.max()) + 1):
            raise ValueError(
                f"{len(self.rows)} rows cannot be shared out to {int(classes.max()) + 1} classes"
            )
        super().__init__({"en": In(1), "step": In(1), "row": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        row = Value.cast(self.row)

        if len(self.rows) == 1:
            m.d.comb += row.eq(Const(self.rows[0], len(row)))
            return m

        m.submodules.rom = rom = Rom(len(row), self.rows, style=self.style)
        output = Signal(len(row), reset_less=True)
        m.d.comb += [rom.en.eq(self.en), rom.address.eq(self._address(m)), row.eq(output)]
        with m.If(self.en):
            m.d.sync += output.eq(rom.data)

        return m

    def _address(self, m):
        """Address of the next step's row."""
        step = Signal()
        m.d.comb += step.eq(self.en & self.step)
        if self.classes is None:
            address, _ = counter(m, "address", len(self.rows), step)
            return address

        # The first row of a pixel's class, and from there on the rows of its words.
        words = len(self.rows) // (int(self.classes.max()) + 1)
        word, last_word = counter(m, "word", words, step)
        height, width = self.classes.shape
        column, last_column = counter(m, "column", width, step & last_word)
        row, _ = counter(m, "row", height, step & last_word & last_column)
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
        return address


def channel_rows(columns, *, lanes, vector):
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
    layout = data.StructLayout({
        name: data.ArrayLayout(_narrowest(values), lanes) for name, values in columns.items()
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
    return layout, rows[:1] if len(set(rows)) == 1 else rows


def _narrowest(values):
    """Shape that holds all ``values``; signed only if one is negative."""
    return Shape.cast(range(min(0, int(values.min())), max(0, int(values.max())) + 1))


def are_shifts(factors):
    """Whether products with these constants need no multiplier.

    Then all channels have the same factor, and it is 0 or a power of two.
    """
    (first, *others) = set(factors.tolist())
    return not others and first & (first - 1) == 0
