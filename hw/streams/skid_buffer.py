"""A cut through the paths of ``valid`` and ``ready``."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.resources import Resources, registers
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.words import map_layout


__all__ = ["SkidBuffer", "SkidBufferStage"]


class SkidBuffer(wiring.Component):
    """A register in both directions: neither ``valid`` nor ``ready`` passes in the same cycle.

    A word can pass every cycle. A second register keeps what comes while the first is waited for.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``
    """

    latency = 1

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        word, spare = (
            Signal(self.i.p.shape(), name=name, reset_less=True) for name in ("word", "spare")
        )
        spare_valid = Signal()
        m.d.comb += [self.o.p.eq(word), self.i.ready.eq(~spare_valid)]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(spare_valid | self.i.valid),
                word.eq(Mux(spare_valid, spare, self.i.p)),
                spare_valid.eq(0),
            ]
        with m.Elif(self.i.ready):
            m.d.sync += [spare_valid.eq(self.i.valid), spare.eq(self.i.p)]

        return m


class SkidBufferStage(StreamStage):
    """Keep a layer's ``ready`` from reaching the one before it in the same cycle."""

    component = SkidBuffer
    words_kept = 1

    def resources(self, device, depth=None):
        return Resources(luts=self.width + 3) + registers(device, self.width)

    def build(self, device, depth):
        return SkidBuffer(map_layout(self.source, self.lanes))
