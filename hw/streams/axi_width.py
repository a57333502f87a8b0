"""AXI4-Stream of any width: bytes of frames become words, and results become bytes."""

from functools import reduce
from math import gcd
from operator import or_

import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.hw.streams.times import one_by_one


__all__ = ["InputGearbox", "ResultSerialiser", "input_beat", "result_beat", "word_times"]


def input_beat(beat):
    """Payload of a transfer of ``beat`` bytes that comes in (AXI4-Stream: TDATA, TKEEP, …)."""
    return data.StructLayout({"data": 8 * beat, "keep": beat, "last": 1, "user": 1})


def result_beat(beat):
    """Payload of a transfer of ``beat`` bytes that goes out."""
    return data.StructLayout({"data": 8 * beat, "keep": beat, "last": 1})


def word_times(*, beat, word, frame):
    """Cycles in which an `InputGearbox` delivers a frame's words, the first transfer being at 0.

    The last of them is also what a frame takes if each has a packet of its own.
    """
    ends = np.minimum(np.arange(word, frame + word, word), frame)
    return one_by_one((ends - 1) // beat + InputGearbox.latency)


class InputGearbox(wiring.Component):
    """Make words of ``word`` bytes of transfers of ``beat`` bytes, whatever the ratio of both.

    A packet's bytes follow each other without a gap, frame by frame; each packet begins with a
    transfer. A word is delivered 1 cycle after the transfer that completes it, or 1 cycle after the
    word before it; a frame's last word holds the bytes that are left. The next packet begins in the
    cycle in which the last word leaves: `word_times` says what that takes.

    All bytes of a transfer must be kept but those at the upper end of a packet's last one. Where
    that is not so, bytes have been lost or do not count, and all frames that end from there to the
    packet's end are marked bad.

    Parameters
    ----------
    beat, word, frame : :class:`int`
        Bytes of a transfer, of a word and of a frame, at least 1 each.
    frames_per_packet : :class:`FramesPerPacket`
        What the transfers' ``last`` marks.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer that completes a word to its delivery: 1.

    Members
    -------
    i : ``In(stream.Signature(input_beat(beat)))``
        ``user`` marks frames as bad whose last byte is in the transfer.
    o : ``Out(stream.Signature(StructLayout({"data": 8 * word, "last": 1, "error": 1})))``
        ``last`` marks a packet's last word, and ``error`` beside a frame's last word that the frame
        is bad.

    Raises
    ------
    :exc:`ValueError`
        If ``beat``, ``word`` or ``frame`` is less than 1.
    """

    latency = 1

    def __init__(self, *, beat, word, frame, frames_per_packet=FramesPerPacket.ONE):
        if min(beat, word, frame) < 1:
            raise ValueError(
                f"Transfers, words and frames must have at least 1 byte, "
                f"not {beat!r}, {word!r} and {frame!r}"
            )
        self.beat = beat
        self.word = word
        self.frame = frame
        self.frames_per_packet = frames_per_packet
        layout = data.StructLayout({"data": 8 * word, "last": 1, "error": 1})
        super().__init__({
            "i": In(stream.Signature(input_beat(beat))),
            "o": Out(stream.Signature(layout)),
        })

    def elaborate(self, platform):
        m = Module()

        # All is counted in the largest unit of which transfers, words and frames consist.
        unit = gcd(self.beat, self.word, self.frame)
        beat, word, frame = (n // unit for n in (self.beat, self.word, self.frame))
        tail = (frame - 1) % word + 1  # of a frame's last word
        arriving, kept, odd = self._arriving(m, unit, beat)

        held = Signal(data.ArrayLayout(8 * unit + 1, word + beat - 1), reset_less=True)
        count = Signal(range(word + beat))
        closed = Signal()  # what is held ends its packet
        odd_end = Signal(reset_less=True)
        accepted, leaving = Signal(), Signal()

        # Where packets hold several frames, the next one may begin inside a frame's last word.
        final = Const(0)
        if self.frames_per_packet is FramesPerPacket.ANY and tail != word:
            final = self._final_word(m, -(-frame // word), leaving)
        need = Mux(final, tail, word)
        m.d.comb += [
            self.o.p.data.eq(Cat(held[n][:-1] for n in range(word))),
            self.o.p.last.eq(closed & (count <= need)),
            self.o.p.error.eq(held[tail - 1][-1] | (self.o.p.last & (odd_end | (count != tail)))),
            self.o.valid.eq(closed | (count >= need)),
            leaving.eq(self.o.valid & self.o.ready),
            # A word that waits stays as it is.
            self.i.ready.eq(
                ~self.o.valid | (self.o.ready & Mux(closed, self.o.p.last, count < need + word))
            ),
            accepted.eq(self.i.valid & self.i.ready),
        ]

        # What arrives is put behind what is left when a word has gone.
        left = Mux(leaving, Mux(count > need, count - need, 0), count)
        here = [
            Mux(leaving, count == need + n if n else count <= need, count == n) for n in range(word)
        ]
        with m.If(accepted | leaving):
            m.d.sync += [
                count.eq(left + Mux(accepted, kept, 0)),
                closed.eq(Mux(accepted, self.i.p.last, closed & ~(leaving & self.o.p.last))),
            ]
            for n in range(len(held)):
                shifts = [word] if isinstance(final, Const) else [word, tail]
                moved = [held[n + k] if n + k < len(held) else Const(0) for k in shifts]
                rest = Mux(leaving, Mux(final, moved[-1], moved[0]), held[n])
                m.d.sync += held[n].eq(self._placed(here, arriving, n, rest))
        with m.If(accepted):
            m.d.sync += odd_end.eq(odd)

        return m

    def _placed(self, here, arriving, n, rest):
        """What unit ``n`` holds next: one of those that arrive, or else ``rest``."""
        places = range(max(0, n - len(arriving) + 1), min(n, len(here) - 1) + 1)
        taken = reduce(or_, (here[p] for p in places))
        new = (here[p].replicate(len(rest)) & arriving[n - p] for p in places)
        return Mux(taken, reduce(or_, new), rest)

    def _arriving(self, m, unit, beat):
        """Units of a transfer with their marks, how many are kept, and whether that may not be."""
        keep, last = self.i.p.keep, self.i.p.last
        units = [keep.word_select(n, unit) for n in range(beat)]
        split = reduce(or_, (part.any() & ~part.all() for part in units))
        gap = ((keep + 1) & keep).any()
        odd, spoilt, bad = Signal(), Signal(), Signal()
        m.d.comb += [
            odd.eq(Mux(last, gap | split | ~keep.any(), ~keep.all())),
            bad.eq(self.i.p.user | odd | spoilt),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += spoilt.eq(~last & (spoilt | odd))
        kept = Mux(last, sum(part[0] for part in units), beat)
        marked = [Cat(self.i.p.data.word_select(n, 8 * unit), bad) for n in range(beat)]
        return marked, kept, odd

    def _final_word(self, m, words, leaving):
        """Whether a frame's last word is next: words are counted from each packet's start."""
        index = Signal(range(words))
        final = Signal(init=words == 1)
        m.d.comb += final.eq(index == words - 1)
        with m.If(leaving):
            m.d.sync += index.eq(Mux(final | self.o.p.last, 0, index + 1))
        return final


class ResultSerialiser(wiring.Component):
    """Hand a result on in transfers of ``beat`` bytes, the lowest first.

    Takes a result as soon as the one before it has been delivered.

    Parameters
    ----------
    result, beat : :class:`int`
        Bytes of a result and of a transfer, at least 1 each.

    Attributes
    ----------
    beats : :class:`int`
        Transfers of a result.
    latency : :class:`int`
        Clock cycles from a result to its first transfer: 1.

    Members
    -------
    i : ``In(stream.Signature(8 * result))``
    o : ``Out(stream.Signature(result_beat(beat)))``
        ``last`` marks the last transfer of a result, in which ``keep`` says which bytes it has;
        those above are 0.

    Raises
    ------
    :exc:`ValueError`
        If ``result`` or ``beat`` is less than 1.
    """

    latency = 1

    def __init__(self, *, result, beat):
        if min(result, beat) < 1:
            raise ValueError(
                f"Results and transfers must have at least 1 byte, not {result!r} and {beat!r}"
            )
        self.result = result
        self.beat = beat
        self.beats = -(-result // beat)
        super().__init__({
            "i": In(stream.Signature(8 * result)),
            "o": Out(stream.Signature(result_beat(beat))),
        })

    def elaborate(self, platform):
        m = Module()
        every = (1 << self.beat) - 1
        rest = self.result - (self.beats - 1) * self.beat
        m.d.comb += self.o.p.keep.eq(Mux(self.o.p.last, (1 << rest) - 1, every))
        step = Signal()
        _, last = counter(m, "beat", self.beats, step)
        left = Signal(8 * self.beat * self.beats, reset_less=True)
        m.d.comb += [
            step.eq(self.o.valid & self.o.ready),
            self.o.p.data.eq(left),
            self.o.p.last.eq(last),
            self.i.ready.eq(~self.o.valid | (step & last)),
        ]
        with m.If(step):
            m.d.sync += left.eq(left >> 8 * self.beat)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), left.eq(self.i.payload)]
        return m
