"""Sliding windows: a map of pixels becomes the windows of a convolution, tap by tap."""

from dataclasses import dataclass, replace
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
from xnorflow.hw.ops.windows import Windows
from xnorflow.hw.streams.stage import Stage
from xnorflow.hw.streams.times import each, one_by_one
from xnorflow.hw.streams.words import map_layout
from xnorflow.ir import Convolution, FeatureMap
from xnorflow.ir.windows import axes_of, four


__all__ = ["SlidingWindowStage", "SlidingWindowUnit"]

_CONTROL = 150
"""Look-up tables of counters, addresses and accounts."""


def _ring_size(depth):
    """Words of the memory behind a buffer of ``depth`` words: the next power of two."""
    return 1 << max(1, ceil_log2(depth))


def _entry(numbers, index):
    """One of several constant numbers."""
    return Array(map(int, numbers))[index]


@dataclass(frozen=True)
class _Tap:
    """Place of a tap: in the kernel, and in which window of the frame."""

    kernel_row: Signal
    kernel_column: Signal
    row: Signal
    column: Signal
    last_row: Signal  # of windows
    last_column: Signal
    end_of_pixel: Value  # of the channels of a group in it
    end_of_kernel_row: Value
    end_of_group: Value
    end_of_window: Value
    end_of_row: Value


class SlidingWindowUnit(wiring.Component):
    """Repeat the pixels of a map as the windows of a convolution (FINN: SWG).

    A window's words leave in the order (row, column, channel) of the kernel, one a cycle, group by
    group of channels; taps outside the frame are 0. The first word of a window leaves as soon as
    its last pixel has come. Pixels wait in a ring buffer until the windows of their row are
    through; the next frame follows without a gap.

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
        # Words in the buffer whose row is still needed; simulations look at it.
        self.filled = Signal(range(depth + 1))
        layout = map_layout(windows.source, windows.lanes)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform):
        m = Module()

        en, step = Signal(), Signal()
        filled = self.filled
        came, read = self._buffer(m, filled)
        tap = self._tap(m, step)
        address = self._address(m, step, tap)
        self._account(m, filled, came, en, step, tap)

        # Cycle 1: the buffer is read. Cycle 2: what is outside the frame becomes 0.
        valid = Signal(2)
        output = Signal(len(read.data), reset_less=True)
        m.d.comb += [
            en.eq(~self.o.valid | self.o.ready),
            read.en.eq(en),
            read.addr.eq(address),
            self.o.valid.eq(valid[1]),
            Value.cast(self.o.payload).eq(output),
        ]
        with m.If(en):
            m.d.sync += [valid.eq(Cat(step, valid)), output.eq(read.data)]
        if any(axis.before or axis.after for axis in self.windows.axes):
            inside = Signal()
            tap_outside = self._outside(m, tap)
            with m.If(en):
                m.d.sync += inside.eq(~tap_outside)
                with m.If(~inside):
                    m.d.sync += output.eq(0)

        return m

    def _buffer(self, m, filled):
        """Ring buffer with ``filled`` words: whether one has come, and the port that reads it."""
        m.submodules.buffer = buffer = memory.Memory(
            shape=len(self.i.payload.as_value()),
            depth=_ring_size(self.depth),
            init=[],
            attrs=self.style.attributes(),
        )
        write, read = buffer.write_port(), buffer.read_port()
        put = Signal(len(write.addr))
        m.d.comb += [
            self.i.ready.eq(filled != self.depth),
            write.addr.eq(put),
            write.data.eq(Value.cast(self.i.payload)),
            write.en.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += put.eq(put + write.en)
        return write.en, read

    def _tap(self, m, step):
        """Which tap is next: a word runs fastest, then the kernel, the group, and the window."""
        w = self.windows
        _, last_word = counter(m, "word", w.group_words, step)
        kernel_column, last = counter(m, "kernel_column", w.kernel[1], step & last_word)
        end_of_kernel_row = last_word & last
        kernel_row, last = counter(m, "kernel_row", w.kernel[0], step & end_of_kernel_row)
        end_of_group = end_of_kernel_row & last
        end_of_window = end_of_group
        if w.groups > 1:
            _, last = counter(m, "group", w.groups, step & end_of_group)
            end_of_window = end_of_group & last
        column, last_column = counter(m, "column", w.columns, step & end_of_window)
        end_of_row = end_of_window & last_column
        row, last_row = counter(m, "row", w.rows, step & end_of_row)
        return _Tap(
            kernel_row, kernel_column, row, column, last_row, last_column,
            last_word, end_of_kernel_row, end_of_group, end_of_window, end_of_row,
        )  # fmt: skip

    def _address(self, m, step, tap):
        """Address of the tap, which follows from that of its window, and of its row of windows.

        Addresses are those of a ring whose size is a power of two, so that they wrap by themselves;
        those of taps outside the frame are computed like all others, and not used.
        """
        w = self.windows
        size = _ring_size(self.depth)
        down, across = w.axes
        start = -(down.before * w.row_words + across.before * w.words) % size
        address, window, first_window = (
            Signal(range(size), name=name, init=start)
            for name in ("address", "window", "first_window")
        )
        starts = [address, window]
        if w.groups > 1:
            group = Signal(range(size), init=start)
            starts.append(group)
        next_row = Signal(range(size))
        rest = (w.source.height - (w.rows - 1) * down.stride) * w.row_words
        m.d.comb += next_row.eq(first_window + Mux(tap.last_row, rest, down.stride * w.row_words))
        # From the last word of a tap to the first one of the next.
        next_tap = across.dilation * w.words - (w.group_words - 1)
        back = (w.kernel[1] - 1) * across.dilation * w.words + w.group_words - 1
        with m.If(step):
            m.d.sync += address.eq(address + 1)
            with m.If(tap.end_of_row):
                m.d.sync += [s.eq(next_row) for s in (*starts, first_window)]
            with m.Elif(tap.end_of_window):
                next_window = window + across.stride * w.words
                m.d.sync += [s.eq(next_window) for s in starts]
            if w.groups > 1:
                with m.Elif(tap.end_of_group):
                    m.d.sync += [s.eq(group + w.group_words) for s in (address, group)]
            with m.Elif(tap.end_of_kernel_row):
                m.d.sync += address.eq(address + (down.dilation * w.row_words - back))
            if next_tap != 1:
                with m.Elif(tap.end_of_pixel):
                    m.d.sync += address.eq(address + next_tap)
        return address

    def _account(self, m, filled, came, en, step, tap):
        """Make a ``step`` when its window's last pixel is there, and keep count of ``filled``."""
        w = self.windows
        kept = [w.first_row(r) * w.row_words for r in range(w.rows)]
        releases = [w.released(r) - kept[r] for r in range(w.rows)]
        # A step comes late in its cycle: it chooses among sums, instead of being added.
        with m.If(step & tap.end_of_row):
            m.d.sync += filled.eq(filled + came - _entry(releases, tap.row))
        with m.Else():
            m.d.sync += filled.eq(filled + came)

        # What each window needs beyond the one before it. In the middle of a row, the row does not
        # matter.
        needed = [w.needed(r, c) for r in range(w.rows) for c in range(w.columns)]
        more = np.diff([*needed, w.frame_words + needed[0]]).reshape(w.rows, w.columns)
        # Words that are there beyond those that the next window needs: its sign allows a step.
        least = -max(needed[0], int(more.max()))
        ahead = Signal(range(least, self.depth + 1), init=-needed[0])
        following = Signal(range(min(0, int(more.min())), 1 - least))
        m.d.comb += [
            step.eq(en & ~ahead[-1]),
            following.eq(_entry(more[0], tap.column)),
        ]
        for column, place in ((-2, tap.column == w.columns - 2), (-1, tap.last_column)):
            if w.columns + column >= 0:
                with m.If(place):
                    m.d.comb += following.eq(_entry(more[:, column], tap.row))
        with m.If(step & tap.end_of_window):
            m.d.sync += ahead.eq(ahead + came - following)
        with m.Else():
            m.d.sync += ahead.eq(ahead + came)

    def _outside(self, m, tap):
        """Whether a tap is outside the frame."""
        w = self.windows

        def outside(axis, window, tap, side):
            """Whether a tap lies outside along an axis, where it may."""
            if not axis.before and not axis.after:
                return Const(0)
            # As far as windows can reach, so that no coordinate is negative.
            reach = side + axis.before + axis.after + max(each.span for each in w.axes)
            position = Signal(range(reach))
            place = tap if axis.dilation == 1 else tap * axis.dilation
            m.d.comb += position.eq(window * axis.stride + place)
            return (position < axis.before) | (position >= side + axis.before)

        down, across = w.axes
        return outside(down, tap.row, tap.kernel_row, w.source.height) | outside(
            across, tap.column, tap.kernel_column, w.source.width
        )


@dataclass(frozen=True)
class SlidingWindowStage(Stage):
    """Repeat pixels as windows, in words of ``lanes`` channels, for neurons that take ``turns``."""

    node: Convolution
    source: FeatureMap
    lanes: int
    turns: int

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
        """Geometry of the windows.

        A lone row is taken for a column, whose pixels are given back one by one.
        """
        source, kernel = self.source, self.kernel
        axes = axes_of(kernel, self.node.stride, self.node.padding, self.node.dilation)
        if source.height == 1 and axes[0].count(1) == axes[0].taps == 1:
            source = replace(source, height=source.width, width=1)
            kernel, axes = kernel[::-1], axes[::-1]
        down, across = axes
        return Windows(
            source,
            kernel=kernel,
            stride=(down.stride, across.stride),
            padding=(down.before, down.after, across.before, across.after),
            dilation=(down.dilation, across.dilation),
            # Channels of several groups may share a word.
            groups=min(self.node.groups, self.source.channels // self.lanes),
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
        depth = self._depth(arrivals[0], device)
        return *self.passage(arrivals, device), depth

    def _complete(self, arrivals):
        """Times at which the last word that a window needs has come, window by window."""
        w = self.windows
        needed = np.array([[w.needed(r, c) for c in range(w.columns)] for r in range(w.rows)])
        return arrivals.reshape(-1, w.frame_words)[:, needed.ravel() - 1].ravel()

    def _depth(self, arrivals, device):
        """Words kept at most, from their arrival to the end of the last row needing them."""
        w = self.windows
        fold, turns = w.window_words // w.groups, self.turns
        through = self.registers(device) + 1
        start, before, last = -fold, -fold * turns, -fold * turns
        starts = []
        for complete in np.repeat(self._complete(arrivals), w.groups).tolist():
            start = max(start + fold, complete + 1)
            if turns > 1:
                # The ring behind the windows holds two. The next one is read in while the one
                # before it waits or is worked on, and its predecessor is in its last turn.
                start = max(start, before + fold * (turns - 1))
            before, last = last, max(last + fold * turns, start + through)
            starts.append(start)
        row = w.columns * w.groups  # vectors of a row of windows
        ends = np.array(starts)[row - 1 :: row] + fold - 1
        released = [w.released(r) - w.first_row(r) * w.row_words for r in range(w.rows)]
        released = np.cumsum([0, *released * (len(ends) // w.rows)])
        kept = np.arange(1, len(arrivals) + 1) - released[np.searchsorted(ends, arrivals)]
        return max(w.least_depth, int(kept.max()))

    def resources(self, device, depth=None):
        w = self.windows
        if depth is None:
            # It is known only when the whole pipeline is; this is a good guess.
            depth = w.least_depth + w.axes[0].stride * w.row_words
        control = _CONTROL + sum(four(self.node.padding)) * depth.bit_length()
        total = Resources(luts=control) + buffer(
            device, self.width, _ring_size(depth), buffer_style
        )
        return total + registers(device, self.width)

    def describe(self, depth):
        rare = {name: getattr(self.node, name) for name in ("dilation", "groups")}
        return super().describe(depth) | {name: n for name, n in rare.items() if n != 1}

    def frames_in(self, device, depth):
        held = Fraction(depth, self.windows.frame_words)
        return 1 + held + Fraction(self.registers(device), self.busy)

    def build(self, device, depth):
        style = buffer_style(device, self.width, _ring_size(depth))
        return SlidingWindowUnit(self.windows, depth=depth, style=style)
