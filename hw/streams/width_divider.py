"""Wide words become narrow ones."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.streams.words import map_layout


__all__ = ["WidthDivider"]


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
