"""Geometry of sliding windows."""

from dataclasses import replace

from xnorflow.hw.streams.words import check_lanes
from xnorflow.ir.windows import axes_of


__all__ = ["Windows"]


class Windows:
    """Geometry of the windows over a map, in words of ``lanes`` channels.

    Attributes
    ----------
    axes : tuple of Axis
        Rows and columns of a window.
    rows, columns : :class:`int`
        Windows of a frame.
    words, group_words : :class:`int`
        Words of a pixel, and of the channels of a group.
    window_words : :class:`int`
        Words of a window.
    row_words, frame_words : :class:`int`
        Words of a row of pixels, and of a frame.

    Raises
    ------
    :exc:`ValueError`
        If the lanes do not divide the channels of a group.
    """

    def __init__(self, source, *, kernel, lanes, stride=1, padding=0, dilation=1, groups=1):
        check_lanes(replace(source, channels=source.channels // groups), lanes)
        self.source = source
        self.kernel = kernel
        self.axes = axes_of(kernel, stride, padding, dilation)
        self.groups = groups
        self.lanes = lanes
        sides = source.height, source.width
        self.rows, self.columns = (
            axis.count(side) for axis, side in zip(self.axes, sides, strict=True)
        )
        self.words = source.channels // lanes
        self.group_words = self.words // groups
        self.window_words = kernel[0] * kernel[1] * self.words
        self.row_words = source.width * self.words
        self.frame_words = source.height * self.row_words

    def first_row(self, r):
        """First row of the frame that windows of row ``r`` touch: the oldest that is still kept."""
        rows, _ = self.axes
        return max(0, r * rows.stride - rows.before)

    def needed(self, r, c):
        """Words of the frame, from its first on, that must have come for the window (r, c).

        Those up to where it ends, or the frame. The last window of a row waits, too, for pixels
        that nobody needs but that are released after it.
        """
        down, across = self.axes
        last_row = min(r * down.stride - down.before + down.span, self.source.height) - 1
        columns = min(c * across.stride - across.before + across.span, self.source.width)
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
