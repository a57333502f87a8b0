"""Read-only memories: constants that a unit needs word by word."""

from enum import Enum
from math import lcm

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out


__all__ = ["ConstantTable", "MemoryStyle", "channel_rows"]


class MemoryStyle(Enum):
    """Where a memory is put; the values are those of Yosys' ``rom_style`` and ``ram_style``."""

    AUTO = "auto"
    BLOCK = "block"
    LOGIC = "logic"

    def attributes(self):
        """Attributes that ask the synthesiser for this style."""
        if self is MemoryStyle.AUTO:
            return {}
        return {"rom_style": self.value, "ram_style": self.value}


class ConstantTable(wiring.Component):
    """Rows of constants that go round and round, one row a step.

    The row of a step is there ``latency`` enabled cycles later. Block RAMs are slow to deliver, so
    there is a register behind the memory. A single row costs nothing: it is always there.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One row.
    rows : list of :class:`int`
        Contents.
    style : :class:`MemoryStyle`

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
        If there is no row.
    """

    latency = 2

    def __init__(self, shape, rows, *, style=MemoryStyle.AUTO):
        if not rows:
            raise ValueError("A table of constants must have at least one row")
        self.rows = list(rows)
        self.style = style
        super().__init__({"en": In(1), "step": In(1), "row": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        row = Value.cast(self.row)

        if len(self.rows) == 1:
            m.d.comb += row.eq(Const(self.rows[0], len(row)))
            return m

        m.submodules.rom = rom = memory.Memory(
            shape=len(row), depth=len(self.rows), init=self.rows, attrs=self.style.attributes()
        )
        port = rom.read_port()
        address = Signal(range(len(self.rows)))
        output = Signal.like(port.data, reset_less=True)
        m.d.comb += [
            port.en.eq(self.en),
            port.addr.eq(address),
            row.eq(output),
        ]
        with m.If(self.en):
            m.d.sync += output.eq(port.data)
        with m.If(self.en & self.step):
            m.d.sync += address.eq(Mux(address == len(self.rows) - 1, 0, address + 1))

        return m


def channel_rows(columns, *, lanes, vector):
    """Per-channel constants, in the order in which a vector's words need them.

    Parameters
    ----------
    columns : dict of :class:`str` to array of :class:`int`, (channels,)
        Constants by name.
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
    (channels,) = {len(values) for values in columns.values()}
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
    for word in range(period):
        picked = [(word * lanes + lane) % channels for lane in range(lanes)]
        row = {name: [int(values[c]) for c in picked] for name, values in columns.items()}
        rows.append(layout.const(row).as_bits())
    return layout, rows[:1] if len(set(rows)) == 1 else rows


def _narrowest(values):
    """Shape that holds all ``values``; signed only if one is negative."""
    return Shape.cast(range(min(0, *values.tolist()), max(0, *values.tolist()) + 1))
