"""Shortcuts to fewer pixels."""

from amaranth import *

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import CONTROL, Resources
from xnorflow.hw.ops.stage import EvenStage
from xnorflow.hw.ops.unit import MapUnit
from xnorflow.hw.streams.times import pixels_of


__all__ = ["Subsample", "SubsampleStage"]


class Subsample(MapUnit):
    """Let every ``stride``-th row and column through, from the first on.

    Takes a word every cycle. Latency is 1 cycle.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.
    """

    latency = 1

    def elaborate(self, platform):
        m = Module()

        en, step = Signal(), Signal()
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(en),
            step.eq(en & self.i.valid),
        ]
        _, last_word = counter(m, "word", self.source.channels // self.lanes, step)
        _, last_column = counter(m, "column", self.source.width, step & last_word)
        _, last_row = counter(m, "row", self.source.height, step & last_word & last_column)
        column_phase, row_phase = (
            Signal(range(self.node.stride), name=name) for name in ("column_phase", "row_phase")
        )

        def following(phase, last):
            return Mux(last | (phase == self.node.stride - 1), 0, phase + 1)

        with m.If(step & last_word):
            m.d.sync += column_phase.eq(following(column_phase, last_column))
            with m.If(last_column):
                m.d.sync += row_phase.eq(following(row_phase, last_row))

        output = Signal(self.o.p.shape(), reset_less=True)
        m.d.comb += self.o.p.eq(output)
        with m.If(en):
            m.d.sync += [
                self.o.valid.eq(step & (column_phase == 0) & (row_phase == 0)),
                output.eq(self.i.p),
            ]

        return m


class SubsampleStage(EvenStage):
    """Leave pixels out."""

    component = Subsample
    facts = ("lanes", "node.stride")

    def passage(self, arrivals, device):
        stride = self.node.stride
        kept = pixels_of(arrivals[0], self.source, self.lanes)[:, ::stride, ::stride]
        return arrivals, kept.ravel() + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=CONTROL // 2)
