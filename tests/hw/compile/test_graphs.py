"""Random models of all layers as hardware: integers = RTL."""

import numpy as np
import pytest

from tests.graphs import design_of, draw, random_frames
from tests.hw.driving import run, words_of
from xnorflow.hw.compile.emit import generate
from xnorflow.sim.simulate import simulate
from xnorflow.sw.golden import golden


def design_and_frames(seed, count, **cycles):
    """Those of a random model; none of these seeds is refused."""
    drawn = draw(seed)
    assert drawn.network is not None, drawn.refused
    frames = random_frames(np.random.default_rng(seed), drawn.frame, count)
    return design_of(drawn, seed, **cycles), frames.numpy()


@pytest.mark.parametrize("seed", range(1000, 1005))
def test_accelerators_equal_the_golden_model(seed):
    design, frames = design_and_frames(seed, 3, least=50, most=200)
    words = [words_of(frame, design.input_lanes) for frame in frames]
    _, results = run(design, words, stall=0.3 * (seed % 2), limit=50_000)
    expected = golden(design.network, frames)
    assert [scores for *_, scores in results] == expected.scores.tolist()
    if design.labelled:
        assert [label for _, label, _ in results] == expected.labels.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2060))
def test_verilog_equals_the_golden_model(seed, tmp_path):
    design, frames = design_and_frames(seed, 40, least=100, most=2000)
    generate(design, tmp_path)
    found = simulate(tmp_path, frames, stall=0.2 * (seed % 3), seed=seed, cache=tmp_path)
    expected = golden(design.network, frames)
    assert np.array_equal(found.scores, expected.scores)
    if design.labelled:
        assert np.array_equal(found.labels, expected.labels)
