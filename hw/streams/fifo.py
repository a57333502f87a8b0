"""A queue of words."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.resources import Resources, buffer
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.words import map_layout


__all__ = ["Fifo", "FifoStage"]


class Fifo(wiring.Component):
    """A queue of stream words, with registered outputs on both sides.

    From 3 words on it takes and delivers one every cycle.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.
    depth : :class:`int`
        Words it holds, at least 1.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery, if the queue is empty: 2. With a
        depth of 1, it is 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``

    Raises
    ------
    :exc:`ValueError`
        If ``depth`` is less than 1.
    """

    latency = 2

    def __init__(self, shape, depth):
        if depth < 1:
            raise ValueError(f"Depth of a FIFO must be at least 1, not {depth!r}")
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        payload = Value.cast(self.i.payload)
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=len(payload), depth=self.depth)
        m.d.comb += [
            queue.w_data.eq(payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            Value.cast(self.o.payload).eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m


class FifoStage(StreamStage):
    """Keep words of ``lanes`` values until they are wanted."""

    component = Fifo
    may_wait = True
    least_depth = 1

    def resources(self, device, depth=None):
        if depth is None:  # it may be a wire
            return Resources()
        return Resources(luts=40) + buffer(device, self.width, depth)

    def build(self, device, depth):
        return Fifo(map_layout(self.source, self.lanes), depth)
