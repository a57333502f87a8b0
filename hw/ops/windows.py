"""Geometry of sliding windows."""

from xnorflow.hw.streams.words import check_lanes


__all__ = ["Windows"]


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
