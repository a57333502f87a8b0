"""Table of the constants that a frame brings along."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.constants import ConstantTable, MemoryStyle
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.streams.words import lane_layout


__all__ = ["FrameTable"]


class FrameTable(wiring.Component):
    """A table of constants that the frame brings along: two of them, which take turns.

    Rows go round and round, one a step, as in a `ConstantTable`, but are those of the frame that
    the step belongs to. The row of a step is there ``latency`` enabled cycles later. Parameters are
    taken one a cycle, as long as one of the two tables is free: from the cycle after its frame's
    last step on.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One parameter.
    columns : dict of :class:`str` to :class:`int`
        By name, the first parameter that belongs to each column of the table; columns share none.
    channels : :class:`int`
        Parameters of a column.
    lanes : :class:`int`
        Parameters of a column in a row; must divide the channels.
    parameters : :class:`int`
        Parameters of a frame; those that belong to no column are left out.
    rounds : :class:`int`
        How often the rows go round in a frame.
    style : :class:`MemoryStyle`
        Where it is kept.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from a step to its row: 2.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, 1)))``
    ready : ``Out(1)``
        Whether the parameters of the next step's frame have come: from the cycle after the last
        one's transfer on.
    en : ``In(1)``
        Clock enable.
    step : ``In(1)``
        Take a row, and move on. Only if ``ready``.
    row : ``Out(StructLayout)``
        Under each column's name, an array of ``lanes`` parameters.
    """

    latency = ConstantTable.latency

    def __init__(
        self,
        shape,
        columns,
        *,
        channels,
        lanes,
        parameters,
        rounds,
        style=MemoryStyle.AUTO,
    ):
        self.shape = Shape.cast(shape)
        self.columns = dict(columns)
        self.channels = channels
        self.lanes = lanes
        self.parameters = parameters
        self.rounds = rounds
        self.style = style
        row = data.ArrayLayout(self.shape, lanes)
        super().__init__({
            "i": In(stream.Signature(lane_layout(shape, 1))),
            "ready": Out(1),
            "en": In(1),
            "step": In(1),
            "row": Out(data.StructLayout(dict.fromkeys(columns, row))),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self.channels // self.lanes

        take, step = Signal(), Signal()
        full = Signal(range(3))  # tables with all parameters of a frame that is not over
        m.d.comb += [
            self.i.ready.eq(full != 2),
            self.ready.eq(full != 0),
            take.eq(self.i.valid & self.i.ready),
            step.eq(self.en & self.step),
        ]
        parameter, last_parameter = counter(m, "parameter", self.parameters, take)
        row, last_row = counter(m, "row", rows, step)
        _, last_round = counter(m, "round", self.rounds, step & last_row)
        filled, used_up = Signal(), Signal()
        m.d.comb += [
            filled.eq(take & last_parameter),
            used_up.eq(step & last_row & last_round),
        ]
        m.d.sync += full.eq(full + filled - used_up)
        write_half, read_half = Signal(), Signal()
        m.d.sync += [write_half.eq(write_half ^ filled), read_half.eq(read_half ^ used_up)]

        m.submodules.table = table = memory.Memory(
            shape=data.ArrayLayout(self.shape, len(self.columns) * self.lanes),
            depth=2 << ceil_log2(rows),
            init=[],
            attrs=self.style.attributes(),
        )
        write, read = table.write_port(granularity=1), table.read_port()
        enables = []
        place = Signal.like(row, name="place")
        for name, first in self.columns.items():
            inside = Signal(name=f"inside_{name}")
            begun = parameter >= first if first else Const(1)
            m.d.comb += inside.eq(take & begun & (parameter < first + self.channels))
            lane, last_lane = counter(m, f"lane_{name}", self.lanes, inside)
            place_in_column, _ = counter(m, f"place_{name}", rows, inside & last_lane)
            enables.append((inside << lane)[: self.lanes])
            with m.If(inside):
                m.d.comb += place.eq(place_in_column)
        output = Signal(self.row.shape(), reset_less=True)
        m.d.comb += [
            write.addr.eq(Cat(place, write_half)),
            write.en.eq(Cat(enables)),
            read.addr.eq(Cat(row, read_half)),
            read.en.eq(self.en),
            self.row.eq(output),
        ]
        for value in write.data:
            m.d.comb += value.eq(self.i.p.lanes[0])
        with m.If(self.en):
            m.d.sync += output.as_value().eq(read.data.as_value())

        return m
