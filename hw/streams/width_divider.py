"""Wide words become narrow ones."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.streams.stage import Stage
from xnorflow.hw.streams.times import one_by_one
from xnorflow.hw.streams.words import map_layout, value_bits
from xnorflow.network import FeatureMap


__all__ = ["WidthDivider", "WidthDividerStage"]


class WidthDivider(wiring.Component):
    """Hand the wide words of a vector on as narrow ones; P goes along with each.

    Delivers a word every cycle, the first 1 cycle after the wide one came, which is taken when the
    one before it has been delivered. Of the last word of a vector, only what belongs to it.

    Parameters
    ----------
    source : :class:`xnorflow.network.FeatureMap`
        What the values are.
    lanes : :class:`int`
        Values of a narrow word.
    ratio : :class:`int`
        Narrow words in a wide word, at least 2.
    words : :class:`int`
        Narrow words of a vector.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to the delivery of its first part: 1.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes * ratio)))``
    o : ``Out(stream.Signature(map_layout(source, lanes)))``

    Raises
    ------
    :exc:`ValueError`
        If ``ratio`` is less than 2, or ``lanes`` or ``words`` less than 1.
    """

    latency = 1

    def __init__(self, source, *, lanes, ratio, words):
        if ratio < 2:
            raise ValueError(f"Ratio of a width divider must be at least 2, not {ratio!r}")
        if lanes < 1 or words < 1:
            raise ValueError(f"Lanes and words must be at least 1, not {lanes!r} and {words!r}")
        self.ratio = ratio
        self.words = words
        super().__init__({
            "i": In(stream.Signature(map_layout(source, lanes * ratio))),
            "o": Out(stream.Signature(map_layout(source, lanes))),
        })

    def elaborate(self, platform):
        m = Module()

        word = Signal(range(self.words))
        part = Signal(range(self.ratio))
        last_word, last_part = Signal(), Signal()
        m.d.comb += [
            last_word.eq(word == self.words - 1),
            last_part.eq(last_word | (part == self.ratio - 1)),
            self.i.ready.eq(~self.o.valid | (last_part & self.o.ready)),
        ]

        wide = Signal(self.i.p.shape(), reset_less=True)
        rest = wide.lanes.as_value()
        m.d.comb += self.o.p.lanes.as_value().eq(rest)
        if "popcount" in self.o.p.shape().members:
            m.d.comb += self.o.p.popcount.eq(wide.popcount)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                rest.eq(rest >> len(self.o.p.lanes.as_value())),
                word.eq(Mux(last_word, 0, word + 1)),
                part.eq(Mux(last_part, 0, part + 1)),
            ]
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), wide.eq(self.i.p)]

        return m


@dataclass(frozen=True)
class WidthDividerStage(Stage):
    """Divide a word into ``ratio`` words of ``lanes`` values; ``words`` narrow words a vector."""

    name: str
    source: FeatureMap
    lanes: int
    ratio: int
    words: int

    component = WidthDivider
    may_wait = True

    def passage(self, arrivals, device):
        # The first part of a word leaves when it has come, its others one by one.
        parts = np.arange(self.words) % self.ratio == 0
        first = np.tile(parts, len(arrivals[0]) // np.count_nonzero(parts))
        ready = np.full(len(first), np.iinfo(np.int64).min // 2)
        ready[first] = arrivals[0]
        done = one_by_one(ready)
        return [done[first]], done + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=self.lanes * (self.ratio - 1) * value_bits(self.source) + 20)

    def frames_kept(self, depth):
        return Fraction(2 * self.ratio, self.busy)

    def describe(self, depth):
        return {"lanes": self.lanes, "ratio": self.ratio}

    def build(self, device, depth):
        return WidthDivider(self.source, lanes=self.lanes, ratio=self.ratio, words=self.words)
