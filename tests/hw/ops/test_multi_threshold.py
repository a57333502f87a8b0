"""Several thresholds a channel: activations of few bits, and their max-pools."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.hw.ops.test_threshold import bits, words
from xnorflow.hw.ops.pooling import MaxPool
from xnorflow.hw.ops.threshold import MultiThreshold
from xnorflow.ir import INPUT, FeatureMap, Int, UInt
from xnorflow.ir import MaxPool as MaxPoolNode
from xnorflow.ir import MultiThreshold as MultiThresholdNode
from xnorflow.sim.pysim import transact
from xnorflow.sw.golden import define
from xnorflow.sw.kernels import Values


def example(steps, *, inverted, classes=None, seed=0):
    """Node of 6 channels on values of 6 bits, with equal thresholds, and with constant channels."""
    rng = np.random.default_rng([steps, seed])
    count = 1 if classes is None else classes.max() + 1
    thresholds = np.sort(rng.integers(-32, 33, (steps, count, 6)), axis=0)
    thresholds[:, :, 0], thresholds[:, :, 1] = -32, 32
    return MultiThresholdNode(
        "act",
        INPUT,
        thresholds[:, 0] if classes is None else thresholds,
        np.array([False, True] * 3) if inverted else None,
        classes,
    )


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 15])
@pytest.mark.parametrize("lanes", [1, 3, 6])
def test_counts_what_is_reached(lanes, steps, inverted, stall):
    node = example(steps, inverted=inverted)
    source = FeatureMap(1, 1, 6, Int(6))
    values = np.random.default_rng(1).integers(-32, 32, (9, 6))
    dut = MultiThreshold(node, source, lanes=lanes)
    inputs = list(words(values, lanes, np.random.default_rng(2)))

    outputs = transact(dut, inputs, len(inputs), stall=stall)

    count = (values[:, None] >= node.thresholds).sum(axis=1)
    expected = np.where(node.inverted, steps - count, count) if inverted else count
    assert np.array_equal(bits(outputs, 6, lanes), expected)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("levels", [(0, 1, 2, 4, 8), (0, 3, 4, 5, 15), (0, 7, 9)])
def test_gives_levels(levels, inverted):
    node = replace(example(len(levels) - 1, inverted=inverted), levels=levels)
    source = FeatureMap(1, 1, 6, Int(6))
    values = np.random.default_rng(1).integers(-32, 32, (30, 6))
    dut = MultiThreshold(node, source, lanes=3)
    inputs = list(words(values, 3, np.random.default_rng(2)))

    outputs = transact(dut, inputs, len(inputs), stall=0.3)

    expected = define(node, Values(torch.tensor(values)[:, None, None])).map.flatten(1)
    found = bits(outputs, 6, 3)
    assert np.array_equal(found, expected.numpy())
    assert set(levels) == set(np.unique(found))


@pytest.mark.parametrize("inverted", [False, True])
def test_thresholds_of_border_classes(inverted):
    classes = np.array([[0, 1, 0], [1, 2, 1]])
    node = example(3, inverted=inverted, classes=classes)
    source = FeatureMap(2, 3, 6, Int(6))
    frames = np.random.default_rng(3).integers(-32, 32, (3, *source.shape))
    dut = MultiThreshold(node, source, lanes=2)
    inputs = [{"lanes": word.tolist()} for word in frames.reshape(-1, 2)]

    outputs = transact(dut, inputs, len(inputs), stall=0.3)

    found = np.array([list(out.lanes) for out in outputs])
    limits = node.thresholds[:, classes]  # (steps, height, width, channels)
    count = (frames[:, None] >= limits).sum(axis=1)
    expected = np.where(node.inverted, 3 - count, count) if inverted else count
    assert np.array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("value_type", [UInt(2), Int(2), Int(4)])
def test_largest_values_of_windows(value_type, inverted, stall):
    source = FeatureMap(5, 4, 6, value_type)
    some = np.array([True, False, True, False, False, True]) if inverted else None
    node = MaxPoolNode("pool", INPUT, 2, some)
    frames = np.random.default_rng(4).integers(
        value_type.low, value_type.high + 1, (3, *source.shape)
    )
    dut = MaxPool(node, source, lanes=3)
    inputs = [{"lanes": word.tolist()} for word in frames.reshape(-1, 3)]

    outputs = transact(dut, inputs, 3 * 4 * 2, stall=stall)

    windows = frames[:, :4].reshape(3, 2, 2, 2, 2, 6)
    expected = windows.max(axis=(2, 4))
    if inverted:
        expected = np.where(some, windows.min(axis=(2, 4)), expected)
    found = np.array([list(out.lanes) for out in outputs])
    assert np.array_equal(found.reshape(expected.shape), expected)
