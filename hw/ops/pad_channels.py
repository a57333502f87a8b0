"""Shortcuts to more channels: zeros beside those of a pixel."""

from math import gcd

import numpy as np
from amaranth import *

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import CONTROL, Resources
from xnorflow.hw.ops.stage import LaneStage, Segment, even_lanes, fewest, queued
from xnorflow.hw.ops.unit import LaneUnit
from xnorflow.hw.streams.times import one_by_one
from xnorflow.hw.streams.words import words_of


__all__ = ["PadChannels", "PadChannelsStage"]


class PadChannels(LaneUnit):
    """Deliver words of zeros before and after those of every pixel.

    Delivers a word every cycle, and takes none while it delivers zeros: those before a pixel as
    soon as its first word waits. Latency is 1 cycle.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.

    Raises
    ------
    :exc:`ValueError`
        If the lanes do not divide the channels, and how many come before and after.
    """

    latency = 1

    def __init__(self, node, source, *, lanes):
        parts = node.before, source.channels, node.after
        if gcd(*parts) % lanes:
            raise ValueError(f"Lanes must divide {parts} channels, not {lanes!r}")
        self._words = tuple(part // lanes for part in parts)
        super().__init__(node, source, lanes=lanes)

    def elaborate(self, platform):
        m = Module()
        before, channels, _ = self._words

        en, step, inside, behind = Signal(), Signal(), Signal(), Signal()
        word, _ = counter(m, "word", sum(self._words), step)
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            behind.eq(word >= before + channels),
            inside.eq((word >= before) & ~behind),
            self.i.ready.eq(en & inside),
            step.eq(en & (self.i.valid | behind)),
        ]
        output = Signal(self.o.p.shape(), reset_less=True)
        m.d.comb += self.o.p.eq(output)
        with m.If(en):
            m.d.sync += [
                self.o.valid.eq(step),
                output.as_value().eq(Mux(inside, self.i.p.as_value(), 0)),
            ]

        return m


class PadChannelsStage(LaneStage):
    """Add channels of zeros."""

    component = PadChannels
    paced = True
    facts = ("lanes", "node.before", "node.after")

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        (source,), (lanes,) = sources, fed
        even_lanes(node, sources, fed)
        most = gcd(node.before, source.channels, node.after)
        common = fewest(node.infer(source).size, most, pace)
        ahead = queued(node.name, source, lanes, common)
        return Segment((ahead,), cls(node, source, common), common)

    @property
    def busy(self):
        return words_of(self.node.infer(self.source), self.lanes)

    def passage(self, arrivals, device):
        # Zeros before a pixel wait for its first word; those behind it, for nothing.
        words = arrivals[0].reshape(-1, self.source.channels // self.lanes)
        before, after = self.node.before // self.lanes, self.node.after // self.lanes
        ready = np.concatenate(
            [np.repeat(words[:, :1], before, 1), words, np.repeat(words[:, -1:], after, 1)], 1
        )
        done = one_by_one(ready.ravel())
        taken = done.reshape(ready.shape)[:, before : before + words.shape[1]]
        return [taken.ravel()], done + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=self.width + CONTROL // 4)
