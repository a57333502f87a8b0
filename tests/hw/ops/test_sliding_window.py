# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest

from xnorflow.hw.ops.sliding_window import SlidingWindowUnit
from xnorflow.hw.ops.windows import Windows
from xnorflow.ir import Bit, FeatureMap, UInt
from xnorflow.sim.pysim import transact


# height, width, channels, kernel, stride, padding, lanes
GEOMETRIES = [
    (5, 6, 4, (3, 3), 1, 1, 2),
    (5, 6, 4, (3, 3), 1, 0, 4),
    (6, 5, 2, (3, 3), 2, 1, 1),
    (7, 7, 2, (5, 5), 2, 2, 2),
    (5, 4, 3, (1, 1), 1, 0, 3),
    (5, 5, 2, (1, 1), 2, 0, 1),  # rows and columns that nobody needs
    (6, 7, 1, (2, 3), 3, 0, 1),
    (8, 8, 1, (7, 7), 1, 3, 1),
    (3, 3, 2, (3, 3), 1, 0, 2),  # a single window
    (4, 1, 2, (3, 1), 1, 0, 1),  # a single column
    (2, 2, 1, (3, 3), 2, 2, 1),  # the kernel exceeds the map
]


def windows_of(geometry, value=None):
    height, width, channels, kernel, stride, padding, lanes = geometry
    source = FeatureMap(height, width, channels, value or UInt(5))
    return Windows(source, kernel=kernel, stride=stride, padding=padding, lanes=lanes)


def words_of(w, frames):
    return [{"lanes": word} for word in frames.reshape(-1, w.lanes).tolist()]


def reference(w, frames):
    """Words of all windows, by their definition."""
    p, s = w.padding, w.stride
    padded = np.pad(frames, ((0, 0), (p, p), (p, p), (0, 0)))
    for frame in padded:
        for r in range(w.rows):
            for c in range(w.columns):
                window = frame[r * s : r * s + w.kernel[0], c * s : c * s + w.kernel[1]]
                yield from window.reshape(-1, w.lanes).tolist()


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("extra", [0, 1, 9])
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
