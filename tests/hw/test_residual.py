"""Residual networks as hardware: forks, queues and joins, whole accelerators."""

import numpy as np
import pytest

from tests.hw.driving import run, words_of
from tests.hw.networks import residual_mlp, residual_net, two_branches
from tests.strategies import random_residual
from xnorflow.errors import DesignError
from xnorflow.hw.design import Design
from xnorflow.hw.device import ECP5_85F
from xnorflow.hw.folding import fold
from xnorflow.hw.steps import Folding, Queue
from xnorflow.sw.golden import golden


NETS = {
    "plain": (residual_net(), 324),
    "strided": (residual_net(stride=2, filters=8), 324),
}


def design_of(seed):
    """A random net at a fast rate that it can keep."""
    network = random_residual(seed)
    for cycles in 600, 1200, 2400:
        try:
            return fold(network, ECP5_85F, cycles=cycles)
        except DesignError:
            continue
    raise AssertionError


def frames_of(design, count):
    frames = np.random.default_rng(0).integers(
        0, 256, (count, *design.network.input.shape), np.uint8
    )
    return frames, [words_of(frame, design.input_lanes) for frame in frames]


def check(design, count, *, stall=0.0):
    """Results equal those of the golden model, and come at the predicted rate."""
    frames, words = frames_of(design, count)

    starts, results = run(design, words, stall=stall, limit=60_000)

    expected = golden(design.network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        assert design.latency <= times[0] - starts[0] < design.latency + design.cycles_per_frame


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("net", NETS)
def test_equals_the_golden_model(net, stall):
    network, cycles = NETS[net]
    design = fold(network, ECP5_85F, cycles=cycles)
    assert design.cycles_per_frame == cycles
    check(design, 8, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_a_fork_of_the_input_and_a_map_added_to_itself(stall):
    check(fold(two_branches(), ECP5_85F, cycles=240), 8, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("pe", [(4, 5), (1, 6), (2, 4)])
def test_dense_layers_whose_last_word_has_spare_lanes(pe, stall):
    foldings = {"fc1": Folding(pe[0], 4), "fc2": Folding(pe[1], 2 * pe[0])}
    check(Design(residual_mlp(), foldings, 2, ECP5_85F), 8, stall=stall)


@pytest.mark.parametrize(
    ("seed", "stall"),
    [
        (1, 0.0),
        (2, 0.3),
        *(
            pytest.param(seed, stall, marks=pytest.mark.slow)
            for seed in range(20, 28)
            for stall in (0.0, 0.3)
        ),
    ],
)
def test_random_nets_equal_the_golden_model(seed, stall):
    check(design_of(seed), 6, stall=stall)


def queued(design):
    return {step.name for step in design.steps if isinstance(step, Queue)}


def test_only_the_shortcut_waits():
    design = fold(NETS["plain"][0], ECP5_85F, cycles=324)
    assert queued(design) == {"sum_other_queue"}
    # A window waits for the second pixel of the second row; then there is the layer's latency.
    assert 8 * 4 < design.depths["sum_other_queue"] < 8 * 4 + 5 * 4


def test_what_reads_zeros_waits_too():
    design = fold(NETS["strided"][0], ECP5_85F, cycles=324)
    assert queued(design) == {"pad_queue", "sum_other_queue"}


def test_one_word_less_costs_throughput():
    design = design_of(2)
    depths = dict(design.depths)
    depths["block0_add_other_queue"] -= 1
    tight = Design(
        design.network, design.foldings, design.input_lanes, ECP5_85F, depths, pace=design.pace
    )
    _, words = frames_of(design, 8)

    _, results = run(tight, words, limit=60_000)

    times = [time for time, _, _ in results]
    assert np.diff(times[-4:]).max() > design.cycles_per_frame
