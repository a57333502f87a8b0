"""The kernels against the definitions, on nodes of all kinds and on values of all sizes."""

import os
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import networks
from tests.windows import random_pool
from xnorflow.errors import NetworkError
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    BinaryConv,
    Bit,
    Counts,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    Int,
    IntegerConv,
    MaxPool,
    Rounding,
    SumPool,
    Threshold,
    TwoSlope,
    UInt,
)
from xnorflow.sw import bit_product
from xnorflow.sw.golden import define
from xnorflow.sw.kernels import Values, kernel_of, narrow, narrow_dtype, widen


seeds = st.integers(0, 2**32 - 1)
PRODUCTS = (
    bit_product._byte_product,
    bit_product._float_product,
    bit_product._packed_product,
)


def random_values(rng, x, count=3):
    """Values all over a map's range, and many at its ends, as the definitions have them."""
    shape = (count, *x.shape)
    low, high = x.type.low, x.type.high
    values = rng.integers(low, high, shape, endpoint=True)
    ends = rng.choice([low, high, max(low, -1), 0, 1], shape)
    values = torch.tensor(np.where(rng.random(shape) < 0.5, values, ends))
    popcount = None
    if isinstance(x.type, Counts) and x.type.popcount:
        popcount = torch.tensor(rng.integers(0, high, (*shape[:3], 1), endpoint=True))
    return Values(values.to(torch.bool) if isinstance(x.type, Bit) else values, popcount)


def assert_same(found, expected):
    found = widen(found)
    assert found.map.dtype == expected.map.dtype
    assert torch.equal(found.map, expected.map)
    assert (found.popcount is None) == (expected.popcount is None)
    if expected.popcount is not None:
        assert found.popcount.dtype == expected.popcount.dtype
        assert torch.equal(found.popcount, expected.popcount)


def check(kernel, sources, maps, expected):
    """The kernel gives what is expected, and leaves its sources as they are."""
    narrowed = [narrow(values, x.type) for values, x in zip(sources, maps, strict=True)]
    for values, x in zip(narrowed, maps, strict=True):
        assert values.map.dtype == narrow_dtype(x.type)
    assert_same(kernel(*narrowed), expected)
    for values, before in zip(narrowed, sources, strict=True):
        assert_same(values, before)


@pytest.mark.parametrize("product", PRODUCTS)
@given(networks, seeds)
def test_kernels_of_networks(product, network, seed):
    rng = np.random.default_rng(seed)
    nodes = {node.name: node for node in network.nodes}

    def fastest(packable):
        return product if packable or product is not bit_product._packed_product else PRODUCTS[0]

    with (
        mock.patch.object(bit_product, "_PACKED_FROM", 1),
        mock.patch.object(bit_product, "_fastest", fastest),
    ):
        for node in network.nodes:
            maps = [network.maps[name] for name in node.sources]
            sources = [random_values(rng, x) for x in maps]
            kernel = kernel_of(node, network.maps)
            if kernel is not None:
                check(kernel, sources, maps, define(node, *sources))
            conv = nodes.get(node.source)
            if isinstance(node, Threshold | Affine) and isinstance(conv, BinaryConv):
                x = network.maps[conv.source]
                values = random_values(rng, x)
                joined = kernel_of(node, network.maps, conv)
                check(joined, [values], [x], define(node, define(conv, values)))


def random_type(rng, *, fraction=0):
    return Int(int(rng.integers(1, 33)), fraction)


def random_counts(rng):
    """Counts of any number of taps, so that sums may need 63 bits."""
    return Counts(int(rng.integers(1, 1 << rng.integers(1, 25))), bool(rng.random() < 0.5))


def random_bits(rng, most, size):
    """Integers of both signs, of up to so many bits."""
    reach = 1 << int(rng.integers(0, most))
    return rng.integers(-reach, reach, size, endpoint=True)


def random_classes(rng, x):
    if rng.random() < 0.5:
        return None, (x.channels,)
    _, classes = np.unique(rng.integers(0, 3, (x.height, x.width)), return_inverse=True)
    return classes.reshape(x.height, x.width), (int(classes.max()) + 1, x.channels)


def random_rounding(rng):
    return Rounding(int(rng.integers(0, 33)), int(rng.integers(1, 33)))


def random_node(rng, kind):
    """A node of that kind and what feeds it, over all that the contract allows."""
    x = FeatureMap(*(int(side) for side in rng.integers(1, 5, 3)), random_type(rng))
    channels = x.channels
    if kind in (Threshold, Affine) and rng.random() < 0.5:
        x = FeatureMap(x.height, x.width, channels, random_counts(rng))
    carried = isinstance(x.type, Counts) and x.type.popcount
    classes, shape = random_classes(rng, x)
    weights = random_bits(rng, 40, channels) if carried else None
    parameters = FeatureMap(1, 1, 2 * channels + 2, random_type(rng))
    first = int(rng.integers(0, 3))
    if kind is Threshold:
        fraction = int(rng.integers(0, 17))
        inverted = rng.random(channels) < 0.5 if rng.random() < 0.5 else None
        node = Threshold("node", INPUT, np.zeros(shape, int), weights, fraction, inverted, classes)
        # Somewhere in the range of what it is compared with.
        low, high = (ends.astype(object) for ends in node.bounds(x))
        share = rng.integers(0, 1 << 20, shape, endpoint=True).astype(object)
        thresholds = np.array(low + (high + 1 - low) * share // (1 << 20), np.int64)
        return Threshold("node", INPUT, thresholds, weights, fraction, inverted, classes), [x]
    if kind is Affine:
        scale, offset = random_bits(rng, 40, channels), random_bits(rng, 40, shape)
        rounding = random_rounding(rng) if rng.random() < 0.8 else None
        return Affine("node", INPUT, scale, offset, weights, classes, rounding), [x]
    slopes = random_bits(rng, 16, (2, channels))
    if kind is TwoSlope:
        return TwoSlope("node", INPUT, *slopes, random_rounding(rng)), [x]
    if kind is DynamicTwoSlope:
        rounding = random_rounding(rng)
        return DynamicTwoSlope("node", INPUT, "other", *slopes, rounding, first), [x, parameters]
    if kind is DynamicThreshold:
        scale = int(rng.integers(1, 1 << rng.integers(1, 31)))
        if rng.random() < 0.3:
            parameters, first = FeatureMap(1, 1, 1, parameters.type), 0
        return DynamicThreshold("node", INPUT, "other", first, scale), [x, parameters]
    if kind is Add:
        other = FeatureMap(*x.shape, random_type(rng))
        return Add("node", INPUT, "other", int(rng.integers(1, 33))), [x, other]
    if kind is SumPool:
        x = FeatureMap(x.height, x.width, channels, rng.choice([x.type, UInt(4), Bit()]))
        return random_pool(rng, kind, x, "node", most=4), [x]
    if kind is MaxPool and rng.random() < 0.5:
        return random_pool(rng, kind, x, "node", most=4), [x]
    if kind is MaxPool:
        x = FeatureMap(x.height + 1, x.width + 1, channels, Bit())
        size = int(rng.integers(2, min(x.height, x.width) + 1))
        inverted = rng.random(channels) < 0.5 if rng.random() < 0.5 else None
        return MaxPool("node", INPUT, size, inverted), [x]
    sides = [int(rng.integers(1, side + 1)) for side in (x.height, x.width)]
    shape = (int(rng.integers(1, 5)), *sides, channels)
    windows = {"stride": int(rng.integers(1, 4)), "padding": int(rng.integers(0, min(sides)))}
    if kind is IntegerConv:
        type_ = rng.choice([x.type, Bit(), UInt(int(rng.integers(1, 33)))])
        x = FeatureMap(x.height, x.width, channels, type_)
        return IntegerConv("node", INPUT, random_bits(rng, 16, shape), **windows), [x]
    gate, popcount = list(Gate)[rng.integers(2)], bool(rng.integers(2))
    x = FeatureMap(x.height, x.width, channels, Bit())
    return BinaryConv(
        "node", INPUT, rng.random(shape) < 0.5, gate=gate, popcount=popcount, **windows
    ), [x]


@pytest.mark.parametrize(
    "kind",
    [BinaryConv, IntegerConv, MaxPool, SumPool, Threshold, Affine, TwoSlope, DynamicThreshold,
     DynamicTwoSlope, Add],
)  # fmt: skip
@given(seeds)
def test_kernels_of_wide_values(kind, seed):
    rng = np.random.default_rng(seed)
    while True:
        # What needs too many bits is refused.
        try:
            node, maps = random_node(rng, kind)
            y = node.infer(*maps)
        except NetworkError:
            continue
        break
    sources = [random_values(rng, x) for x in maps]
    network = dict(zip(("node", *node.sources), (y, *maps), strict=True))
    check(kernel_of(node, network), sources, maps, define(node, *sources))


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_kernels_where_32_bits_end(more):
    """Both terms of a sum are needed to leave them."""
    x = FeatureMap(1, 1, 2, Counts(1 << 10, popcount=True))
    values = Values(torch.full((1, 1, 1, 2), 1 << 10), torch.full((1, 1, 1, 1), 1 << 10))
    signs = np.array([1, -1])
    scale = signs * ((1 << 20) + more)
    affine = Affine("node", INPUT, scale, 0 * signs, scale, rounding=Rounding(8, 32))
    weights = np.full(2, (1 << 21) - (1 << 16) + more)
    threshold = Threshold("node", INPUT, np.array([1, (1 << 31) + (more << 10)]), weights, 16)
    for node in (affine, threshold):
        maps = {INPUT: x, "node": node.infer(x)}
        check(kernel_of(node, maps), [values], [x], define(node, values))


@given(st.integers(1, 70), st.integers(1, 300), st.integers(1, 40), seeds)
@example(1, 1, 1, 0)
@example(64, 1024, 10, 0)
@example(0, 200, 3, 0)
def test_products_of_bits(rows, taps, filters, seed):
    rng = np.random.default_rng(seed)
    bits = torch.tensor(rng.random((rows, taps)) < rng.random())
    weights = torch.tensor(rng.integers(-1, 2, (taps, filters)), dtype=torch.int8)
    expected = (bits.to(torch.int64) @ weights.to(torch.int64)).to(torch.int32)
    for product in (bit_product._byte_product, bit_product._float_product):
        assert torch.equal(product(weights)(bits), expected)
    signs = weights | 1
    expected = (bits.to(torch.int64) @ signs.to(torch.int64)).to(torch.int32)
    with mock.patch.object(bit_product, "_WORDS_AT_ONCE", 100):
        assert torch.equal(bit_product._packed_product(signs)(bits), expected)


def test_products_of_as_many_taps_as_the_contract_allows():
    taps = (1 << 24) - 1
    bits = torch.ones(1, taps, dtype=torch.bool)
    weights = torch.ones(taps, 3, dtype=torch.int8)
    weights[0, 1] = -1
    weights[:, 2] = -1
    for product in PRODUCTS:
        assert product(weights)(bits).tolist() == [[taps, taps - 2, -taps]]


# Products whose sums are the largest, and random ones; PyTorch must have these instructions only.
PRODUCTS_ELSEWHERE = """
import torch
from xnorflow.sw import bit_product

torch.manual_seed(0)
ones = torch.ones(65, 4096, dtype=torch.bool)
for bits in (ones, ones & (torch.rand(ones.shape) < 0.5)):
    for weights in (1, -1, torch.randint(-1, 2, (4096, 33))):
        weights = torch.zeros(4096, 33, dtype=torch.int8) + torch.as_tensor(weights).to(torch.int8)
        expected = bits.to(torch.int64) @ weights.to(torch.int64)
        assert torch.equal(bit_product._byte_product(weights)(bits).to(torch.int64), expected)
print("equal")
"""


@pytest.mark.parametrize("instructions", ["SSE41", "AVX2", "AVX512_CORE"])
def test_products_on_older_processors(instructions):
    """Those that have no instructions for four products of bytes, as far as this one can tell."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    command = [sys.executable, "-c", PRODUCTS_ELSEWHERE]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.stdout == "equal\n", run.stderr
