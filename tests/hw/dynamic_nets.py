"""Designs of networks whose thresholds follow from the frame, and frames for them."""

import numpy as np

from tests.hw.driving import run, words_of
from tests.random_residuals import random_residual
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.sw.golden import golden
from xnorflow.sw.nn.grid import Grid


CYCLES = 324


def random_frames(network, count, seed=0):
    """Frames whose brightness differs, and with it their parameters."""
    shape = count, *network.input.shape
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 256, shape) * rng.random((count, 1, 1, 1))).astype(np.uint8)


def frames_of(design, count, seed=0):
    frames = random_frames(design.network, count, seed)
    return frames, [words_of(frame, design.input_lanes) for frame in frames]


def design_of(seed):
    """A random net at a fast rate that it can keep."""
    network = random_residual(seed, dynamic=True)
    for cycles in 300, 600, 1200, 2400:
        try:
            return fold(network, ECP5_85F, cycles=cycles)
        except DesignError:
            continue
    raise AssertionError


def check(design, count, *, stall=0.0):
    frames, words = frames_of(design, count)
    starts, results = run(design, words, stall=stall, limit=60_000)
    expected = golden(design.network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        assert design.latency <= times[0] - starts[0] < design.latency + design.cycles_per_frame


OPTIONS = {
    "shape": (6, 6, 3),
    "grid": Grid(12, 5),
    "first": {"channels": 4},
    "blocks": [[4, 1, 3], [8, 2, 3]],
    "method": "dybnn",
}
