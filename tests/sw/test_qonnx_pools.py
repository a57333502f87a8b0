"""Pools and upsampling of QONNX files, in and out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.onnx_models import Builder, check
from tests.pool_nets import pool_network
from tests.sw.test_qonnx_export import check as check_export
from xnorflow.errors import LoweringError
from xnorflow.ir import MaxPool, SumPool, Upsample
from xnorflow.sw.frontend.qonnx.importing import import_onnx


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def layer(b, filters, channels):
    b.then("Conv", b.weights(filters, channels, 3, 3), kernel_shape=[3, 3])


def quantised(b, bits=4.0):
    b.then("Quant", 0.125, 0.0, bits, signed=0, narrow=0, rounding_mode="ROUND")


WINDOWS = [
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [2, 0, 0, 1]},
    {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 3], "auto_pad": "VALID"},
    {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
]


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools_of_any_windows(path, op, windows):
    """Of sums, in front of a quantiser, and of codes."""
    b = Builder(1, 2, 9, 9)
    b.then("Div", 255.0)
    layer(b, 4, 2)
    b.then(op, **windows, **({"count_include_pad": 1} if op == "AveragePool" else {}))
    b.norm(4)
    quantised(b)
    b.then("MaxPool", **windows)
    b.then("MatMul", b.weights(b.flat(), 3))
    uneven = op == "AveragePool" and "ceil_mode" in windows
    imported, _ = check(b, path, trip=not uneven)
    kinds = [type(node) for node in imported.network.nodes]
    assert kinds.count(SumPool) == (op == "AveragePool")
    assert kinds.count(MaxPool) == 2 - (op == "AveragePool")


def test_uneven_averages_are_absorbed_by_thresholds(path):
    b = Builder(1, 2, 9, 9)
    b.then("Div", 255.0)
    layer(b, 4, 2)
    b.then("AveragePool", **WINDOWS[0])
    b.norm(4)
    quantised(b)
    b.then("MatMul", b.weights(b.flat(), 3))
    # Thresholds that differ from pixel to pixel are written, but cannot be read.
    check(b, path, trip=False)


RESIZE = [
    {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"coordinate_transformation_mode": "half_pixel"},
]


@pytest.mark.parametrize("modes", RESIZE)
def test_upsampling(path, modes):
    b = Builder(1, 2, 5, 5)
    b.then("Div", 255.0)
    layer(b, 4, 2)
    b.norm(4)
    quantised(b, 1.0)
    b.then("Resize", "", np.array([1.0, 1.0, 3.0, 2.0]), mode="nearest", **modes)
    b.then("MatMul", b.weights(b.flat(), 3))
    imported, _ = check(b, path)
    assert sum(isinstance(node, Upsample) for node in imported.network.nodes) == 1


@pytest.mark.parametrize(
    ("op", "inputs", "options", "message"),
    [
        ("Resize", ["", np.array([1.0, 1.0, 1.5, 2.0])], {"mode": "nearest"},
         "must repeat rows and columns by whole factors"),
        ("Resize", ["", np.array([1.0, 1.0, 2.0, 2.0])], {"mode": "linear"}, "must repeat pixels"),
        ("Resize", ["", np.array([1.0, 1.0, 2.0, 2.0])],
         {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}, "must repeat pixels"),
        ("MaxPool", [], {"kernel_shape": [6, 6]}, "takes maps of at least 6×6 pixels"),
        ("MaxPool", [], {"kernel_shape": [2, 2], "auto_pad": "SAME"}, "has the padding 'SAME'"),
    ],
)  # fmt: skip
def test_refuses(path, op, inputs, options, message):
    b = Builder(1, 2, 5, 5)
    layer(b, 4, 2)
    b.then(op, *inputs, **options)
    b.then("Flatten")
    b.save(path)
    with pytest.raises(LoweringError, match=message):
        import_onnx(path)


@settings(max_examples=15)
@given(st.integers(0, 2**20))
def test_exported_networks(tmp_path_factory, seed):
    check_export(pool_network(seed), tmp_path_factory.mktemp("onnx") / "net.onnx")
