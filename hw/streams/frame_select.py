"""One of several frames that come in turn."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.resources import CONTROL, Resources, counters
from xnorflow.hw.streams.stage import StreamStage
from xnorflow.hw.streams.times import frames_of
from xnorflow.hw.streams.words import map_layout, words_of


__all__ = ["FrameSelect", "FrameSelectStage"]


class FrameSelect(wiring.Component):
    """Hand on one of several frames, always the same, and take the others away.

    It is combinational.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        A word.
    words : :class:`int`
        Words of a frame.
    frames : :class:`int`
        Frames that take turns.
    chosen : :class:`int`
        Which of them is handed on.

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(shape))``

    Raises
    ------
    :exc:`ValueError`
        If there is no such frame.
    """

    latency = 0

    def __init__(self, shape, *, words, frames, chosen):
        if not 0 <= chosen < frames:
            raise ValueError(f"The chosen one of {frames} frames cannot be {chosen!r}")
        self.words = words
        self.frames = frames
        self.chosen = chosen
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        step = self.i.valid & self.i.ready
        _, last_word = counter(m, "word", self.words, step)
        frame, _ = counter(m, "frame", self.frames, step & last_word)
        wanted = frame == self.chosen
        m.d.comb += [
            self.o.p.eq(self.i.p),
            self.o.valid.eq(self.i.valid & wanted),
            self.i.ready.eq(self.o.ready | ~wanted),
        ]
        return m


@dataclass(frozen=True)
class FrameSelectStage(StreamStage):
    """Hand on one of several frames of words of ``lanes`` values."""

    frames: int
    chosen: int

    component = FrameSelect
    facts = ("lanes", "frames", "chosen")

    def passage(self, arrivals, device):
        turns = frames_of(arrivals[0], self.busy).reshape(-1, self.frames, self.busy)
        return arrivals, turns[:, self.chosen].ravel()

    def resources(self, device, depth=None):
        return Resources(luts=CONTROL) + counters(self.busy)

    def build(self, device, depth):
        return FrameSelect(
            map_layout(self.source, self.lanes),
            words=words_of(self.source, self.lanes),
            frames=self.frames,
            chosen=self.chosen,
        )
