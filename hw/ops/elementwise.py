"""Where two streams become one: sums, and channels behind each other."""

from math import gcd, lcm

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import CONTROL, Resources
from xnorflow.hw.ops.stage import JoinStage, Segment, even_lanes, fewest, queued
from xnorflow.hw.ops.unit import JoinUnit
from xnorflow.hw.streams.times import one_by_one
from xnorflow.hw.streams.words import words_of


__all__ = ["Add", "AddStage", "Concat", "ConcatStage"]


class Add(JoinUnit):
    """Add two streams, value by value; sums that do not fit are clipped.

    Words are taken in pairs, one every cycle. Latency is 1 cycle.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a pair to the delivery of its sum: 1.
    """

    latency = 1

    def elaborate(self, platform):
        m = Module()

        en = Signal()
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(en & self.i_other.valid),
            self.i_other.ready.eq(en & self.i.valid),
        ]
        output = Signal(self.o.p.shape(), reset_less=True)
        m.d.comb += self.o.p.eq(output)
        with m.If(en):
            m.d.sync += self.o.valid.eq(self.i.valid & self.i_other.valid)
            for n, value in enumerate(output.lanes):
                total = self.i.p.lanes[n] + self.i_other.p.lanes[n]
                m.d.sync += value.eq(clipped(total, self.node.bits))

        return m


class Concat(JoinUnit):
    """Put the channels of two streams behind each other, pixel by pixel.

    Delivers a word every cycle. Latency is 1 cycle.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.
    """

    latency = 1

    def __init__(self, node, source, other, *, lanes):
        if source.channels % lanes or other.channels % lanes:
            raise ValueError(
                f"Lanes must divide {source.channels} and {other.channels} channels, not {lanes!r}"
            )
        self._words = source.channels // lanes, other.channels // lanes
        super().__init__(node, source, other, lanes=lanes)

    def elaborate(self, platform):
        m = Module()

        en, step, turn = Signal(), Signal(), Signal()
        word, _ = counter(m, "word", sum(self._words), step)
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            turn.eq(word >= self._words[0]),
            self.i.ready.eq(en & ~turn),
            self.i_other.ready.eq(en & turn),
            step.eq(en & Mux(turn, self.i_other.valid, self.i.valid)),
        ]
        output = Signal(self.o.p.shape(), reset_less=True)
        m.d.comb += self.o.p.eq(output)
        with m.If(en):
            m.d.sync += [
                self.o.valid.eq(step),
                output.as_value().eq(Mux(turn, self.i_other.p.as_value(), self.i.p.as_value())),
            ]

        return m


class AddStage(JoinStage):
    """Add, value by value."""

    component = Add

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        return _joined(cls, node, sources, fed, lcm(*even_lanes(node, sources, fed)))

    def passage(self, arrivals, device):
        both = np.maximum(*arrivals)
        return [both, both], both + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=2 * self.lanes * self.node.bits)


class ConcatStage(JoinStage):
    """Put channels behind each other."""

    component = Concat

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        even_lanes(node, sources, fed)
        most = gcd(*(source.channels for source in sources))
        common = fewest(node.infer(*sources).size, most, pace)
        return _joined(cls, node, sources, fed, common)

    @property
    def busy(self):
        return words_of(self.node.infer(self.source, self.other), self.lanes)

    def passage(self, arrivals, device):
        parts = [
            times.reshape(-1, source.channels // self.lanes)
            for times, source in zip(arrivals, (self.source, self.other), strict=True)
        ]
        ready = np.concatenate(parts, axis=1)
        done = one_by_one(ready.ravel())
        split = done.reshape(ready.shape)
        first = parts[0].shape[1]
        taken = [split[:, :first].ravel(), split[:, first:].ravel()]
        return taken, done + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=self.width + CONTROL // 4)


def _joined(cls, node, sources, fed, common):
    """Segment of a node that takes words of ``common`` values, which may wait for each other."""
    ahead = tuple(
        queued(name, source, lanes, common)
        for name, source, lanes in zip((node.name, f"{node.name}_other"), sources, fed, strict=True)
    )
    return Segment(ahead, cls(node, *sources, common), common)
