"""A stream for several consumers."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.words import map_layout


__all__ = ["Fork", "ForkStage"]


class Fork(wiring.Component):
    """Hand every word to several consumers, each at its own pace.

    A consumer that is ready takes its copy at once; the next word follows when all have theirs. A
    word can pass every cycle, through a `SkidBuffer`.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.
    consumers : :class:`int`
        Number of copies, at least 2.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape)).array(consumers)``

    Raises
    ------
    :exc:`ValueError`
        If there are fewer than 2 consumers.
    """

    latency = 1

    def __init__(self, shape, consumers):
        if consumers < 2:
            raise ValueError(f"A fork must have at least 2 consumers, not {consumers!r}")
        self.shape = shape
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)).array(consumers),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.skid = skid = SkidBuffer(self.shape)
        connect(m, flipped(self.i), skid.i)
        served = Signal(len(self.o))  # consumers that have their copy of the word
        after = Signal.like(served)
        for n, o in enumerate(self.o):
            m.d.comb += [
                o.p.eq(skid.o.p),
                o.valid.eq(skid.o.valid & ~served[n]),
                after[n].eq(served[n] | (o.valid & o.ready)),
            ]
        m.d.comb += skid.o.ready.eq(after.all())
        with m.If(skid.o.valid):
            m.d.sync += served.eq(Mux(skid.o.ready, 0, after))

        return m


@dataclass(frozen=True)
class ForkStage(StreamStage):
    """Hand words of ``lanes`` values to several stages."""

    consumers: int

    component = Fork
    facts = ("lanes", "consumers")
    words_kept = 1

    def resources(self, device, depth=None):
        return Resources(luts=self.width + 10)

    def build(self, device, depth):
        return Fork(map_layout(self.source, self.lanes), self.consumers)

    def outputs(self, unit):
        return list(unit.o)
