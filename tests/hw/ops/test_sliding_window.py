# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest

from xnorflow.hw.ops.sliding_window import SlidingWindowUnit
from xnorflow.hw.ops.windows import Windows
from xnorflow.ir import Bit, FeatureMap, UInt
from xnorflow.sim.pysim import transact


# height, width, channels, kernel, stride, padding, lanes; dilation, groups
GEOMETRIES = [
    (5, 6, 4, (3, 3), 1, 1, 2),
    (5, 6, 4, (3, 3), 1, 0, 4),
    (6, 5, 2, (3, 3), 2, 1, 1),
    (7, 7, 2, (5, 5), 2, 2, 2),
    (5, 4, 3, (1, 1), 1, 0, 3),
    (5, 5, 2, (1, 1), 2, 0, 1),  # rows and columns that nobody needs
    (6, 7, 1, (2, 3), 3, 0, 1),
    (5, 6, 1, (7, 7), 1, 3, 1),  # no window lies inside the map
    (3, 3, 2, (3, 3), 1, 0, 2),  # a single window
    (4, 1, 2, (3, 1), 1, 0, 1),  # a single column
    (2, 2, 1, (3, 3), 2, 2, 1),  # the kernel exceeds the map
    (5, 7, 2, (2, 4), (2, 3), (1, 0, 2, 3), 2),  # everything differs
    (4, 9, 2, (3, 2), (1, 4), (0, 2, 1, 0), 1),
    (1, 12, 2, (1, 5), 1, (0, 2), 1),  # one row
    (9, 1, 2, (4, 1), 2, (3, 0, 0, 0), 2),  # one column
    (3, 4, 1, (11, 10), 1, (4, 5, 6, 2), 1),
    (2, 6, 1, (1, 1), (5, 2), 0, 1),
    (9, 7, 2, (3, 2), 1, 0, 1, (2, 4)),
    (6, 5, 4, (3, 3), (2, 1), (2, 1, 3, 2), 2, 2),
    (1, 3, 1, (2, 2), 1, 3, 1, 4),  # no tap inside
    (5, 4, 4, (3, 3), 1, 1, 1, 1, 2),
    (5, 4, 4, (3, 2), 2, (1, 0, 1, 1), 1, 1, 4),  # depthwise
    (6, 5, 6, (2, 3), (1, 2), (1, 2), 1, (2, 1), 3),
    (4, 4, 4, (1, 1), 1, 0, 2, 1, 2),
]


def windows_of(geometry, value=None):
    height, width, channels, kernel, stride, padding, lanes, *rare = geometry
    dilation, groups = (*rare, 1, 1)[:2]
    source = FeatureMap(height, width, channels, value or UInt(5))
    return Windows(
        source, kernel=kernel, stride=stride, padding=padding, lanes=lanes,
        dilation=dilation, groups=groups,
    )  # fmt: skip


def words_of(w, frames):
    return [{"lanes": word} for word in frames.reshape(-1, w.lanes).tolist()]


def reference(w, frames):
    """Words of all windows, by their definition."""
    down, across = w.axes
    sides = (down.before, down.after), (across.before, across.after)
    for frame in np.pad(frames, ((0, 0), *sides, (0, 0))):
        for r, c in np.ndindex(w.rows, w.columns):
            rows = r * down.stride + np.arange(w.kernel[0]) * down.dilation
            columns = c * across.stride + np.arange(w.kernel[1]) * across.dilation
            for group in np.split(frame[np.ix_(rows, columns)], w.groups, axis=2):
                yield from group.reshape(-1, w.lanes).tolist()


@pytest.mark.parametrize(("extra", "stall"), [(0, 0.0), (0, 0.4), (1, 0.4), (9, 0.4)])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_windows_in_order(geometry, extra, stall):
    w = windows_of(geometry)
    frames = np.random.default_rng(extra).integers(1, 32, (3, *w.source.shape))
    dut = SlidingWindowUnit(w, depth=w.least_depth + extra)
    expected = list(reference(w, frames))

    outputs = transact(dut, words_of(w, frames), len(expected), stall=stall, seed=extra)

    assert [list(word.lanes) for word in outputs] == expected


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_frames_follow_without_a_gap(geometry):
    """With room for a whole frame more, there is a word in every cycle once the first has come."""
    w = windows_of(geometry, Bit())
    frames = np.random.default_rng(0).integers(0, 2, (4, *w.source.shape))
    outputs = 4 * w.rows * w.columns * w.window_words
    dut = SlidingWindowUnit(w, depth=2 * w.frame_words)
    # The slower side sets the pace; the other one adds what it takes to begin or to end.
    begin = w.frame_words + dut.latency
    end = w.columns * w.window_words

    cycles = max(outputs, 4 * w.frame_words) + begin + end
    transact(dut, words_of(w, frames), outputs, max_cycles=cycles)


@pytest.mark.parametrize("geometry", GEOMETRIES[:3])
def test_a_window_leaves_as_soon_as_its_last_pixel_has_come(geometry):
    w = windows_of(geometry, Bit())
    frame = np.ones((1, *w.source.shape), int)
    dut = SlidingWindowUnit(w, depth=w.frame_words)
    first = w.needed(0, 0)

    transact(dut, words_of(w, frame)[:first], 1, max_cycles=first + dut.latency)


def test_rejects_lanes_and_depth():
    with pytest.raises(ValueError, match=r"^Lanes must divide the 4 channels, not 3$"):
        windows_of((5, 6, 4, (3, 3), 1, 1, 3))
    w = windows_of(GEOMETRIES[0])
    text = f"Depth of a window buffer must be at least {w.least_depth}, not {w.least_depth - 1}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        SlidingWindowUnit(w, depth=w.least_depth - 1)
