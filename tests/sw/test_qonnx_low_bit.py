"""QONNX with activations of 2 to 4 bits, against qonnx's executor."""

import numpy as np
import pytest

from tests.onnx_models import QONNX, Builder, check, proportional, run
from xnorflow.errors import LoweringError
from xnorflow.frames import quantise
from xnorflow.ir import (
    BinaryConv,
    FeatureMap,
    Int,
    MaxPool,
    MultiThreshold,
    Quantisation,
    UInt,
)
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden


MODES = ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("bits", "signed", "narrow"), [(2, 1, 1), (2, 1, 0), (2, 0, 0), (4, 1, 0)])
def test_every_rounding_of_a_dense_layer(path, mode, bits, signed, narrow):
    """Every other sum is on a tie."""
    b = Builder(1, 24)
    options = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
    zero = 0.0 if signed else 1.0
    b.then("Mul", 1 / 32)
    b.then("Quant", 0.5, zero, float(bits), **options)
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (24, 16)))
    b.then("Mul", 0.125)
    b.then("Quant", 0.25, zero, float(bits), **options)
    b.then("MatMul", b.rng.integers(-1, 2, (16, 12)).astype(float))
    b.then("Quant", 0.5, zero, float(bits), **options)
    b.then("MatMul", b.rng.integers(-3, 4, (12, 5)).astype(float))
    imported, compared = check(b, path, input=FeatureMap(1, 1, 24, Int(8)))
    assert compared == 3
    counted = [node for node in imported.network.nodes if isinstance(node, BinaryConv)]
    assert [node.mask is None for node in counted] == [True, False]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("zero", [0.0, 4.0])
@pytest.mark.parametrize("form", ["old", "unsigned", "narrow"])
def test_sums_lose_their_last_bits(path, form, zero, mode):
    """Trunc, of sums that are half a step beside its integers, too."""
    b = Builder(1, 24)
    b.then("Sub", 100.5)
    b.then("BipolarQuant", 1.0)
    b.then("MatMul", b.rng.integers(-3, 4, (24, 16)).astype(float))
    # Trunc of any version takes what is between its steps.
    b.then("Mul", 0.25)
    if form == "old":
        b.then("Trunc", 0.5, zero, 5.0, 3.0, rounding_mode=mode)
    else:
        b.version = 2
        options = {"signed": int(form == "narrow"), "narrow": int(form == "narrow")}
        b.then("Trunc", 0.5, zero, 6.0, 1.0, 3.0, rounding_mode=mode, **options)
    b.then("MatMul", b.rng.integers(-1, 2, (16, 5)).astype(float))
    assert check(b, path, scale=1)[1] == 2


@pytest.mark.parametrize("weights", ["BipolarQuant", "Quant"])
def test_convolutions_with_pools_and_batch_norms(path, weights):
    b = Builder(1, 2, 10, 10)
    b.then("Div", 255.0)
    for filters, channels in ((6, 2), (8, 6)):
        kernel = b.weights(filters, channels, 3, 3, op=weights, bits=2.0)
        b.then("Conv", kernel, kernel_shape=[3, 3], pads=[1] * 4)
        b.norm(filters)
        b.then("Relu")
        b.then("Quant", 0.5, 0.0, 2.0, signed=0, narrow=0, rounding_mode="ROUND")
        b.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    b.then("Flatten")
    b.then("MatMul", b.weights(32, 5, op=weights, bits=2.0))
    imported, compared = check(b, path)
    assert compared == 4
    kinds = [type(node) for node in imported.network.nodes]
    assert kinds.count(MultiThreshold) == kinds.count(MaxPool) == 2


def test_thresholds_for_each_channel_with_a_scale_and_a_bias(path):
    """FINN's: in any order, and equal ones; what they deliver is scaled."""
    b = Builder(1, 24, domain=QONNX)
    b.then("Sub", 100.5)
    thresholds = b.rng.integers(-90, 90, (24, 3)).astype(float)
    thresholds[0] = 7.0
    b.then("MultiThreshold", thresholds, out_dtype="INT2", out_scale=1.0, out_bias=-2.0)
    b.then("MatMul", b.rng.choice([-1.0, 1.0], (24, 16)))
    rows = b.rng.normal(size=(1, 7)) * 9
    b.then("MultiThreshold", rows, out_dtype="INT4", out_scale=0.5, out_bias=-2.0)
    b.then("Mul", -0.25)
    b.then("Add", 0.5)
    b.then("MatMul", b.rng.integers(-3, 4, (16, 5)).astype(float))
    assert check(b, path, scale=1)[1] == 2


@pytest.mark.parametrize("signed", [0, 1])
def test_a_quantised_input_is_the_networks_input(path, signed):
    """As FINN's CNV has it; the host quantises to what the file says."""
    b = Builder(1, 2, 6, 6)
    b.then("Mul", 2.0)
    b.then("Sub", 1.0)
    zero = 0.0 if signed else 128.0
    options = {"signed": signed, "narrow": 0, "rounding_mode": "ROUND"}
    quantised = b.then("Quant", 2.0**-7, zero, 8.0, **options)
    b.then("Conv", b.weights(4, 2, 3, 3), kernel_shape=[3, 3])
    b.norm(4)
    b.then("Quant", 0.5, 0.0, 2.0, signed=1, narrow=1, rounding_mode="ROUND")
    b.then("Flatten")
    b.then("MatMul", b.weights(64, 5))
    imported = import_onnx(b.save(path))
    network = imported.network
    assert network.input == FeatureMap(6, 6, 2, Int(8) if signed else UInt(8))
    assert network.quantisation == Quantisation(2.0**-8, -128 if signed else 0)
    assert "which stand for" in imported.notes[0]
    # Values in 0 … 1, none of them on a tie.
    x = (b.rng.integers(0, 256, (300, 2, 6, 6)) + 0.3) / 256
    frames = np.moveaxis(quantise(x, network.input.type, network.quantisation), 1, -1)
    tensors = run(b.model(), x)
    codes = np.moveaxis(tensors[quantised], 1, -1) * 128 + zero
    assert np.array_equal(codes, frames)
    found = golden(network, frames)
    expected = tensors[b.x]
    assert (expected.argmax(1) == found.labels.numpy()).all()
    assert proportional(found.scores.numpy(), expected)


@pytest.mark.parametrize(
    ("before", "options", "text"),
    [
        (("Relu",), {}, "Relu_0 .Relu. stands between the input and its quantiser"),
        (("Mul", -1.0), {}, "Mul_0 .Mul. stands between the input and its quantiser"),
        (("Add", 0.01), {}, "the input's quantiser has no integer for 0"),
        (("Identity",), {"rounding_mode": "FLOOR"}, "quantises the input in another way than to"),
        (("Identity",), {"narrow": 1}, "has 255 levels: activations have at most 4 bits"),
    ],
)
def test_refuses_quantisers_of_the_input(path, before, options, text):
    b = Builder(1, 8)
    b.then(*before)
    b.then("Quant", 2.0**-7, 0.0, 8.0, **{"signed": 1, "narrow": 0} | options)
    b.then("MatMul", b.weights(8, 3))
    with pytest.raises(LoweringError, match=text):
        import_onnx(b.save(path))


def test_what_frames_are_cannot_be_said_where_the_file_says_it(path):
    b = Builder(1, 8)
    b.then("Quant", 2.0**-7, 0.0, 8.0, signed=1, narrow=0)
    b.then("MatMul", b.weights(8, 3))
    with pytest.raises(LoweringError, match="the model quantises its input, which decides what"):
        import_onnx(b.save(path), scale=1)
