"""Narrow words become wide ones."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.resources import Resources, registers
from xnorflow.hw.streams.stage import Stage
from xnorflow.hw.streams.words import lane_layout, value_bits, value_shape
from xnorflow.network import FeatureMap


__all__ = ["WidthConverter", "WidthConverterStage"]


class WidthConverter(wiring.Component):
    """Gather the narrow words of a vector into wide ones (FINN: DWC).

    Accepts a word every cycle. A wide word is delivered 1 cycle after its last narrow one; the last
    word of a vector leaves as soon as the vector is complete, whatever its spare lanes hold.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One value.
    lanes : :class:`int`
        Values of a narrow word.
    ratio : :class:`int`
        Narrow words in a wide word, at least 2.
    words : :class:`int`
        Narrow words of a vector.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer that completes a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(lane_layout(shape, lanes)))``
    o : ``Out(stream.Signature(lane_layout(shape, lanes * ratio)))``

    Raises
    ------
    :exc:`ValueError`
        If ``ratio`` is less than 2, or ``lanes`` or ``words`` less than 1.
    """

    latency = 1

    def __init__(self, shape, *, lanes, ratio, words):
        if ratio < 2:
            raise ValueError(f"Ratio of a width converter must be at least 2, not {ratio!r}")
        if lanes < 1 or words < 1:
            raise ValueError(f"Lanes and words must be at least 1, not {lanes!r} and {words!r}")
        self.ratio = ratio
        self.words = words
        super().__init__({
            "i": In(stream.Signature(lane_layout(shape, lanes))),
            "o": Out(stream.Signature(lane_layout(shape, lanes * ratio))),
        })

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


@dataclass(frozen=True)
class WidthConverterStage(Stage):
    """Gather ``ratio`` words of ``lanes`` values into one; ``words`` narrow words a vector."""

    name: str
    source: FeatureMap
    lanes: int
    ratio: int
    words: int

    component = WidthConverter

    def passage(self, arrivals, device):
        ends = np.append(np.arange(self.ratio, self.words, self.ratio), self.words) - 1
        gathered = arrivals[0].reshape(-1, self.words)[:, ends].ravel()
        return arrivals, gathered + self.registers(device)

    def resources(self, device, depth=None):
        width = self.lanes * self.ratio * value_bits(self.source)
        return Resources(luts=12) + registers(device, width)

    def frames_kept(self, depth):
        return Fraction(2 * self.ratio, self.busy)

    def describe(self, depth):
        return {"lanes": self.lanes, "ratio": self.ratio}

    def build(self, device, depth):
        shape = value_shape(self.source.type)
        return WidthConverter(shape, lanes=self.lanes, ratio=self.ratio, words=self.words)
