from dataclasses import replace

import numpy as np
import pytest

from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.affine import Affine, corrections_of
from xnorflow.hw.ops.two_slope import TwoSlope
from xnorflow.ir import Affine as AffineNode
from xnorflow.ir import Counts, FeatureMap, Int, Rounding
from xnorflow.ir import TwoSlope as TwoSlopeNode
from xnorflow.sim.pysim import transact


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("scale", [[2, 2, 2], [-3, 0, 256]])
@pytest.mark.parametrize("popcount", [False, True])
def test_scales_and_shifts(scale, popcount, lanes, stall):
    rng = np.random.default_rng(lanes)
    source = FeatureMap(1, 1, 3, Counts(20, popcount))
    term = np.array([-77, 0, 130]) if popcount else None
    node = AffineNode("scores", "fc", np.array(scale), np.array([-9, 0, 1000]), term)
    values = np.concatenate([rng.integers(0, 21, (8, 3)), [[0, 0, 0], [20, 20, 20]]])
    popcounts = np.concatenate([rng.integers(0, 21, 8), [0, 20]])
    fold = -(-3 // lanes)
    inputs = []
    for vector, count in zip(values, popcounts, strict=True):
        for word in np.resize(np.append(vector, [5]), fold * lanes).reshape(fold, lanes):
            inputs.append({"lanes": word.tolist()} | ({"popcount": int(count)} if popcount else {}))
    dut = Affine(node, source, lanes=lanes)

    outputs = transact(dut, inputs, len(inputs), stall=stall)

    got = np.array([list(out.lanes) for out in outputs]).reshape(len(values), -1)[:, :3]
    expected = node.scale * values + node.offset
    if popcount:
        expected = expected + term * popcounts[:, None]
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("popcount", [False, True])
def test_splits_products_too_wide_for_a_multiplier(popcount):
    rng = np.random.default_rng(3)
    source = FeatureMap(1, 1, 4, Counts(200, popcount))
    scale, offset = rng.integers(-9999, 9999, 4), rng.integers(-99, 99, 4)
    term = rng.integers(0, 9999, 4) if popcount else None
    node = AffineNode("scores", "fc", scale, offset, term)
    values, popcounts = rng.integers(0, 201, (20, 4)), rng.integers(0, 201, (20, 1))
    inputs = [
        {"lanes": lanes.tolist()} | ({"popcount": int(p)} if popcount else {})
        for lanes, (p,) in zip(values, popcounts, strict=True)
    ]
    dut = Affine(node, source, lanes=4, device=replace(UP5K, multiplier_bits=6))

    outputs = transact(dut, inputs, len(inputs), stall=0.3)

    expected = scale * values + offset + (term * popcounts if popcount else 0)
    assert np.array_equal([list(out.lanes) for out in outputs], expected)


def test_takes_a_word_every_cycle():
    node = AffineNode("scores", "fc", np.array([1, 2]), np.array([0, 1]))
    dut = Affine(node, FeatureMap(1, 1, 2, Counts(4)), lanes=1)
    transact(dut, [{"lanes": [3]}] * 40, 40, max_cycles=40 + dut.latency)


def rounded(values, rounding):
    """Rounded and clipped values, by their definition."""
    values = np.floor_divide(values + rounding.half, 1 << rounding.shift)
    return np.clip(values, rounding.type.low + int(rounding.narrow), rounding.type.high)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("shift", [0, 1, 6])
@pytest.mark.parametrize("popcount", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_rounds_offsets_of_border_classes(narrow, popcount, shift, lanes, stall):
    rng = np.random.default_rng(lanes + shift)
    kinds = np.array([[2, 0, 2], [3, 1, 0]])
    source = FeatureMap(2, 3, 4, Counts(40, popcount))
    node = AffineNode(
        "norm",
        "conv",
        scale=rng.integers(-8, 9, 4) << shift,
        offset=rng.integers(-(400 << shift), 400 << shift, (4, 4)),
        popcount_scale=rng.integers(-99, 99, 4) if popcount else None,
        classes=kinds,
        rounding=Rounding(shift, 8, narrow=narrow),
    )
    frames, shared = rng.integers(0, 41, (3, 2, 3, 4)), rng.integers(0, 41, (3, 2, 3, 1))
    inputs = [
        {"lanes": word.tolist()} | ({"popcount": int(p)} if popcount else {})
        for pixel, (p,) in zip(frames.reshape(-1, 4), shared.reshape(-1, 1), strict=True)
        for word in pixel.reshape(-1, lanes)
    ]
    dut = Affine(node, source, lanes=lanes)

    outputs = transact(dut, inputs, len(inputs), stall=stall)

    sums = node.scale * frames + node.offset[kinds]
    if popcount:
        sums = sums + node.popcount_scale * shared
    expected = rounded(sums, node.rounding)
    assert expected.min() == (-127 if narrow else -128)
    assert expected.max() == 127
    got = np.array([list(out.lanes) for out in outputs])
    assert np.array_equal(got.reshape(frames.shape), expected)


def test_rounding_takes_a_word_every_cycle():
    node = AffineNode("norm", "conv", np.array([3]), np.array([1]), rounding=Rounding(1, 6))
    dut = Affine(node, FeatureMap(1, 1, 1, Counts(4)), lanes=1)
    assert dut.latency == 5
    transact(dut, [{"lanes": [3]}] * 40, 40, max_cycles=40 + dut.latency)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize(
    ("positive", "negative", "shift"),
    [
        ([1, -3, 2], [0, 7, -1], 0),
        ([32, -3, 64], [0, 7, -32], 5),
        ([1, 1, 1], [0, 0, 0], 0),  # shifts
        ([32, 32, 32], [4, 4, 4], 5),
    ],
)
def test_multiplies_by_one_of_two_slopes(positive, negative, shift, lanes, stall):
    rng = np.random.default_rng(shift)
    node = TwoSlopeNode("act", "add", np.array(positive), np.array(negative), Rounding(shift, 7))
    values = np.concatenate([rng.integers(-128, 128, (20, 3)), [[0] * 3, [-128] * 3, [127] * 3]])
    spare = -3 % lanes
    padded = np.pad(values, ((0, 0), (0, spare)), constant_values=99)
    inputs = [{"lanes": word} for word in padded.reshape(-1, lanes).tolist()]
    dut = TwoSlope(node, FeatureMap(1, 1, 3, Int(8)), lanes=lanes)

    outputs = transact(dut, inputs, len(inputs), stall=stall)

    slopes = np.where(values >= 0, node.positive, node.negative)
    got = np.array([list(out.lanes) for out in outputs]).reshape(len(values), -1)[:, :3]
    assert np.array_equal(got, rounded(slopes * values, node.rounding))


def test_two_slopes_take_a_word_every_cycle():
    node = TwoSlopeNode("act", "add", np.array([1]), np.array([2]), Rounding(0, 8))
    dut = TwoSlope(node, FeatureMap(1, 1, 1, Int(4)), lanes=1)
    transact(dut, [{"lanes": [3]}] * 40, 40, max_cycles=40 + dut.latency)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("popcount", [False, True])
def test_offsets_of_padding_are_small_corrections(popcount, lanes, stall):
    rng = np.random.default_rng(lanes)
    kinds = np.array([[2, 0, 2], [3, 1, 0]])
    source = FeatureMap(2, 3, 4, Counts(40, popcount))
    scale, base = np.array([300, -700, 0, 901]), rng.integers(-20_000, 20_000, 4)
    rounding = Rounding(4, 12)
    node = AffineNode(
        "x",
        "conv",
        scale,
        base + scale * rng.integers(-9, 10, (4, 4)),
        rng.integers(-99, 99, 4) if popcount else None,
        kinds,
        rounding,
    )
    values, popcounts = rng.integers(0, 41, (3, 2, 3, 4)), rng.integers(0, 41, (3, 2, 3))
    exact = scale * values + node.offset[kinds]
    if popcount:
        exact = exact + node.popcount_scale * popcounts[..., None]
    inputs = [
        {"lanes": word.tolist()} | ({"popcount": int(count)} if popcount else {})
        for pixel, count in zip(values.reshape(-1, 4), popcounts.ravel(), strict=True)
        for word in pixel.reshape(-1, lanes)
    ]
    dut = Affine(node, source, lanes=lanes)
    assert corrections_of(node)[0].max() <= 18

    outputs = transact(
        dut,
        inputs,
        len(inputs),
        stall=stall,
        max_cycles=20_000 if stall else len(inputs) + dut.latency,
    )

    got = np.array([list(out.lanes) for out in outputs]).reshape(exact.shape)
    assert np.array_equal(got, rounded(exact, rounding))


@pytest.mark.parametrize(
    ("scale", "offsets"),
    [
        ([300, 300], [[0, 0], [300, 301]]),  # not a multiple
        ([300, 0], [[0, 0], [300, 1]]),
        ([1, 2], [[0, 0], [255, 510]]),  # no smaller
        ([300, 300], [[7, -9], [7, -9]]),  # the same for all classes
    ],
)
def test_other_offsets_are_added_as_they_are(scale, offsets):
    node = AffineNode(
        "x", "conv", np.array(scale), np.array(offsets), None, np.array([[0, 1]]), Rounding(4, 12)
    )
    assert corrections_of(node) is None
