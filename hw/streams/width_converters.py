"""Narrow words become wide ones, or wide words narrow ones."""

from dataclasses import dataclass

import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import Resources, registers
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.times import one_by_one
from xnorflow.hw.streams.words import lane_layout, map_layout, value_shape


__all__ = ["WidthConverter", "WidthConverterStage", "WidthDivider", "WidthDividerStage"]


class _WidthUnit(wiring.Component):
    """Between narrow words of a vector and wide ones.

    Parameters
    ----------
    i, o : :class:`Layout`
        Words that come in, and words that are delivered.
    lanes : :class:`int`
        Values of a narrow word.
    ratio : :class:`int`
        Narrow words in a wide word, at least 2.
    words : :class:`int`
        Narrow words of a vector.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer that completes a wide word, or of a wide word, to the
        delivery of it or of its first part: 1.

    Raises
    ------
    :exc:`ValueError`
        If ``ratio`` is less than 2, or ``lanes`` or ``words`` less than 1.
    """

    latency = 1

    def __init__(self, i, o, *, lanes, ratio, words):
        if ratio < 2:
            raise ValueError(f"The ratio of widths must be at least 2, not {ratio!r}")
        if lanes < 1 or words < 1:
            raise ValueError(f"Lanes and words must be at least 1, not {lanes!r} and {words!r}")
        self.ratio = ratio
        self.words = words
        super().__init__({"i": In(stream.Signature(i)), "o": Out(stream.Signature(o))})


class WidthConverter(_WidthUnit):
    """Gather the narrow words of a vector into wide ones (FINN: DWC).

    Accepts a word every cycle. A wide word is delivered 1 cycle after its last narrow one; the last
    word of a vector leaves as soon as the vector is complete, whatever its spare lanes hold.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One value.
    lanes, ratio, words : :class:`int`
        Values of a narrow word, narrow words in a wide one (at least 2) and in a vector.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, lanes)))``
    o : ``Out(stream.Signature(lane_layout(shape, lanes * ratio)))``
    """

    def __init__(self, shape, *, lanes, ratio, words):
        narrow, wide = lane_layout(shape, lanes), lane_layout(shape, lanes * ratio)
        super().__init__(narrow, wide, lanes=lanes, ratio=ratio, words=words)

    def elaborate(self, platform):
        m = Module()

        slot = Signal(range(self.ratio))
        word = Signal(range(self.words))
        last = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            last.eq(word == self.words - 1),
        ]

        # Words come in at the upper end, and move down. Those of a vector's last wide word, if they
        # are fewer, come in where they will be when it is complete; what is above them is spare.
        word_bits = len(self.i.payload.as_value())
        register = Signal(word_bits * self.ratio, reset_less=True)
        m.d.comb += self.o.payload.as_value().eq(register)
        parts = data.View(data.ArrayLayout(word_bits, self.ratio), register)
        following = [*(parts[n + 1] for n in range(self.ratio - 1)), self.i.payload.as_value()]
        rest = self.words % self.ratio
        if rest:
            following[rest - 1] = Mux(
                word >= self.words - rest, self.i.payload.as_value(), following[rest - 1]
            )
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(0)
            with m.If(self.i.valid):
                m.d.sync += [
                    register.eq(Cat(following)),
                    slot.eq(slot + 1),
                    word.eq(Mux(last, 0, word + 1)),
                ]
                with m.If(last | (slot == self.ratio - 1)):
                    m.d.sync += [slot.eq(0), self.o.valid.eq(1)]

        return m


class WidthDivider(_WidthUnit):
    """Hand the wide words of a vector on as narrow ones; P goes along with each.

    Delivers a word every cycle, the first 1 cycle after the wide one came, which is taken when the
    one before it has been delivered. Of the last word of a vector, only what belongs to it.

    Parameters
    ----------
    source : :class:`xnorflow.ir.FeatureMap`
        What the values are.
    lanes, ratio, words : :class:`int`
        As for a `WidthConverter`.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes * ratio)))``
    o : ``Out(stream.Signature(map_layout(source, lanes)))``
    """

    def __init__(self, source, *, lanes, ratio, words):
        narrow, wide = map_layout(source, lanes), map_layout(source, lanes * ratio)
        super().__init__(wide, narrow, lanes=lanes, ratio=ratio, words=words)

    def elaborate(self, platform):
        m = Module()

        step = Signal()
        word, _ = counter(m, "word", self.words, step)
        part = Signal(range(self.ratio))
        last_part = Signal(init=self.words == 1)  # of a wide word
        m.d.comb += [
            step.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(~self.o.valid | (last_part & self.o.ready)),
        ]

        wide = Signal(self.i.p.shape(), reset_less=True)
        rest = wide.lanes.as_value()
        m.d.comb += self.o.p.lanes.as_value().eq(rest)
        if "popcount" in self.o.p.shape().members:
            m.d.comb += self.o.p.popcount.eq(wide.popcount)
        with m.If(step):
            m.d.sync += [
                rest.eq(rest >> len(self.o.p.lanes.as_value())),
                part.eq(Mux(last_part, 0, part + 1)),
            ]
            if self.words > 1:
                ends = (part == self.ratio - 2) & ~last_part
                m.d.sync += last_part.eq((word == self.words - 2) | ends)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), wide.eq(self.i.p)]

        return m


@dataclass(frozen=True)
class _WidthStage(StreamStage):
    """Between words of ``lanes`` values and ``ratio`` of them; ``words`` narrow words a vector."""

    ratio: int
    words: int

    facts = ("lanes", "ratio")

    @property
    def words_kept(self):
        return 2 * self.ratio


class WidthConverterStage(_WidthStage):
    """Gather ``ratio`` words into one."""

    component = WidthConverter

    def passage(self, arrivals, device):
        ends = np.append(np.arange(self.ratio, self.words, self.ratio), self.words) - 1
        gathered = arrivals[0].reshape(-1, self.words)[:, ends].ravel()
        return arrivals, gathered + self.registers(device)

    def resources(self, device, depth=None):
        return Resources(luts=12) + registers(device, self.ratio * self.width)

    def build(self, device, depth):
        shape = value_shape(self.source.type)
        return WidthConverter(shape, lanes=self.lanes, ratio=self.ratio, words=self.words)


class WidthDividerStage(_WidthStage):
    """Divide a word into ``ratio`` words."""

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
        return Resources(luts=(self.ratio - 1) * self.width + 20)

    def build(self, device, depth):
        return WidthDivider(self.source, lanes=self.lanes, ratio=self.ratio, words=self.words)
