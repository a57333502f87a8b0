"""Buffer of a frame whose parameters follow from the whole of it."""

from dataclasses import dataclass

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import Resources, buffer
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.repeating_queue import RepeatingQueue
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.times import frames_of, one_by_one, postponed, queue_depth
from xnorflow.hw.streams.words import map_layout, words_of
from xnorflow.ir import FeatureMap


__all__ = ["FrameBuffer", "FrameBufferStage"]


class FrameBuffer(wiring.Component):
    """Keep the words of a frame until its parameters have come; then deliver one every cycle.

    Parameters are only counted. Words of the next frame come in while those of a frame leave. A
    frame may leave several times, one after the other, before the next one does.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        A word.
    depth : :class:`int`
        Words that it holds, at least those of a frame.
    words : :class:`int`
        Words of a frame.
    parameter_shape : :class:`ShapeLike`
        A word of parameters.
    parameter_words : :class:`int`
        Words of a frame's parameters.
    passes : :class:`int`
        How often a frame leaves.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of a word to its delivery, if the parameters are there: 2.
        From the transfer of the last of them to the first word's delivery, it is 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    i_parameters : ``In(stream.Signature(parameter_shape))``
    o : ``Out(stream.Signature(shape))``

    Raises
    ------
    :exc:`ValueError`
        If ``depth`` is less than ``words``: it could never have seen a whole frame.
    """

    latency = Fifo.latency

    def __init__(self, shape, depth, *, words, parameter_shape, parameter_words, passes=1):
        if depth < words:
            raise ValueError(f"A frame buffer must hold at least {words} words, not {depth!r}")
        self.depth = depth
        self.words = words
        self.parameter_words = parameter_words
        self.passes = passes
        super().__init__({
            "i": In(stream.Signature(shape)),
            "i_parameters": In(stream.Signature(parameter_shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()

        if self.passes == 1:
            queue = Fifo(self.i.p.shape(), self.depth)
        else:
            queue = RepeatingQueue(
                self.i.p.shape(), self.depth, words=self.words, passes=self.passes
            )
        m.submodules.queue = queue
        connect(m, flipped(self.i), queue.i)

        # Frames whose parameters have come, and that have not left: no more than have come in.
        frames = self.depth // self.words + 2
        released = Signal(range(frames + 1))
        came, left = Signal(), Signal()
        m.d.comb += self.i_parameters.ready.eq(released != frames)
        _, last_parameter = counter(m, "parameter", self.parameter_words, came)
        m.d.comb += came.eq(self.i_parameters.valid & self.i_parameters.ready)
        m.d.comb += [
            self.o.p.eq(queue.o.p),
            self.o.valid.eq(queue.o.valid & (released != 0)),
            queue.o.ready.eq(self.o.ready & (released != 0)),
            left.eq(self.o.valid & self.o.ready),
        ]
        _, last_word = counter(m, "word", self.words * self.passes, left)
        m.d.sync += released.eq(released + (came & last_parameter) - (left & last_word))

        return m


@dataclass(frozen=True)
class FrameBufferStage(StreamStage):
    """Keep words of ``lanes`` values until the parameters of their frame have come.

    Attributes
    ----------
    passes : int
        How often a frame leaves.
    apart : int
        Clock cycles in which it leaves again, in the schedule.
    """

    parameters: FeatureMap
    parameter_lanes: int
    passes: int = 1
    apart: int = 0

    component = FrameBuffer
    inputs = ("i", "i_parameters")
    facts = ("lanes", "passes")
    may_wait = True

    @property
    def words(self) -> int:
        """Words of a frame."""
        return words_of(self.source, self.lanes)

    @property
    def parameter_words(self) -> int:
        """Words of a frame's parameters."""
        return words_of(self.parameters, self.parameter_lanes)

    least_depth = words

    @property
    def busy(self):
        return max(self.words, self.parameter_words)

    def passage(self, arrivals, device):
        released = frames_of(arrivals[1], self.parameter_words)[:, -1] + 1
        came = arrivals[0] + self.registers(device)
        ready = frames_of(np.maximum(came, np.repeat(released, self.words)), self.words)
        return arrivals, one_by_one(np.repeat(ready, self.passes, axis=0).ravel())

    def scheduled(self, arrivals, device, stages):
        _, ready = self.passage(arrivals, device)
        came = arrivals[0] + self.registers(device)
        if self.passes == 1:
            went = postponed(came, ready, self.words)
        else:
            went = self._repeated(came, ready)
        last = frames_of(went, self.words)[self.passes - 1 :: self.passes].ravel()
        return arrivals, went, max(self.words, queue_depth(arrivals[0], last))

    def _repeated(self, came, ready):
        """Departures at the pace of arrivals, the passes of a frame ``apart`` from each other."""
        frames = frames_of(came, self.words)
        passes, free = [], 0
        for frame, first in zip(
            frames, frames_of(ready, self.words)[:: self.passes, 0], strict=True
        ):
            begin = max(first, free)
            for _ in range(self.passes):
                passes.append(frame - frame[0] + begin)
                begin += self.apart
            free = passes[-1][-1] + 1
        return np.concatenate(passes)

    def resources(self, device, depth=None):
        luts = 60 if self.passes == 1 else 230
        return Resources(luts=luts) + buffer(device, self.width, depth or self.words)

    def build(self, device, depth):
        return FrameBuffer(
            map_layout(self.source, self.lanes),
            depth,
            words=self.words,
            parameter_shape=map_layout(self.parameters, self.parameter_lanes),
            parameter_words=self.parameter_words,
            passes=self.passes,
        )
