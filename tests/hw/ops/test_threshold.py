import numpy as np
import pytest

from xnorflow.hw.ops.threshold import Threshold
from xnorflow.ir import Counts, FeatureMap, Int, UInt
from xnorflow.ir import Threshold as ThresholdNode
from xnorflow.sim.pysim import transact


def words(values, lanes, rng, popcounts=None):
    """Vectors (n, length) as words; spare lanes of a tail hold anything the shape allows."""
    for n, vector in enumerate(values):
        padded = np.concatenate([vector, rng.permutation(vector)[: -len(vector) % lanes]])
        for word in np.resize(padded, (-(-len(vector) // lanes), lanes)):
            payload = {"lanes": word.tolist()}
            if popcounts is not None:
                payload["popcount"] = int(popcounts[n])
            yield payload


def bits(outputs, length, lanes):
    """Words back to vectors (n, length)."""
    flat = np.array([list(out.lanes) for out in outputs]).reshape(-1, -(-length // lanes) * lanes)
    return flat[:, :length]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("lanes", [1, 2, 3, 6])
def test_compares_counts(lanes, inverted, stall):
    rng = np.random.default_rng(lanes)
    source = FeatureMap(1, 1, 6, Counts(20))
    thresholds = np.array([0, 21, 7, 8, 9, 20])  # constant 1 and 0 first
    flip = rng.integers(0, 2, 6).astype(bool) if inverted else None
    node = ThresholdNode("act", "fc", thresholds, inverted=flip)
    values = np.concatenate([rng.integers(0, 21, (6, 6)), [thresholds.clip(0, 20)]])
    dut = Threshold(node, source, lanes=lanes)

    outputs = transact(dut, list(words(values, lanes, rng)), 7 * -(-6 // lanes), stall=stall)

    expected = (values >= thresholds) ^ (flip if inverted else False)
    assert np.array_equal(bits(outputs, 6, lanes), expected)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("lanes", [1, 4, 5])
def test_adds_the_popcount_term(lanes, stall):
    rng = np.random.default_rng(lanes)
    source = FeatureMap(1, 1, 5, Counts(20, popcount=True))
    weights = np.array([-200, -1, 0, 77, 255])
    values = rng.integers(0, 21, (20, 5))
    popcounts = rng.integers(0, 21, 20)
    left = 256 * values + weights * popcounts[:, None]
    # Thresholds that some frames meet exactly, and some miss by one.
    thresholds = left[0] + [0, 1, 0, 1, 0]
    node = ThresholdNode("act", "fc", thresholds, weights, 8, np.arange(5) % 2 == 0)
    dut = Threshold(node, source, lanes=lanes)

    inputs = list(words(values, lanes, rng, popcounts))
    outputs = transact(dut, inputs, 20 * -(-5 // lanes), stall=stall)

    assert np.array_equal(bits(outputs, 5, lanes), (left >= thresholds) ^ node.inverted)


@pytest.mark.parametrize("value_type", [UInt(3), Int(3)])
def test_every_value_and_threshold(value_type):
    signed = isinstance(value_type, Int)
    values = np.arange(-4, 4) if signed else np.arange(8)
    thresholds = np.arange(values[0], values[-1] + 2)
    source = FeatureMap(1, 1, thresholds.size, value_type)
    node = ThresholdNode("act", "fc", thresholds)
    frames = np.repeat(values[:, None], thresholds.size, axis=1)

    # All thresholds at once are logic, one after the other a memory.
    for lanes in (thresholds.size, 1):
        dut = Threshold(node, source, lanes=lanes)
        inputs = list(words(frames, lanes, np.random.default_rng(0)))
        outputs = transact(dut, inputs, len(inputs))
        assert np.array_equal(bits(outputs, thresholds.size, lanes), frames >= thresholds)


@pytest.mark.parametrize(
    ("shape", "lanes"),
    [((4, 4, 1), 5), ((2, 3, 3), 2), ((2, 2, 3), 6), ((5, 1, 3), 2), ((2, 2, 4), 1)],
)
def test_lanes_may_span_pixels(shape, lanes):
    rng = np.random.default_rng(lanes)
    source = FeatureMap(*shape, UInt(8))
    node = ThresholdNode("bits", "input", rng.integers(0, 256, shape[2]))
    values = rng.integers(0, 256, (3, *shape))
    dut = Threshold(node, source, lanes=lanes)

    inputs = list(words(values.reshape(3, -1), lanes, rng))
    outputs = transact(dut, inputs, len(inputs))

    expected = (values >= node.thresholds).reshape(3, -1)
    assert np.array_equal(bits(outputs, source.size, lanes), expected)


def test_compares_signed_values():
    node = ThresholdNode("act", "sum", np.array([-3, 0, 5]))
    dut = Threshold(node, FeatureMap(1, 1, 3, Int(5)), lanes=3)
    outputs = transact(dut, [{"lanes": [-3, -1, 5]}, {"lanes": [-4, 0, 4]}], 2)
    assert [list(out.lanes) for out in outputs] == [[1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("weights", [None, np.array([3, -3])])
def test_takes_a_word_every_cycle(weights):
    source = FeatureMap(1, 1, 2, Counts(20, popcount=weights is not None))
    dut = Threshold(ThresholdNode("act", "fc", np.array([3, 4]), weights), source, lanes=1)
    word = {"lanes": [3]} | ({} if weights is None else {"popcount": 1})
    transact(dut, [word] * 40, 40, max_cycles=40 + dut.latency)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_thresholds_of_border_classes(stall):
    rng = np.random.default_rng(0)
    source = FeatureMap(3, 4, 4, Counts(20))
    classes = np.array([[0, 1, 1, 2], [3, 4, 4, 2], [3, 4, 4, 2]])
    thresholds = rng.integers(5, 16, (5, 4))
    node = ThresholdNode("act", "conv", thresholds, inverted=np.arange(4) > 2, classes=classes)
    frames = rng.integers(0, 21, (3, 3, 4, 4))
    dut = Threshold(node, source, lanes=2)

    outputs = transact(
        dut, [{"lanes": word} for word in frames.reshape(-1, 2).tolist()], 3 * 24, stall=stall
    )

    expected = (frames >= thresholds[classes]) ^ (np.arange(4) > 2)
    assert np.array_equal(np.array([list(o.lanes) for o in outputs]), expected.reshape(-1, 2))
