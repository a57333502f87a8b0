"""A queue that delivers its frames several times."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter


__all__ = ["RepeatingQueue"]


class RepeatingQueue(wiring.Component):
    """A queue that delivers every frame several times, one after the other.

    It takes and delivers a word every cycle. The words of a frame are kept until they are delivered
    for the last time; the next frame comes in while they leave.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.
    depth : :class:`int`
        Words that it holds, besides one in its output register.
    words : :class:`int`
        Words of a frame.
    passes : :class:`int`
        How often it delivers a frame.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its first delivery, if the queue is empty: 2.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``

    Raises
    ------
    :exc:`ValueError`
        If it cannot hold a frame.
    """

    latency = 2

    def __init__(self, shape, depth, *, words, passes):
        if depth < words:
            raise ValueError(f"A repeating queue must hold at least {words} words, not {depth!r}")
        self.depth = depth
        self.words = words
        self.passes = passes
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        payload = Value.cast(self.i.payload)
        m.submodules.memory = ring = memory.Memory(shape=len(payload), depth=self.depth, init=[])
        write, read = ring.write_port(), ring.read_port()

        kept, unread = Signal(range(self.depth + 1)), Signal(range(self.depth + 1))
        put, step = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(kept != self.depth),
            put.eq(self.i.valid & self.i.ready),
            step.eq((unread != 0) & (~self.o.valid | self.o.ready)),
        ]
        _, last_word = counter(m, "word", self.words, step)
        _, last_pass = counter(m, "pass", self.passes, step & last_word)
        rewind = step & last_word & ~last_pass
        m.d.sync += [
            kept.eq(kept + put - (step & last_pass)),
            unread.eq(unread + put - step + Mux(rewind, self.words, 0)),
        ]

        place, _ = counter(m, "place", self.depth, put)
        get, following, first = (Signal.like(place) for _ in range(3))
        m.d.comb += following.eq(Mux(get == self.depth - 1, 0, get + 1))
        with m.If(step):
            m.d.sync += get.eq(Mux(rewind, first, following))
            with m.If(last_word & last_pass):
                m.d.sync += first.eq(following)

        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(payload),
            write.en.eq(put),
            read.addr.eq(get),
            read.en.eq(step),
            Value.cast(self.o.payload).eq(read.data),
        ]
        with m.If(step | self.o.ready):
            m.d.sync += self.o.valid.eq(step)

        return m
