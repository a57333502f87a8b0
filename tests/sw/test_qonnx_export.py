"""Integer networks as ONNX files: qonnx's executor computes the same integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.networks import joined_bits
from tests.low_bit import low_bit_network
from tests.onnx_models import executed, proportional
from tests.random_residuals import random_residual
from tests.strategies import random_network
from xnorflow.errors import NetworkError
from xnorflow.ir import (
    INPUT,
    Affine,
    Bit,
    Concat,
    FeatureMap,
    IntegerConv,
    Network,
    Rounding,
    UInt,
)
from xnorflow.sw.frontend.qonnx.exporting import export_qonnx
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden


def check(network, path, count=3):
    export_qonnx(network, path)
    kind, rng = network.input.type, np.random.default_rng(0)
    frames = rng.integers(kind.low, kind.high + 1, (count, *network.input.shape))
    frames = frames.astype(bool) if isinstance(kind, Bit) else frames.astype(np.int16)
    executed(network, path, frames)


@settings(max_examples=25)
@given(st.integers(0, 2**20))
def test_random_networks(tmp_path_factory, seed):
    check(random_network(seed), tmp_path_factory.mktemp("onnx") / "net.onnx")


@settings(max_examples=15)
@given(st.integers(0, 2**20))
def test_networks_of_few_bits(tmp_path_factory, seed):
    check(low_bit_network(seed), tmp_path_factory.mktemp("onnx") / "net.onnx")


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    "seed", [0, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (3, 5))]
)
def test_residual_networks(tmp_path, seed, dynamic):
    check(random_residual(seed, dynamic=dynamic), tmp_path / "net.onnx")


def test_joins_of_several_maps(tmp_path):
    check(joined_bits(), tmp_path / "net.onnx")


def test_scores_of_several_outputs_are_read_again(tmp_path):
    weights = np.random.default_rng(0).integers(-9, 10, (4, 1, 1, 2))
    x, path = FeatureMap(1, 1, 2, UInt(4)), tmp_path / "net.onnx"
    ones = np.ones(4, np.int64)
    nodes = (
        IntegerConv("fc", INPUT, weights),
        Affine("first", "fc", 2 * ones, 5 * ones, rounding=Rounding(0, 16)),
        Affine("second", "fc", 3 * ones, -ones, rounding=Rounding(0, 16)),
        Concat("scores", "first", "second"),
    )
    network = Network("net", x, nodes, ())
    check(network, path)
    again = import_onnx(path, input=x).network
    frames = np.random.default_rng(1).integers(0, 16, (20, *x.shape))
    first, second = (golden(each, frames).scores.numpy() for each in (network, again))
    assert proportional(first, second)


@pytest.mark.parametrize("weight", [9, -9])
@pytest.mark.parametrize("rounding", [Rounding(2, 20), Rounding(0, 9), Rounding(0, 9, narrow=True)])
def test_scores_are_rounded_and_clipped(tmp_path, rounding, weight):
    layer = IntegerConv("fc", INPUT, np.array([[[[weight]]], [[[weight + 1]]]]))
    ones = np.ones(2, np.int64)
    scores = Affine("scores", "fc", 2 * ones, 3 * ones, rounding=rounding)
    network = Network("net", FeatureMap(1, 1, 1, UInt(5)), (layer, scores), ())
    check(network, tmp_path / "net.onnx", 20)


def test_refuses_what_float32_does_not_hold(tmp_path):
    with pytest.raises(NetworkError, match=r"^(fc|scores) has values that float32 does not"):
        export_qonnx(random_residual(4), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_refuses_products_that_are_too_large_before_they_are_rounded(tmp_path):
    layer = IntegerConv("fc", INPUT, np.full((2, 1, 1, 3), 100))
    big = np.full(2, 1 << 12)
    scores = Affine("scores", "fc", big, 0 * big, rounding=Rounding(12, 20))
    network = Network("net", FeatureMap(1, 1, 3, UInt(8)), (layer, scores), ())
    with pytest.raises(NetworkError, match=r"^scores has values that float32 does not hold"):
        export_qonnx(network, tmp_path / "net.onnx")
