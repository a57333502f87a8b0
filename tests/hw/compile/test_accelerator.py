import contextlib
import random

import numpy as np
import pytest

from tests.hw.driving import run, words_of
from tests.hw.networks import random_conv_net, random_mlp
from xnorflow.errors import DesignError
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import (
    Affine,
    ArgMax,
    BinaryConv,
    Bit,
    Counts,
    FeatureMap,
    Gate,
    Network,
    Threshold,
    UInt,
)
from xnorflow.sw.golden import golden


FRAMES = 6

# PE and SIMD of three layers, and the input's lanes: matrices of 16 × 6, 6 × 5 and 5 × 3.
FOLDINGS = [
    ((1, 1), (1, 1), (1, 1), 1),
    ((2, 4), (2, 4), (1, 4), 2),
    ((4, 6), (3, 4), (2, 3), 3),  # nothing divides anything
    ((6, 16), (5, 6), (3, 5), 16),  # a frame a cycle
    ((1, 16), (5, 1), (3, 5), 4),
]


def design_of(network, folding, device=ECP5_85F):
    *layers, lanes = folding
    foldings = {f"fc{n}": Folding(*layer) for n, layer in enumerate(layers, 1)}
    return plan(network, foldings, lanes, device)


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize(
    ("gate", "popcount"), [(Gate.XNOR, False), (Gate.XNOR, True), (Gate.AND, False)]
)
@pytest.mark.parametrize("folding", FOLDINGS)
def test_equals_the_golden_model(folding, gate, popcount, stall):
    network = random_mlp(3, gate=gate, popcount=popcount)
    design = design_of(network, folding)
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, 4, 4, 1), dtype=np.uint8)

    _, results = run(design, [words_of(frame, folding[-1]) for frame in frames], stall=stall)

    expected = golden(network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()


@pytest.mark.parametrize("device", [ECP5_85F, UP5K])
@pytest.mark.parametrize("folding", FOLDINGS)
def test_cycles_are_as_predicted(folding, device):
    design = design_of(random_mlp(3, popcount=True), folding, device)
    frames = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 1), dtype=np.uint8)

    starts, results = run(design, [words_of(frame, folding[-1]) for frame in frames])

    times = [time for time, _, _ in results]
    assert times[0] - starts[0] == design.latency
    assert set(np.diff(times[-6:])) == {design.cycles_per_frame}


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("folding", FOLDINGS[1:4])
def test_bad_frames_leave_no_trace(folding, stall):
    network = random_mlp(4)
    design = design_of(network, folding)
    frames = np.random.default_rng(1).integers(0, 256, (8, 4, 4, 1), dtype=np.uint8)
    words = [words_of(frame, folding[-1]) for frame in frames]
    words[1] = words[1] + words[1][:1]  # too long
    words[3] = words[3][:-1] or words[3] * 2  # too short, or too long where a word is a frame
    words[4] = words[4] * 3
    bad = {1, 3, 4, 6}  # 6 is marked

    _, results = run(design, words, stall=stall, errors={6})

    expected = golden(network, frames[[n for n in range(8) if n not in bad]])
    assert [scores for _, _, scores in results] == expected.scores.tolist()


def test_a_full_pipeline_loses_nothing():
    """Nobody takes results until every register and ring is full of frames."""
    network = random_mlp(3, popcount=True)
    folding = FOLDINGS[3]
    frames = np.random.default_rng(2).integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)

    words = [words_of(frame, folding[-1]) for frame in frames]
    words[5] = words[5] * 2  # its verdict must not meet another frame's result
    _, results = run(design_of(network, folding), words, hold=200)

    expected = golden(network, np.delete(frames, 5, axis=0))
    assert [scores for _, _, scores in results] == expected.scores.tolist()


def ending_in(value_type):
    """`random_mlp` that ends in counts, or in bits."""
    *nodes, fc3, _, _ = random_mlp(8).nodes
    nodes.append(fc3)
    if isinstance(value_type, Bit):
        nodes.append(Threshold("bits", "fc3", np.array([2, 3, 3])))
    label = ArgMax("label", nodes[-1].name)
    network = Network("bare", FeatureMap(4, 4, 1, UInt(8)), (*nodes, label), tuple("abc"))
    assert network.maps[network.scores].type == value_type
    return network


@pytest.mark.parametrize("value_type", [Counts(5), Bit()], ids=str)
@pytest.mark.parametrize("folding", FOLDINGS)
def test_a_network_may_end_in_counts_or_bits(folding, value_type):
    network = ending_in(value_type)
    design = design_of(network, folding)
    frames = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype=np.uint8)

    starts, results = run(design, [words_of(frame, folding[-1]) for frame in frames])

    expected = golden(network, frames)
    assert len(np.unique(expected.scores, axis=0)) > 2
    assert len(expected.labels.unique()) > 1
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    assert results[0][0] - starts[0] == design.latency
    assert estimate(design).luts > 0


def test_three_channels_on_lanes_that_never_line_up():
    rng = np.random.default_rng(4)
    nodes = (
        Threshold("bits", "input", np.array([64, 128, 192])),
        BinaryConv("fc1", "bits", rng.random((4, 5, 5, 3)) < 0.5),
        Affine("scores", "fc1", np.full(4, 2), np.zeros(4, np.int64)),
        ArgMax("label", "scores"),
    )
    network = Network("colour", FeatureMap(5, 5, 3, UInt(8)), nodes, tuple("abcd"))
    frames = rng.integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    design = fold(network, ECP5_85F, cycles=38)
    assert design.input_lanes == 2

    _, results = run(design, [words_of(frame, 2) for frame in frames])

    assert [scores for _, _, scores in results] == golden(network, frames).scores.tolist()


def design_of_convolutions(seed, device=ECP5_85F):
    """A random net at a random rate, or the next one that its layers can keep."""
    network = random_conv_net(seed)
    for cycles in random.Random(seed).randrange(100, 600), 800, 1600, 3200:
        with contextlib.suppress(DesignError):
            return fold(network, device, cycles=cycles)
    raise AssertionError


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(12))
def test_convolutions_equal_the_golden_model(seed, stall):
    """And take as many cycles as predicted, where nobody stalls."""
    design = design_of_convolutions(seed)
    shape = 4 if stall else 8, *design.network.input.shape
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    words = [words_of(frame, design.input_lanes) for frame in frames]
    starts, results = run(design, words, stall=stall)

    expected = golden(design.network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-4:])) == {design.cycles_per_frame}
        # Full buffers may hold a frame up, but by no more than it takes to empty them.
        latency = times[0] - starts[0]
        assert design.latency <= latency < design.latency + design.cycles_per_frame


@pytest.mark.parametrize(("seed", "buffer"), [(15, "conv1_windows"), (16, "conv1_windows")])
def test_one_word_less_costs_throughput(seed, buffer):
    design = design_of_convolutions(seed)
    depths = dict(design.depths) | {buffer: design.depths[buffer] - 1}
    tight = plan(design.network, design.foldings, design.input_lanes, design.device, depths=depths)
    shape = design.network.input.shape
    frames = np.random.default_rng(0).integers(0, 256, (8, *shape), dtype=np.uint8)

    _, results = run(tight, [words_of(frame, design.input_lanes) for frame in frames])

    times = [time for time, _, _ in results]
    assert np.diff(times[-4:]).max() > design.cycles_per_frame
