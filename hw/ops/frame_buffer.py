"""Buffer of a frame whose parameters follow from the whole of it."""

from dataclasses import dataclass

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import Resources, buffer
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.times import frames_of, one_by_one, postponed, queue_depth
from xnorflow.hw.streams.words import map_layout, words_of
from xnorflow.ir import FeatureMap


__all__ = ["FrameBuffer", "FrameBufferStage"]


class FrameBuffer(wiring.Component):
    """Keep the words of a frame until its parameters have come; then deliver one every cycle.

    Parameters are only counted. Words of the next frame come in while those of a frame leave.

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

    def __init__(self, shape, depth, *, words, parameter_shape, parameter_words):
        if depth < words:
            raise ValueError(f"A frame buffer must hold at least {words} words, not {depth!r}")
        self.depth = depth
        self.words = words
        self.parameter_words = parameter_words
        super().__init__({
            "i": In(stream.Signature(shape)),
            "i_parameters": In(stream.Signature(parameter_shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.queue = queue = Fifo(self.i.p.shape(), self.depth)
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
        _, last_word = counter(m, "word", self.words, left)
        m.d.sync += released.eq(released + (came & last_parameter) - (left & last_word))

        return m


@dataclass(frozen=True)
class FrameBufferStage(StreamStage):
    """Keep words of ``lanes`` values until the parameters of their frame have come."""

    parameters: FeatureMap
    parameter_lanes: int

    component = FrameBuffer
    inputs = ("i", "i_parameters")
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
        return arrivals, one_by_one(np.maximum(came, np.repeat(released, self.words)))

    def scheduled(self, arrivals, device, stages):
        _, ready = self.passage(arrivals, device)
        went = postponed(arrivals[0] + self.registers(device), ready, self.words)
        return arrivals, went, max(self.words, queue_depth(arrivals[0], went))

    def resources(self, device, depth=None):
        return Resources(luts=60) + buffer(device, self.width, depth or self.words)

    def build(self, device, depth):
        return FrameBuffer(
            map_layout(self.source, self.lanes),
            depth,
            words=self.words,
            parameter_shape=map_layout(self.parameters, self.parameter_lanes),
            parameter_words=self.parameter_words,
        )
