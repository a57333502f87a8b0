"""A queue of words."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter, level
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
        word = Value.cast(self.o.payload)
        put, take = Signal(), Signal()
        m.d.comb += put.eq(self.i.valid & self.i.ready)
        if self.depth == 1:
            m.d.comb += self.i.ready.eq(~self.o.valid)
            with m.If(put):
                m.d.sync += [word.eq(payload), self.o.valid.eq(1)]
            with m.Elif(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
            return m

        # The last word is the memory's output.
        depth = self.depth - 1
        m.submodules.memory = words = memory.Memory(shape=len(payload), depth=depth, init=[])
        write, read = words.write_port(), words.read_port()
        _, some, room = level(m, "level", depth, up=put, down=take)
        m.d.comb += [
            self.i.ready.eq(room),
            take.eq(some & (~self.o.valid | self.o.ready)),
            write.addr.eq(counter(m, "put", depth, put)[0]),
            write.data.eq(payload),
            write.en.eq(put),
            read.addr.eq(counter(m, "take", depth, take)[0]),
            read.en.eq(take),
            word.eq(read.data),
        ]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += self.o.valid.eq(some)
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
