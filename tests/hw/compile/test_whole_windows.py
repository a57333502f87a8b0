"""Accelerators whose layers take more than a pixel of a window in a cycle."""

import numpy as np
import pytest

from tests.hw.driving import run, words_of
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.ops.parallel_window import ParallelWindowStage
from xnorflow.ir import (
    INPUT,
    ArgMax,
    BinaryConv,
    FeatureMap,
    IntegerConv,
    Network,
    Threshold,
    UInt,
)
from xnorflow.sw.golden import golden


FRAMES = 8


def network():
    """Convolutions of pixels and of bits; windows reach beyond each border, and leave some out."""
    rng = np.random.default_rng(3)
    nodes = [
        IntegerConv("conv1", INPUT, rng.integers(-9, 10, (4, 3, 2, 2)), padding=(1, 2, 0, 1)),
        Threshold("act1", "conv1", rng.integers(-300, 300, 4)),
        BinaryConv("conv2", "act1", rng.random((6, 3, 3, 4)) < 0.5, stride=2, dilation=(2, 1)),
        Threshold("act2", "conv2", rng.integers(16, 20, 6)),
        IntegerConv("fc", "act2", rng.integers(-9, 10, (3, 2, 3, 6))),
        ArgMax("label", "fc"),
    ]
    return Network("whole", FeatureMap(6, 7, 2, UInt(8)), tuple(nodes), tuple("abc"))


@pytest.mark.parametrize(
    ("conv1", "conv2", "lanes", "stall"),
    [
        ((4, 12), (6, 36), 2, 0.0),  # a window a cycle
        ((2, 5), (1, 36), 1, 0.0),  # spare lanes behind a window's values; narrow words are joined
        ((4, 12), (3, 7), 2, 0.0),
        ((1, 12), (2, 18), 2, 0.4),
        ((4, 2), (2, 11), 2, 0.0),  # only one of them
        ((2, 3), (2, 4), 2, 0.4),
    ],
)
def test_equals_the_golden_model(conv1, conv2, lanes, stall):
    foldings = {"conv1": Folding(*conv1), "conv2": Folding(*conv2), "fc": Folding(3, conv2[0])}
    design = plan(network(), foldings, lanes, ECP5_85F)
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, 6, 7, 2), dtype=np.uint8)

    words = [words_of(frame, lanes) for frame in frames]
    starts, results = run(design, words, stall=stall, rest=4 * design.cycles_per_frame)

    expected = golden(design.network, frames)
    assert len(np.unique(expected.scores, axis=0)) > FRAMES // 2
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        latency = times[0] - starts[0]
        assert design.latency <= latency < design.latency + design.cycles_per_frame


def test_a_layer_of_few_channels_is_faster_than_a_pixel_a_cycle():
    """One by one, the 25 pixels of 576 windows take 14,400 cycles."""
    rng = np.random.default_rng(0)
    nodes = [
        Threshold("bits", INPUT, [128]),
        BinaryConv("conv", "bits", rng.random((4, 5, 5, 1)) < 0.5),
        Threshold("act", "conv", [12] * 4),
        IntegerConv("fc", "act", rng.integers(-1, 2, (2, 24, 24, 4))),
        ArgMax("label", "fc"),
    ]
    wide = Network("wide", FeatureMap(28, 28, 1, UInt(8)), tuple(nodes), tuple("ab"))
    design = fold(wide, UP5K, cycles=5000)
    assert design.cycles_per_frame <= 5000
    assert any(isinstance(stage, ParallelWindowStage) for stage in design.stages)
