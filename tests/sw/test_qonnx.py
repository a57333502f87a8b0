"""ONNX models, against their execution by qonnx: every bit, label and score."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.util.cleanup import cleanup_model

import xnorflow
from tests.onnx_models import BREVITAS, QONNX, Builder, check
from xnorflow.ir import BinaryConv, FeatureMap, Int, IntegerConv, UInt
from xnorflow.sw.golden import golden


LAST = "qonnx.custom_op.channels_last"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def unit(pixels):
    return pixels / 255


def start(*shape, **keywords):
    """A model that takes pixels 0 … 255, so scaled that float32 has all digits."""
    b = Builder(1, *shape, **keywords)
    b.then("Div", 128.0)
    b.then("Sub", 1.0)
    return b


def dyadic(b, *shape):
    """Numbers that have few digits, as sums and scores have."""
    return np.round(b.rng.normal(size=shape) * 16) / 16


def dense(b, *sizes, **keywords):
    """A layer of quantised weights, as new Brevitas has it."""
    features, filters = sizes
    bias = dyadic(b, filters)
    b.then("Gemm", b.weights(filters, features, **keywords), bias, transB=1)


def conv(b, channels, filters, kernel=3, weights=None, bias=(), **keywords):
    """A convolution of quantised weights."""
    weights = weights or {}
    keywords = {"strides": [1, 1], "pads": [0] * 4, "kernel_shape": [kernel] * 2, **keywords}
    keywords |= {"group": 1, "dilations": [1, 1]}
    b.then("Conv", b.weights(filters, channels, kernel, kernel, **weights), *bias, **keywords)


# -- dialects -----------------------------------------------------------------------------------


def test_old_brevitas(path):
    """Its domain, opset 9, a flatten of five nodes, 2x − 1 in front, a norm in parts behind."""
    b = Builder(1, 1, 12, 12, opset=9, domain=BREVITAS)
    axis = b.call("Unsqueeze", b.call("Gather", b.call("Shape", "x"), np.int64(0)), axes=[0])
    b.then("Reshape", b.call("Concat", axis, np.array([-1]), axis=0))
    b.then("Mul", 2.0)
    b.then("Sub", 1.0)
    b.then("BipolarQuant", 1.0)
    for features in (144, 24):
        weights = b.call("Transpose", b.weights(24, features), perm=[1, 0])
        b.then("MatMul", weights)
        b.norm(24)
        b.then("BipolarQuant", 1.0)
    b.then("MatMul", b.call("Transpose", b.weights(10, 24), perm=[1, 0]))
    b.then("Sub", np.array([0.25]))
    b.then("Div", b.call("Pow", b.call("Add", np.array([3.9]), 0.1), 0.5))
    b.then("Mul", np.array([0.5]))
    b.then("Add", np.array([-0.125]))
    imported, compared = check(b, path, value=unit)
    assert compared == 3
    assert imported.network.input == FeatureMap(12, 12, 1, UInt(8))
    assert imported.notes == ()


def test_new_brevitas(path):
    """Gemm with transB, latent weights, a constant that unrelated nodes share, opset 20."""
    b = Builder(1, 1, 12, 12)
    shared = b.constant(np.ones(24))
    b.then("Flatten")
    b.then("Mul", 2.0)
    b.then("Sub", 1.0)
    for features in (144, 24):
        b.then("BipolarQuant", b.call("Constant", value_float=1.0))
        b.then("Dropout")
        weights = b.call("BipolarQuant", b.rng.normal(size=(24, features)), 0.1)
        b.then("Gemm", weights, shared, transB=1)
        mean, variance = b.rng.normal(size=24), b.rng.uniform(1, 2, 24)
        b.then("BatchNormalization", shared, shared, mean, variance)
    b.then("BipolarQuant", 1.0)
    b.then("Gemm", b.weights(10, 24, op="Quant", scale=0.125), transB=1)
    scores = b.then("Add", dyadic(b, 10))
    b.then("Softmax")
    imported, compared = check(b, path, value=unit, scores=scores)
    assert compared == 3
    assert imported.notes == (
        "Softmax_19 (Softmax) is left out: the order of the scores is the same without it",
    )


def test_finn(path):
    """Thresholds, integer weights, norms between Unsqueeze and Squeeze, TopK."""
    b = Builder(1, 64)
    levels = {"out_dtype": "BIPOLAR", "out_scale": 2.0, "out_bias": -1.0, "data_layout": "NC"}
    b.then("Div", 255.0)
    b.then("MultiThreshold", np.full((1, 1), 0.5), **levels)
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (64, 24)))
    b.then("Unsqueeze", np.array([2, 3]))
    b.norm(24)
    b.then("Squeeze", np.array([2, 3]))
    b.then("MultiThreshold", b.rng.normal(size=(24, 1)), **levels)
    b.then("Mul", 0.5)
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (24, 10)))
    b.then("Mul", 0.25)
    scores = b.then("Add", dyadic(b, 10))
    b.then("TopK", np.array([1]), outputs=2)
    b.x = f"{b.x}_1"
    _, compared = check(b, path, scores=scores)
    assert compared == 2


# -- convolutions -------------------------------------------------------------------------------


def convolutional(b):
    """A small CNV: 1-bit weights on integers, padding, pools, norms."""
    conv(b, 3, 8, weights={"op": "Quant", "bits": 1.0, "scale": 0.25})
    b.norm(8)
    b.then("BipolarQuant", 1.0)
    b.then("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), 0.0, mode="constant")
    rounding = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    bias = b.call("Quant", 4 * b.rng.normal(size=12), 0.25, 0.0, 8.0, **rounding)
    conv(b, 8, 12, bias=[bias])
    b.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    b.norm(12)
    b.then("Quant", 0.5, 0.0, 1.0, signed=1, narrow=1, rounding_mode="ROUND")
    conv(b, 12, 8, pads=[1, 1, 1, 1], strides=[2, 2])
    b.norm(8)
    b.then("PRelu", b.rng.uniform(0, 1, (8, 1, 1)))


def test_convolutions(path):
    b = start(3, 12, 11)
    convolutional(b)
    b.then("Clip", -0.25, 1.0)
    b.then("Add", np.linspace(-1.5, 0.5, 8).reshape(8, 1, 1))
    b.then("BipolarQuant", 2.0)
    b.then("Flatten")
    dense(b, 48, 10)
    imported, compared = check(b, path)
    assert compared == 3
    kinds = [type(node) for node in imported.network.nodes if hasattr(node, "weights")]
    assert kinds == [IntegerConv, BinaryConv, BinaryConv, BinaryConv]


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 2, 1)])
def test_a_flatten_in_another_order_of_axes(path, order):
    b = start(3, 6, 5)
    conv(b, 3, 4, kernel=2)
    b.then("BipolarQuant", 1.0)
    b.then("Transpose", perm=order)
    b.then("Reshape", np.array([-1, 80]))
    dense(b, 80, 5)
    assert check(b, path)[1] == 1


@pytest.mark.parametrize("whole", [False, True])
def test_channels_last(path, whole):
    """The layout that qonnx itself converts to, as FINN has it: up to the input, or inside."""
    b = start(3, 12, 11)
    convolutional(b)
    b.then("BipolarQuant", 1.0)
    b.then("Flatten")
    dense(b, 48, 10)
    imported, _ = check(b, path)
    wrapped = cleanup_model(ModelWrapper(b.model(batch=1)))
    converted = wrapped.transform(ConvertToChannelsLastAndClean(make_input_channels_last=whole))
    assert any(node.domain == LAST for node in converted.graph.node)
    converted.save(str(path))
    pixels = b.rng.integers(0, 256, (20, 12, 11, 3))
    scores = golden(xnorflow.load(path), pixels).scores
    assert torch.equal(scores, golden(imported.network, pixels).scores)


def test_a_global_average_of_sums(path):
    b = start(3, 8, 8)
    conv(b, 3, 8)
    b.norm(8)
    b.then("BipolarQuant", 0.5)
    conv(b, 8, 5)
    b.then("GlobalAveragePool")
    b.then("Flatten")
    check(b, path)


def test_branches_that_are_joined(path):
    b = start(3, 6, 6)
    stem = b.x
    parts = []
    for filters in (4, 6):
        b.x = stem
        conv(b, 3, filters)
        b.norm(filters)
        parts.append(b.then("BipolarQuant", 1.0))
    b.x = b.call("Concat", *parts, axis=1)
    conv(b, 10, 5, kernel=4)
    b.then("Squeeze", np.array([2, 3]))
    b.then("ArgMax", axis=1)
    assert check(b, path, scores=b.nodes[-1].input[0])[1] == 3


def test_channels_of_codes_with_scales_of_their_own(path):
    """Multiples of 0.5, which the weights behind them take along."""
    b = start(2, 6, 6)
    conv(b, 2, 4)
    b.norm(4)
    b.then("Quant", 0.5, 0.0, 2.0, signed=1, narrow=0, rounding_mode="ROUND")
    b.then("Mul", np.array([0.5, 1.5, -1.0, 2.0])[:, None, None])
    conv(b, 4, 5, kernel=4)
    assert check(b, path)[1] == 1


def test_bits_and_codes_that_are_joined(path):
    """−1 and 1, and −1 … 0.5 in steps of 0.5: codes of steps of 0.5."""
    b = start(3, 6, 6)
    stem = b.x
    parts = []
    for quantiser in (("BipolarQuant", 1.0), ("Quant", 0.5, 0.0, 2.0), ("BipolarQuant", 1.0)):
        b.x = stem
        conv(b, 3, 4)
        b.norm(4)
        keywords = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
        options = keywords if quantiser[0] == "Quant" else {}
        parts.append(b.then(*quantiser, **options))
    b.x = b.call("Concat", *parts, axis=1)
    conv(b, 12, 5, kernel=4)
    assert check(b, path)[1] == 4


# -- quantisers ---------------------------------------------------------------------------------

MODES = ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [0.5, -0.5])
def test_one_bit_without_sign_rounds_as_it_says(path, mode, scale):
    """Every other sum is on a tie; with weights of two levels, and with integers."""
    b = Builder(1, 24)
    b.then("Sub", 64.0)
    b.then("BipolarQuant", 1.0)
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (24, 16)))
    b.then("Mul", 0.125)
    b.then("Quant", scale, 0.0, 1.0, signed=0, narrow=0, rounding_mode=mode)
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (16, 12)))
    b.then("Quant", scale, 1.0, 1.0, signed=0, narrow=0, rounding_mode=mode)
    b.then("MatMul", b.rng.integers(-3, 4, (12, 5)).astype(float))
    assert check(b, path, input=FeatureMap(1, 1, 24, Int(8)))[1] == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signed", [0, 1])
def test_weights_of_any_bits_round_as_they_say(path, mode, signed):
    """Half of the weights are on a tie; the scale is one for each filter."""
    b = start(24)
    b.then("BipolarQuant", 1.0)
    for filters in (16, 5):
        features = 24 if filters == 16 else 16
        scale = 2.0 ** b.rng.integers(-3, 2, (filters, 1)) if filters == 16 else 0.25
        latent = b.rng.integers(-20, 20, (filters, features)) / 2 * scale
        rounding = {"signed": signed, "narrow": 1, "rounding_mode": mode}
        weights = b.call("Quant", latent, scale, 2.0 * (1 - signed), 3.0, **rounding)
        b.then("Gemm", weights, dyadic(b, filters), transB=1, alpha=0.5, beta=2.0)
        if filters == 16:
            b.then("BipolarQuant", 1.0)
    assert check(b, path)[1] == 2


def test_sign_and_levels_that_are_scaled(path):
    """sign(0) is +1; both levels are scaled and shifted, here to 0 and 1."""
    b = Builder(1, 25, domain=QONNX)
    b.then("Sub", 100.5)
    b.then("Sign")
    half = b.x
    b.then("Mul", 0.5)
    b.then("Add", 0.5)
    b.then("MatMul", b.rng.choice([0.0, 1.0], (25, 5)))
    one = b.then("Add", dyadic(b, 5))
    b.x = half
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (25, 5)))
    b.then("Sign")
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (5, 5)))
    assert one
    imported, compared = check(b, path, input=FeatureMap(1, 1, 25, UInt(8)))
    assert compared == 2
    assert imported.notes[0] == "Sign_1 (Sign) gives +1 for 0, where ONNX has a third level"
    b.x = one
    imported, _ = check(b, path, input=FeatureMap(1, 1, 25, UInt(8)))
    assert imported.network.nodes[1].gate.name == "AND"


# -- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "scale"), [("Div", 255.0), ("Mul", 1 / 255), ("Mul", 1 / 128)])
def test_a_scale_at_the_start_tells_that_pixels_are_integers(path, first, scale):
    b = Builder(1, 3, 4, 4)
    b.then(first, scale)
    b.then("Add", -0.5)
    conv(b, 3, 4, kernel=4, bias=[b.rng.normal(size=4)])
    b.then("Reshape", np.array([-1, 4]))
    # Biases without a common unit are rounded to where the order of the classes is kept.
    imported, _ = check(b, path, within=1e-3)
    assert imported.network.input == FeatureMap(4, 4, 3, UInt(8))


def test_what_frames_are_can_be_said(path):
    b = Builder(1, 48)
    dense(b, 48, 5)
    frame = FeatureMap(4, 4, 3, Int(6))
    assert check(b, path, input=frame)[0].network.input == frame
    pixels = check(b, path, scale=Fraction(1, 255), value=unit, within=1e-6)[0].network
    assert pixels.input == FeatureMap(1, 1, 48, UInt(8))
    assert xnorflow.load(path, scale=1).maps.keys() == pixels.maps.keys()
