"""Accelerators with pools of any windows, and upsampling."""

import contextlib

import numpy as np
import pytest

from tests.hw.driving import run, words_of
from tests.pool_nets import pool_network
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.sw.golden import golden


def design_of(seed, device):
    """At some rate that its layers can keep."""
    for cycles in (60, 200, 600, 2000):
        with contextlib.suppress(DesignError):
            return fold(pool_network(seed), device, cycles=cycles + seed)
    raise AssertionError


@pytest.mark.parametrize(
    ("seed", "stall"),
    [
        *((seed, 0.3 * (seed % 2)) for seed in range(16)),
        *(
            pytest.param(seed, stall, marks=pytest.mark.slow)
            for seed in range(16, 60)
            for stall in (0.0, 0.3)
        ),
    ],
)
def test_equals_the_golden_model(seed, stall):
    design = design_of(seed, [ECP5_85F, UP5K][seed % 3 // 2])
    kind = design.network.input.type
    shape = 6, *design.network.input.shape
    frames = np.random.default_rng(seed).integers(kind.low, kind.high, shape, endpoint=True)
    words = [words_of(frame, design.input_lanes) for frame in frames]

    # Buffers may hold several small frames, each of which then takes its cycles.
    starts, results = run(design, words, stall=stall, rest=4 * design.cycles_per_frame)

    expected = golden(design.network, frames.astype(np.int16))
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        latency = times[0] - starts[0]
        assert design.latency <= latency < design.latency + design.cycles_per_frame
