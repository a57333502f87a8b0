"""Pooling of bits."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.constants import ConstantTable, MemoryStyle, channel_rows
from xnorflow.hw.counters import counter
from xnorflow.hw.stream import lane_layout


__all__ = ["MaxPool", "pool_rows"]


def pool_rows(node, *, lanes):
    """Layout and contents of the constants of a `MaxPool`, as `channel_rows` gives them."""
    columns = {"inverted": node.inverted.astype(int)}
    return channel_rows(columns, lanes=lanes, vector=node.inverted.size)


class MaxPool(wiring.Component):
    """Largest bit of every window, or the smallest one on inverted channels.

    Takes a word every cycle. A window's partial results wait in a memory of one row of windows
    until its last pixel has come; an output that is not taken stalls everything.

    Parameters
    ----------
    node : :class:`xnorflow.network.MaxPool`
    source : :class:`xnorflow.network.FeatureMap`
        The map that comes in.
    lanes : :class:`int`
        Channels a word; must divide the channels.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a window's last word to its delivery: 3.

    Members
    -------
    i, o : ``stream.Signature(lane_layout(1, lanes))``

    Raises
    ------
    NetworkError
        If the node does not fit its source.
    :exc:`ValueError`
        If the lanes do not divide the channels.
    """

    latency = 1 + ConstantTable.latency

    def __init__(self, node, source, *, lanes):
        node.infer(source)
        if source.channels % lanes:
            raise ValueError(f"Lanes must divide the {source.channels} channels, not {lanes!r}")
        self.node = node
        self.source = source
        self.lanes = lanes
        super().__init__({
            "i": In(stream.Signature(lane_layout(1, lanes))),
            "o": Out(stream.Signature(lane_layout(1, lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        size, source = self.node.size, self.source
        words = source.channels // self.lanes
        rows, columns = source.height // size, source.width // size

        valid = Signal()
        en = Signal()
        m.d.comb += [
            en.eq(~valid | self.o.ready),
            self.i.ready.eq(en),
            self.o.valid.eq(valid),
        ]

        # Where the word that comes in belongs: channels run fastest, then columns, then rows.
        step = Signal()
        m.d.comb += step.eq(en & self.i.valid)
        word, last_word = counter(m, "word", words, step)
        column, last_column = counter(m, "column", source.width, step & last_word)
        end_of_row = last_word & last_column
        row, last_row = counter(m, "row", source.height, step & end_of_row)
        column_phase = Signal(range(size))
        row_phase = Signal(range(size))
        window = Signal(range(columns * words))  # first word of the window in the memory
        with m.If(step & last_word):
            with m.If(last_column):
                m.d.sync += [column_phase.eq(0), window.eq(0)]
                m.d.sync += row_phase.eq(Mux(last_row | (row_phase == size - 1), 0, row_phase + 1))
            with m.Elif(column_phase == size - 1):
                m.d.sync += [column_phase.eq(0), window.eq(window + words)]
            with m.Else():
                m.d.sync += column_phase.eq(column_phase + 1)

        # Cycle 1: the word is registered, and so is what is to be done with it.
        # Rows and columns that do not fill a window go nowhere.
        inside = (column < columns * size) & (row < rows * size)
        full = (column_phase == size - 1) & (row_phase == size - 1)
        action = {
            "data": Value.cast(self.i.payload),
            "address": (window + word)[: len(window)],
            "first": (column_phase == 0) & (row_phase == 0),
            "inside": step & inside,
            "complete": step & inside & full,
        }
        first_stage = _register(m, en, action, 1)

        # Cycle 2: what the window has so far comes out of the memory, and its constants too.
        m.submodules.partial = partial = memory.Memory(
            shape=self.lanes, depth=columns * words, init=[]
        )
        write = partial.write_port()
        read = partial.read_port(transparent_for=(write,))
        m.d.comb += [read.en.eq(en), read.addr.eq(first_stage["address"])]
        stage = _register(m, en, first_stage, 2)

        # Cycle 3: they are put together, in the memory or the output register.
        together = stage["data"] | read.data
        if self.node.inverted is not None and self.node.inverted.any():
            layout, contents = pool_rows(self.node, lanes=self.lanes)
            m.submodules.constants = constants = ConstantTable(
                layout, contents, style=MemoryStyle.LOGIC
            )
            m.d.comb += [constants.en.eq(en), constants.step.eq(step)]
            inverted = constants.row.inverted.as_value()
            together = together & ~inverted | stage["data"] & read.data & inverted
        result = Signal(self.lanes)
        m.d.comb += [
            result.eq(Mux(stage["first"], stage["data"], together)),
            write.en.eq(en & stage["inside"]),
            write.addr.eq(stage["address"]),
            write.data.eq(result),
        ]
        output = Signal(self.lanes, reset_less=True)
        m.d.comb += self.o.payload.as_value().eq(output)
        with m.If(en):
            m.d.sync += [valid.eq(stage["complete"]), output.eq(result)]

        return m


def _register(m, en, values, stage):
    """Registers of a pipeline stage, for values by name."""
    registers = {name: Signal.like(value, name=f"{name}_{stage}") for name, value in values.items()}
    with m.If(en):
        m.d.sync += [registers[name].eq(value) for name, value in values.items()]
    return registers
