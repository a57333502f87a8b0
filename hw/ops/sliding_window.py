"""Sliding windows: a map of pixels becomes the windows of a convolution, tap by tap."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.constants import MemoryStyle
from xnorflow.hw.arithmetic.counters import counter
from xnorflow.hw.arithmetic.memory import buffer_style
from xnorflow.hw.arithmetic.resources import Resources, buffer, registers
from xnorflow.hw.streams.stage import Stage
from xnorflow.hw.streams.times import each, one_by_one
from xnorflow.hw.streams.words import check_lanes, map_layout
from xnorflow.ir import BinaryConv, FeatureMap, IntegerConv


__all__ = ["SlidingWindowStage", "SlidingWindowUnit", "Windows"]

_CONTROL = 150
"""Look-up tables of counters, addresses and accounts."""


def _ring_size(depth):
    """Words of the memory behind a buffer of ``depth`` words: the next power of two."""
    return 1 << max(1, ceil_log2(depth))


class Windows:
    """Geometry of the windows over a map, in words of ``lanes`` channels.

    Attributes
    ----------
    rows, columns : :class:`int`
        Windows of a frame.
    words : :class:`int`
        Words of a pixel.
    window_words : :class:`int`
        Words of a window.
    row_words, frame_words : :class:`int`
        Words of a row of pixels, and of a frame.

    Raises
    ------
    :exc:`ValueError`
        If the lanes do not divide the channels.
    """

    def __init__(self, source, *, kernel, stride, padding, lanes):
        check_lanes(source, lanes)
        self.source = source
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.lanes = lanes
        self.rows = (source.height + 2 * padding - kernel[0]) // stride + 1
        self.columns = (source.width + 2 * padding - kernel[1]) // stride + 1
        self.words = source.channels // lanes
        self.window_words = kernel[0] * kernel[1] * self.words
        self.row_words = source.width * self.words
        self.frame_words = source.height * self.row_words

    def first_row(self, r):
        """First row of the frame that windows of row ``r`` touch: the oldest that is still kept."""
        return max(0, r * self.stride - self.padding)

    def needed(self, r, c):
        """Words of the frame, from its first on, that must have come for the window (r, c).

        The last window of a row waits, too, for pixels that nobody needs but that are released
        after it.
        """
        last_row = min(r * self.stride - self.padding + self.kernel[0], self.source.height) - 1
        columns = min(c * self.stride - self.padding + self.kernel[1], self.source.width)
        words = last_row * self.row_words + columns * self.words
        return max(words, self.released(r)) if c == self.columns - 1 else words

    def released(self, r):
        """Words of the frame, from its first on, that nobody needs after the windows of row r."""
        if r == self.rows - 1:
            return self.frame_words
        return self.first_row(r + 1) * self.row_words

    @property
    def least_depth(self):
        """Words that the buffer must hold at least: those of the windows of one row."""
        return max(
            self.needed(r, self.columns - 1) - self.first_row(r) * self.row_words
            for r in range(self.rows)
        )


class SlidingWindowUnit(wiring.Component):
    """Repeat the pixels of a map as the windows of a convolution (FINN: SWG).

    A window's words leave in the order (row, column, channel) of the kernel, one a cycle; taps
    outside the frame are 0. The first word of a window leaves as soon as its last pixel has come.
    Pixels wait in a ring buffer until the windows of their row are through; the next frame follows
    without a gap.

    Parameters
    ----------
    windows : :class:`Windows`
    depth : :class:`int`
        Words that the buffer holds, at least ``windows.least_depth``; more decouple the unit from
        what feeds it. The memory behind it is the next power of two.
    style : :class:`MemoryStyle`
        Where the buffer is.

    Attributes
    ----------
    latency : :class:`int`
        Clock cycles from the transfer of the last pixel that a window needs to the delivery of the
        window's first word, if the unit is idle: 3.

    Members
    -------
    i : ``In(stream.Signature(map_layout(source, lanes)))``
    o : ``Out(stream.Signature(map_layout(source, lanes)))``

    Raises
    ------
    :exc:`ValueError`
        If the depth is too small.
    """

    latency = 3

    def __init__(self, windows, *, depth, style=MemoryStyle.AUTO):
        if depth < windows.least_depth:
            raise ValueError(
                f"Depth of a window buffer must be at least {windows.least_depth}, not {depth!r}"
            )
        self.windows = windows
        self.depth = depth
        self.style = style
        layout = map_layout(windows.source, windows.lanes)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform):
        m = Module()
        w = self.windows
        source, (kernel_rows, kernel_columns) = w.source, w.kernel
        word_bits = len(self.i.payload.as_value())

        # Addresses are those of a ring whose size is a power of two, so that they wrap by
        # themselves; those of taps outside the frame are computed like all others, and not used.
        bits = ceil_log2(_ring_size(self.depth))
        m.submodules.buffer = buffer = memory.Memory(
            shape=word_bits, depth=1 << bits, init=[], attrs=self.style.attributes()
        )
        write, read = buffer.write_port(), buffer.read_port()

        # Words in the buffer whose row is still needed.
        filled = Signal(range(self.depth + 1))
        put = Signal(bits)
        m.d.comb += [
            self.i.ready.eq(filled != self.depth),
            write.addr.eq(put),
            write.data.eq(Value.cast(self.i.payload)),
            write.en.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += put.eq(put + write.en)

        # Which tap is next: the channel's word runs fastest, then the kernel, then the window.
        en, step = Signal(), Signal()
        _, last_word = counter(m, "word", w.words, step)
        kernel_column, last_kernel_column = counter(
            m, "kernel_column", kernel_columns, step & last_word
        )
        end_of_kernel_row = last_word & last_kernel_column
        kernel_row, last_kernel_row = counter(
            m, "kernel_row", kernel_rows, step & end_of_kernel_row
        )
        end_of_window = end_of_kernel_row & last_kernel_row
        column, last_column = counter(m, "column", w.columns, step & end_of_window)
        end_of_row = end_of_window & last_column
        row, last_row = counter(m, "row", w.rows, step & end_of_row)

        # The address of the tap, that of its window, and that of its row of windows.
        start = -(w.padding * (w.row_words + w.words)) % (1 << bits)
        address, window, first_window = (
            Signal(bits, name=name, init=start) for name in ("address", "window", "first_window")
        )
        next_row = Signal(bits)
        m.d.comb += next_row.eq(
            first_window
            + Mux(
                last_row,
                (source.height - (w.rows - 1) * w.stride) * w.row_words,
                w.stride * w.row_words,
            )
        )
        with m.If(step):
            m.d.sync += address.eq(address + 1)
            with m.If(end_of_row):
                m.d.sync += [s.eq(next_row) for s in (address, window, first_window)]
            with m.Elif(end_of_window):
                next_window = window + w.stride * w.words
                m.d.sync += [address.eq(next_window), window.eq(next_window)]
            with m.Elif(end_of_kernel_row):
                m.d.sync += address.eq(address + (w.row_words - kernel_columns * w.words + 1))

        # A window waits until its last pixel is there. Both numbers count from the first word of
        # the oldest row that is still needed.
        kept = [w.first_row(r) * w.row_words for r in range(w.rows)]
        first, last = (
            [w.needed(r, c) - kept[r] for r in range(w.rows)] for c in (0, w.columns - 1)
        )
        # In between, a window needs a stride more than the one before, up to the border.
        more = [w.needed(0, c + 1) - w.needed(0, c) for c in range(max(1, w.columns - 2))]
        needed = Signal(range(self.depth + 1), init=first[0])
        m.d.comb += step.eq(en & (filled >= needed))
        with m.If(step & end_of_window):
            with m.If(last_column):
                following = first[1:] + first[:1]
                m.d.sync += needed.eq(Array(following)[row])
            with m.Elif(column == w.columns - 2):
                m.d.sync += needed.eq(Array(last)[row])
            with m.Else():
                m.d.sync += needed.eq(needed + Array(more)[column])
        releases = [w.released(r) - kept[r] for r in range(w.rows)]
        release = Mux(step & end_of_row, Array(releases)[row], 0)
        m.d.sync += filled.eq(filled + write.en - release)

        # Cycle 1: the buffer is read. Cycle 2: what is outside the frame becomes 0.
        def outside(first, tap, side):
            """Whether a coordinate that is ``padding`` too large lies outside."""
            position = Signal(range(side + 2 * w.padding + max(w.kernel)))
            m.d.comb += position.eq(first + tap)
            return (position < w.padding) | (position >= side + w.padding)

        valid = Signal(2)
        output = Signal(word_bits, reset_less=True)
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            read.en.eq(en),
            read.addr.eq(address),
            self.o.valid.eq(valid[1]),
            Value.cast(self.o.payload).eq(output),
        ]
        with m.If(en):
            m.d.sync += [valid.eq(Cat(step, valid)), output.eq(read.data)]
        if w.padding:
            inside = Signal()
            tap_outside = outside(row * w.stride, kernel_row, source.height) | outside(
                column * w.stride, kernel_column, source.width
            )
            with m.If(en):
                m.d.sync += inside.eq(~tap_outside)
                with m.If(~inside):
                    m.d.sync += output.eq(0)

        return m


@dataclass(frozen=True)
class SlidingWindowStage(Stage):
    """Repeat pixels as windows, in words of ``lanes`` channels."""

    node: BinaryConv | IntegerConv
    source: FeatureMap
    lanes: int

    component = SlidingWindowUnit
    facts = ("lanes", "kernel", "node.stride", "node.padding")
    may_wait = True

    @property
    def name(self) -> str:
        return f"{self.node.name}_windows"

    @property
    def kernel(self) -> list[int]:
        """Rows and columns of a window."""
        return list(self.node.weights.shape[1:3])

    @cached_property
    def windows(self) -> Windows:
        """Geometry of the windows."""
        return Windows(
            self.source,
            kernel=self.kernel,
            stride=self.node.stride,
            padding=self.node.padding,
            lanes=self.lanes,
        )

    @property
    def least_depth(self) -> int:
        return self.windows.least_depth

    def registers(self, device):
        return SlidingWindowUnit.latency - 1  # the buffer takes one

    @property
    def busy(self):
        w = self.windows
        return max(w.frame_words, w.rows * w.columns * w.window_words)

    def passage(self, arrivals, device):
        w = self.windows
        starts = one_by_one(self._complete(arrivals[0]) + 1, w.window_words)
        return arrivals, each(starts, np.arange(w.window_words)) + self.registers(device)

    def scheduled(self, arrivals, device, stages):
        depth = self._depth(stages[self.node.name], arrivals[0], device)
        return *self.passage(arrivals, device), depth

    def _complete(self, arrivals):
        """Times at which the last word that a window needs has come, window by window."""
        w = self.windows
        needed = np.array([[w.needed(r, c) for c in range(w.columns)] for r in range(w.rows)])
        return arrivals.reshape(-1, w.frame_words)[:, needed.ravel() - 1].ravel()

    def _depth(self, layer, arrivals, device):
        """Words kept at most, from their arrival to the end of the last row needing them."""
        w = self.windows
        fold, turns = layer.synapse_fold, layer.neuron_fold
        through = self.registers(device) + 1
        start, before, last = -fold, -fold * turns, -fold * turns
        starts = []
        for complete in self._complete(arrivals).tolist():
            start = max(start + fold, complete + 1)
            if turns > 1:
                # The ring behind the windows holds two. The next one is read in while the one
                # before it waits or is worked on, and its predecessor is in its last turn.
                start = max(start, before + fold * (turns - 1))
            before, last = last, max(last + fold * turns, start + through)
            starts.append(start)
        ends = np.array(starts)[w.columns - 1 :: w.columns] + fold - 1
        released = [w.released(r) - w.first_row(r) * w.row_words for r in range(w.rows)]
        released = np.cumsum([0, *released * (len(ends) // w.rows)])
        kept = np.arange(1, len(arrivals) + 1) - released[np.searchsorted(ends, arrivals)]
        return max(w.least_depth, int(kept.max()))

    def resources(self, device, depth=None):
        w = self.windows
        if depth is None:
            # It is known only when the whole pipeline is; this is a good guess.
            depth = w.least_depth + w.stride * w.row_words
        control = _CONTROL + 4 * self.node.padding * depth.bit_length()
        total = Resources(luts=control) + buffer(
            device, self.width, _ring_size(depth), buffer_style
        )
        return total + registers(device, self.width)

    def frames_in(self, device, depth):
        held = Fraction(depth, self.windows.frame_words)
        return 1 + held + Fraction(self.registers(device), self.busy)

    def build(self, device, depth):
        style = buffer_style(device, self.width, _ring_size(depth))
        return SlidingWindowUnit(self.windows, depth=depth, style=style)
