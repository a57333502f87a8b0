"""Where two streams become one: sums, and channels behind each other."""

from dataclasses import dataclass
from itertools import accumulate
from math import gcd, lcm

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.clipping import clipped
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import CONTROL, Resources
from xnorflow.hw.ops.stage import JoinStage, NodeStage, Segment, even_lanes, fewest, queued
from xnorflow.hw.ops.unit import JoinUnit
from xnorflow.hw.streams.times import one_by_one
from xnorflow.hw.streams.words import map_layout, words_of
from xnorflow.ir import FeatureMap, Node


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
                m.d.sync += value.eq(clipped(total, self.node.rounding))

        return m


class Concat(wiring.Component):
    """Put the channels of streams behind each other, pixel by pixel.

    Delivers a word every cycle. Latency is 1 cycle.

    Parameters
    ----------
    node : :class:`xnorflow.ir.Concat`
    *sources : :class:`xnorflow.ir.FeatureMap`
        The maps that come in, two or more.
    lanes : :class:`int`
        Values a word.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(map_layout(sources[0], lanes)))``
    i_other, i_other2, i_other3, … : ``In(stream.Signature(map_layout(sources[n], lanes)))``
    o : ``Out(stream.Signature(map_layout(node.infer(*sources), lanes)))``

    Raises
    ------
    :exc:`ValueError`
        If the lanes do not divide the channels.
    NetworkError
        If the node does not fit its sources.
    """

    latency = 1

    def __init__(self, node, *sources, lanes):
        if any(source.channels % lanes for source in sources):
            channels = " and ".join(str(source.channels) for source in sources)
            raise ValueError(f"Lanes must divide {channels} channels, not {lanes!r}")
        self.node = node
        self._words = [source.channels // lanes for source in sources]
        self._inputs = _join_ports(len(sources))
        super().__init__({
            **{
                name: In(stream.Signature(map_layout(source, lanes)))
                for name, source in zip(self._inputs, sources, strict=True)
            },
            "o": Out(stream.Signature(map_layout(node.infer(*sources), lanes))),
        })

    def elaborate(self, platform):
        m = Module()

        en, step = Signal(), Signal()
        word, _ = counter(m, "word", sum(self._words), step)
        inputs = [getattr(self, name) for name in self._inputs]
        valid, values = Signal(), Signal(self.o.p.shape())
        m.d.comb += [en.eq(~self.o.valid | self.o.ready), step.eq(en & valid)]
        # Each has its turn until the next one begins.
        first, *ends = accumulate(self._words)
        turns = [m.If(word < first), *(m.Elif(word < end) for end in ends[:-1]), m.Else()]
        for port, turn in zip(inputs, turns, strict=True):
            with turn:
                m.d.comb += [port.ready.eq(en), valid.eq(port.valid), values.eq(port.p)]
        output = Signal(self.o.p.shape(), reset_less=True)
        m.d.comb += self.o.p.eq(output)
        with m.If(en):
            m.d.sync += [self.o.valid.eq(step), output.eq(values)]

        return m


class AddStage(JoinStage):
    """Add, value by value."""

    component = Add

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        lanes = lcm(*even_lanes(node, sources, fed))
        return Segment(_queues(node, sources, fed, lanes), cls(node, *sources, lanes), lanes)

    def passage(self, arrivals, device):
        both = np.maximum(*arrivals)
        return [both, both], both + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=2 * self.lanes * self.node.bits)


@dataclass(frozen=True)
class ConcatStage(NodeStage):
    """Put the channels of ``sources`` behind each other, in words of ``lanes`` values."""

    node: Node
    sources: tuple[FeatureMap, ...]
    lanes: int

    component = Concat
    paced = True

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        even_lanes(node, sources, fed)
        most = gcd(*(source.channels for source in sources))
        lanes = fewest(node.infer(*sources).size, most, pace)
        return Segment(_queues(node, sources, fed, lanes), cls(node, sources, lanes), lanes)

    @property
    def source(self):
        """The first of them: all have the same type."""
        return self.sources[0]

    @property
    def inputs(self):
        return _join_ports(len(self.sources))

    @property
    def busy(self):
        return words_of(self.node.infer(*self.sources), self.lanes)

    def passage(self, arrivals, device):
        parts = [
            times.reshape(-1, source.channels // self.lanes)
            for times, source in zip(arrivals, self.sources, strict=True)
        ]
        ready = np.concatenate(parts, axis=1)
        done = one_by_one(ready.ravel())
        ends = list(accumulate(part.shape[1] for part in parts[:-1]))
        taken = [each.ravel() for each in np.split(done.reshape(ready.shape), ends, axis=1)]
        return taken, done + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=(len(self.sources) - 1) * (self.width + CONTROL // 4))

    def build(self, device, depth):
        return Concat(self.node, *self.sources, lanes=self.lanes)


def _join_ports(count):
    """Names of so many input ports."""
    return "i", "i_other", *(f"i_other{n}" for n in range(2, count))


def _queues(node, sources, fed, common):
    """Stages ahead of words of ``common`` values, which may wait for each other."""
    return tuple(
        queued(port.replace("i", node.name, 1), source, lanes, common)
        for port, source, lanes in zip(_join_ports(len(sources)), sources, fed, strict=True)
    )
