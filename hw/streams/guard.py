"""Frame integrity: frames of a wrong length, or marked bad, leave no trace in the results."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.hw.streams.words import lane_layout


__all__ = ["FrameGuard", "FramePacer", "VerdictGate", "frame_layout"]


def frame_layout(shape, lanes):
    """Payload of a word of raw input: ``lanes`` values, and the marks of the frame's last word.

    ``last`` ends the frame, or a packet of frames; ``error``, beside a frame's last word, says that
    the frame is bad (AXI4-Stream: tuser).
    """
    return data.StructLayout({"data": data.ArrayLayout(shape, lanes), "last": 1, "error": 1})


class FrameGuard(wiring.Component):
    """Let frames of exactly ``words`` words through, whatever comes in.

    A frame that ends early is filled up with zeros; what exceeds ``words`` is swallowed. Either
    way, and when it is marked bad, its verdict is 0, so that `VerdictGate` drops its result at the
    other end of the pipeline: no frame has to be stored for that. Latency is 0 cycles.

    Where a packet may hold any number of frames, the next one begins behind the last word, be it
    marked or not. Nothing is too long then, and only a packet that ends inside a frame tells that
    words were lost.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One value.
    lanes : :class:`int`
        Values a word.
    words : :class:`int`
        Words of a good frame, at least 1.
    frames_per_packet : :class:`FramesPerPacket`
        What ``last`` marks.
    in_flight : :class:`int`, optional
        If new frames can be held back: how many there may be between here and their results.

    Members
    -------
    i : ``In(stream.Signature(frame_layout(shape, lanes)))``
    o : ``Out(stream.Signature(lane_layout(shape, lanes)))``
        ``words`` words a frame.
    o_verdict : ``Out(stream.Signature(1))``
        1 for a good frame; delivered a cycle after the transfer of the frame's last word on ``o``,
        which waits until the verdict of the frame before has been taken.
    frame_error : ``Out(1)``
        High for a cycle when a frame has been found bad.
    dropped_frames : ``Out(32)``
        Number of bad frames since reset.
    hold, result : ``In(1)``
        If new frames can be held back: whether they are, and whether a result goes out.
    idle : ``Out(1)``
        The same: whether new frames are held back, and all results are out.

    Raises
    ------
    :exc:`ValueError`
        If ``words`` is less than 1.
    """

    def __init__(
        self, shape, *, lanes, words, frames_per_packet=FramesPerPacket.ONE, in_flight=None
    ):
        if words < 1:
            raise ValueError(f"A frame must have at least 1 word, not {words!r}")
        self.words = words
        self.frames_per_packet = frames_per_packet
        self.in_flight = in_flight
        held = {} if in_flight is None else {"hold": In(1), "result": In(1), "idle": Out(1)}
        super().__init__({
            **held,
            "i": In(stream.Signature(frame_layout(shape, lanes))),
            "o": Out(stream.Signature(lane_layout(shape, lanes))),
            "o_verdict": Out(stream.Signature(1)),
            "frame_error": Out(1),
            "dropped_frames": Out(32),
        })

    def elaborate(self, platform):
        m = Module()

        passed = Signal()
        word, last_word = counter(m, "word", self.words, passed)
        bad = Signal()
        runs_on = Signal()  # more words of the frame follow its last one
        if self.frames_per_packet is FramesPerPacket.ONE:
            m.d.comb += runs_on.eq(~self.i.p.last)

        # The last word leaves when there is room for its verdict.
        free = Signal()
        room = ~last_word | ~self.o_verdict.valid | self.o_verdict.ready
        if self.in_flight is not None:
            room &= ~self._closed(m, passed, word == 0)
        m.d.comb += free.eq(room)
        with m.If(self.o_verdict.ready):
            m.d.sync += self.o_verdict.valid.eq(0)
        m.d.comb += passed.eq(self.o.valid & self.o.ready)
        with m.If(passed & last_word):
            m.d.comb += self.frame_error.eq(bad)
            m.d.sync += [self.o_verdict.valid.eq(1), self.o_verdict.payload.eq(~bad)]
        m.d.sync += self.dropped_frames.eq(self.dropped_frames + self.frame_error)

        with m.FSM():
            with m.State("Pass"):
                m.d.comb += [
                    self.o.p.lanes.eq(self.i.p.data),
                    self.o.valid.eq(self.i.valid & free),
                    self.i.ready.eq(self.o.ready & free),
                    bad.eq(runs_on | self.i.p.error),
                ]
                with m.If(self.i.valid & self.i.ready):
                    with m.If(self.i.p.last & ~last_word):
                        m.next = "Fill"
                    with m.Elif(runs_on & last_word):
                        m.next = "Skip"
            with m.State("Fill"):
                m.d.comb += [self.o.valid.eq(free), bad.eq(1)]
                with m.If(self.o.valid & self.o.ready & last_word):
                    m.next = "Pass"
            with m.State("Skip"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & self.i.p.last):
                    m.next = "Pass"

        return m

    def _closed(self, m, passed, between):
        """Whether the next frame, ``between`` two as we are, is held back.

        What has been offered is no longer held back. A reset does not open.
        """
        closed = Signal(init=1)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += closed.eq(self.hold)
        inside = Signal(range(self.in_flight + 1))
        m.d.sync += inside.eq(inside + (passed & between) - self.result)
        m.d.comb += self.idle.eq(closed & between & (inside == 0))
        return closed & between


class FramePacer(wiring.Component):
    """Let frames begin no sooner than ``cycles`` cycles after each other. Latency is 0 cycles.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload.
    words : :class:`int`
        Words of a frame.
    cycles : :class:`int`
        From the transfer of a frame's first word to that of the next one's, at least.

    Members
    -------
    i, o : ``stream.Signature(shape)``
    """

    def __init__(self, shape, *, words, cycles):
        self.words = words
        self.cycles = cycles
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        passed = Signal()
        word, _ = counter(m, "word", self.words, passed)
        wait = Signal(range(self.cycles))
        free = Signal()
        m.d.comb += [
            free.eq((word != 0) | (wait == 0)),
            self.o.p.eq(self.i.p),
            self.o.valid.eq(self.i.valid & free),
            self.i.ready.eq(self.o.ready & free),
            passed.eq(self.o.valid & self.o.ready),
        ]
        with m.If(passed & (word == 0)):
            m.d.sync += wait.eq(self.cycles - 1)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)

        return m


class VerdictGate(wiring.Component):
    """Pass the results of good frames on, and drop those of bad ones.

    Results and verdicts come in the same order, and wait for each other. Latency is 0 cycles.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Payload of a result.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    i_verdict : ``In(stream.Signature(1))``
    o : ``Out(stream.Signature(shape))``
    """

    def __init__(self, shape):
        super().__init__({
            "i": In(stream.Signature(shape)),
            "i_verdict": In(stream.Signature(1)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        both = Signal()
        m.d.comb += [
            both.eq(self.i.valid & self.i_verdict.valid),
            self.o.p.eq(self.i.p),
            self.o.valid.eq(both & self.i_verdict.payload),
            self.i.ready.eq(both & (self.o.ready | ~self.i_verdict.payload)),
            self.i_verdict.ready.eq(self.i.ready),
        ]
        return m
