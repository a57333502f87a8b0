"""Accelerators of convolutions with windows of any form, and with groups."""

import contextlib
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.hw.driving import run, words_of
from tests.hw.networks import deciding_threshold
from tests.windows import random_conv
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.binary_conv import BinaryConvStage
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import (
    INPUT,
    ArgMax,
    BinaryConv,
    Bit,
    FeatureMap,
    IntegerConv,
    MultiThreshold,
    Network,
    Threshold,
    UInt,
)
from xnorflow.sw.golden import golden


FRAMES = 6


def random_net(seed):
    """Convolutions of a small map, behind each of them a threshold, and a dense layer."""
    rng = np.random.default_rng(seed)
    sides = int(rng.choice([1, 4, 6])), int(rng.choice([3, 5, 7]))
    frame = x = FeatureMap(*sides, int(rng.choice([1, 2, 4])), UInt(8))
    nodes = []

    def add(node):
        nonlocal x
        nodes.append(node)
        x = node.infer(x)

    if rng.random() < 0.5:
        add(Threshold("bits", INPUT, rng.integers(60, 200, x.channels)))
    for n in range(1, 3):
        source = nodes[-1].name if nodes else INPUT
        add(replace(random_conv(rng, x, most=4), name=f"conv{n}", source=source))
        add(deciding_threshold(rng, f"act{n}", f"conv{n}", x).clipped(x))
    add(IntegerConv("fc", "act2", rng.integers(-9, 10, (3, *x.shape))))
    add(ArgMax("label", "fc"))
    return Network(f"windows-{seed}", frame, tuple(nodes), tuple("abc"))


def design_of(seed):
    """At some rate that its layers can keep."""
    network = random_net(seed)
    for cycles in (60, 200, 600, 2000, 8000):
        with contextlib.suppress(DesignError):
            return fold(network, ECP5_85F, cycles=cycles + 17 * seed)
    raise AssertionError


def frames_of(design, count=FRAMES):
    shape = count, *design.network.input.shape
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("seed", "stall"),
    [
        pytest.param(seed, stall, marks=pytest.mark.slow if seed % 2 == bool(stall) else ())
        for seed in range(12)
        for stall in (0.0, 0.3)
    ],
)
def test_equals_the_golden_model(seed, stall):
    design = design_of(seed)
    frames = frames_of(design)

    words = [words_of(frame, design.input_lanes) for frame in frames]
    # Buffers may hold several small frames, each of which then takes its cycles.
    starts, results = run(design, words, stall=stall, rest=4 * design.cycles_per_frame)

    expected = golden(design.network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        latency = times[0] - starts[0]
        assert design.latency <= latency < design.latency + design.cycles_per_frame


def grouped_net():
    """Convolution of two groups, of four channels and six filters, behind one of six and four."""
    rng = np.random.default_rng(0)
    frame = FeatureMap(4, 5, 4, UInt(8))
    windows = {"padding": (1, 0, 1, 1), "groups": 2}
    nodes = [
        Threshold("bits", INPUT, rng.integers(60, 200, 4)),
        BinaryConv("conv1", "bits", rng.random((6, 2, 3, 2)) < 0.5, **windows),
        Threshold("act1", "conv1", rng.integers(4, 9, 6)),
        IntegerConv("conv2", "act1", rng.integers(-9, 10, (4, 3, 2, 3)), stride=2, groups=2),
        Threshold("act2", "conv2", rng.integers(-9, 9, 4)),
        IntegerConv("fc", "act2", rng.integers(-9, 10, (3, 1, 2, 4))),
        ArgMax("label", "fc"),
    ]
    return Network("grouped", frame, tuple(nodes), tuple("abc"))


def design_with(conv1, conv2, lanes):
    foldings = {"conv1": Folding(*conv1), "conv2": Folding(*conv2), "fc": Folding(1, 4)}
    return plan(grouped_net(), foldings, lanes, ECP5_85F)


@pytest.mark.parametrize(
    ("conv1", "conv2", "lanes"),
    [
        ((3, 2), (2, 3), 4),  # words are divided, and come as they are needed
        ((1, 1), (1, 3), 2),  # words are divided, and joined
        ((3, 1), (2, 1), 1),
        ((1, 2), (1, 1), 1),
    ],
)
def test_groups_have_words_of_their_own(conv1, conv2, lanes):
    design = design_with(conv1, conv2, lanes)
    frames = frames_of(design)
    _, results = run(design, [words_of(frame, lanes) for frame in frames])
    expected = golden(design.network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    times = [time for time, _, _ in results]
    assert set(np.diff(times[-3:])) == {design.cycles_per_frame}


def depthwise_net(*, bits, height):
    """A depthwise convolution of eight channels between pointwise ones, of a signal or an image."""
    rng = np.random.default_rng(bits)
    kernel, padding = ((1, 5), (0, 2)) if height == 1 else ((3, 3), 1)
    frame = FeatureMap(height, 12, 4, UInt(8))
    wide = Threshold("act1", "conv1", rng.integers(-999, 999, 8))
    if bits > 1:
        steps = np.sort(rng.integers(-20000, 20000, (3, 8)), axis=0)
        wide = MultiThreshold("act1", "conv1", steps)
    weights = rng.random((8, *kernel, 1)) < 0.5
    nodes = [
        IntegerConv("conv1", INPUT, rng.integers(-99, 99, (8, 1, 1, 4))),
        wide,
        BinaryConv("depthwise", "act1", weights, 2, padding, groups=8, bits=bits),
        Threshold(
            "act2", "depthwise", weights[0].size // 2 * (2**bits - 1) + rng.integers(0, 2, 8)
        ),
        BinaryConv("pointwise", "act2", rng.random((6, 1, 1, 8)) < 0.5),
        Threshold("act3", "pointwise", rng.integers(3, 6, 6)),
        IntegerConv("fc", "act3", rng.integers(-9, 10, (3, -(-height // 2), 6, 6))),
        ArgMax("label", "fc"),
    ]
    return Network("depthwise", frame, tuple(nodes), tuple("abc"))


@pytest.mark.parametrize(
    ("conv1", "depthwise", "pointwise", "bits", "height", "stall"),
    [
        (2, 4, (2, 4), 1, 1, 0.0),  # words are joined
        (8, 2, (3, 2), 1, 1, 0.4),  # words are divided
        (4, 8, (1, 8), 1, 4, 0.0),
        (8, 8, (6, 8), 2, 1, 0.4),
        (2, 4, (2, 4), 2, 4, 0.0),
    ],
)
def test_channels_share_words(conv1, depthwise, pointwise, bits, height, stall):
    network = depthwise_net(bits=bits, height=height)
    foldings = {
        "conv1": Folding(conv1, 4),
        "depthwise": Folding(depthwise, 1),
        "pointwise": Folding(*pointwise),
        "fc": Folding(3, pointwise[0]),
    }
    design = plan(network, foldings, 4, ECP5_85F)
    vectors = -(-height // 2) * 6 * 8 // depthwise
    taps = network.nodes[2].taps
    (stage,) = (stage for stage in design.stages if stage.name == "depthwise")
    assert stage.cycles == vectors * taps

    frames = frames_of(design)
    words = [words_of(frame, 4) for frame in frames]
    starts, results = run(design, words, stall=stall, rest=4 * design.cycles_per_frame)

    expected = golden(network, frames)
    assert len({tuple(scores) for scores in expected.scores.tolist()}) == FRAMES
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        assert times[0] - starts[0] >= design.latency


def test_a_lone_row_is_kept_pixel_by_pixel():
    foldings = {"conv1": (8, 4), "depthwise": (8, 1), "pointwise": (6, 8), "fc": (3, 6)}
    foldings = {name: Folding(*folding) for name, folding in foldings.items()}
    design = plan(depthwise_net(bits=1, height=1), foldings, 4, ECP5_85F)
    assert design.depths["depthwise_windows"] < 8 < 12


def test_as_many_channels_at_once_as_the_rate_needs():
    design = fold(depthwise_net(bits=1, height=4), ECP5_85F, cycles=120)
    assert design.foldings["depthwise"] == Folding(8, 1)
    assert design.cycles_per_frame <= 120


def test_one_word_less_costs_throughput():
    design = design_with((3, 1), (2, 3), 4)
    depths = dict(design.depths)
    depths["conv1_windows"] -= 1
    lanes = design.input_lanes
    tight = plan(design.network, design.foldings, lanes, design.device, depths=depths)
    frames = frames_of(design, 10)
    _, results = run(tight, [words_of(frame, lanes) for frame in frames])
    assert np.diff([time for time, _, _ in results][-4:]).max() > design.cycles_per_frame


@pytest.mark.parametrize(
    ("conv1", "message"),
    [
        ((2, 1), "conv1: PE must divide the 3 filters of a group, not 2"),
        ((1, 4), "conv1: SIMD must divide the 2 channels of a group, not 4"),
    ],
)
def test_rejects_foldings_across_groups(conv1, message):
    with pytest.raises(DesignError, match=f"^{re.escape(message)}$"):
        design_with(conv1, (1, 1), 4)


def test_designs_say_groups_and_dilation():
    stages = {stage.name: stage for stage in design_with((1, 1), (1, 1), 4).stages}
    assert stages["conv1"].describe(None)["groups"] == 2
    described = stages["conv1_windows"].describe(9)
    assert described["groups"] == 2
    assert described["padding"] == (1, 0, 1, 1)
    assert "dilation" not in described


def test_neurons_of_channels_of_their_own_share_no_adders():
    node = BinaryConv("depthwise", INPUT, np.ones((8, 1, 1, 1), bool), groups=8)
    stage = BinaryConvStage(node, FeatureMap(2, 2, 8, Bit()), Folding(8, 1))
    assert stage.rows == 1
    assert not stage.unrolled
