"""Random models of all layers as hardware: integers = RTL."""

import contextlib

import numpy as np
import pytest

from tests.graphs import draw, random_frames
from tests.hw.driving import run, words_of
from xnorflow.errors import DesignError
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.sim.simulate import simulate
from xnorflow.sw.golden import golden


def drawn_design(seed):
    """Design at a random rate that some layer keeps, and frames for it."""
    drawn = draw(seed)
    if drawn.network is None:
        pytest.skip(drawn.refused)
    rng = np.random.default_rng([seed, 3])
    cycles = int(rng.integers(50, 400))
    for device in ([ECP5_85F, UP5K][int(rng.integers(2))], ECP5_85F):
        for factor in (1, 4, 16, 64):
            with contextlib.suppress(DesignError):
                frames = random_frames(rng, drawn.frame, 40).numpy()
                return fold(drawn.network, device, cycles=factor * cycles), frames
    raise AssertionError


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_accelerators_equal_the_golden_model(seed):
    design, frames = drawn_design(seed)
    words = [words_of(frame, design.input_lanes) for frame in frames[:3]]
    _, results = run(design, words, stall=0.3 * (seed % 2), limit=50_000)
    expected = golden(design.network, frames[:3])
    assert [scores for *_, scores in results] == expected.scores.tolist()
    if design.labelled:
        assert [label for _, label, _ in results] == expected.labels.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2060))
def test_verilog_equals_the_golden_model(seed, tmp_path):
    design, frames = drawn_design(seed)
    generate(design, tmp_path)
    found = simulate(tmp_path, frames, stall=0.2 * (seed % 3), seed=seed, cache=tmp_path)
    expected = golden(design.network, frames)
    assert np.array_equal(found.scores, expected.scores)
    if design.labelled:
        assert np.array_equal(found.labels, expected.labels)
