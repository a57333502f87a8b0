"""QONNX quantisers of activations with a scale for each channel, against qonnx's executor."""

import numpy as np
import pytest

from tests.onnx_models import Builder, proportional, round_trip, run
from xnorflow.errors import LoweringError
from xnorflow.ir import BinaryConv, IntegerConv
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def quantised(builder, op, scales, options):
    """A quantiser with scales (1, channels, 1, 1)."""
    constant = np.array(scales, float).reshape(1, -1, 1, 1)
    if op == "BipolarQuant":
        return builder.then(op, constant)
    return builder.then(op, constant, *options[:2], **options[2])


def model(op, scales, *options, groups=1):
    """Half sums in front of the quantiser, many of which are on ties, and a layer behind it."""
    b = Builder(1, 1, 6, 6)
    b.then("Sub", 100.0)
    b.then("BipolarQuant", 1.0)
    b.then("Conv", b.weights(4, 1, 3, 3), kernel_shape=[3, 3])
    act = quantised(b, op, scales, options)
    b.then("MaxPool", kernel_shape=[2, 2], strides=[1, 1])
    weights = b.weights(8, 4 // groups, 3, 3)
    b.then("Conv", weights, kernel_shape=[3, 3], group=groups, pads=[1] * 4)
    b.norm(8)
    b.then("BipolarQuant", 1.0)
    b.then("Flatten")
    b.then("MatMul", b.weights(72, 5))
    return b, act


def compare(b, act, scales, path):
    """Bits or codes of the quantiser, and scores; those of what is written and read back, too."""
    network = import_onnx(b.save(path), scale=1).network
    pixels = b.rng.integers(0, 256, (200, *network.input.shape))
    tensors = run(b.model(), np.moveaxis(pixels, -1, 1))
    found = golden(network, pixels, keep=network.maps)
    (name,) = {*network.maps} & {"quant_4", "bipolarquant_4"}
    codes = found.maps[name].numpy().astype(int)
    steps = np.moveaxis(tensors[act], 1, -1) / np.array(scales)
    steps = (steps - steps.min()) / (2 if name.startswith("bipolar") else 1)
    # Where a bit is x > t, it stands for the lower level.
    assert np.array_equal(codes, steps) or np.array_equal(1 - codes, steps)
    spread = [len(np.unique(codes[..., channel])) for channel in range(4)]
    assert max(spread) > 1
    assert proportional(found.scores.numpy(), tensors[b.x])
    round_trip(network, path.with_suffix(".again.onnx"), pixels[:50])
    return network


CODES = (0.0, 2.0, {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"})
SIGNED = (0.0, 3.0, {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"})
SHIFTED = (1.0, 2.0, {"signed": 0, "narrow": 0, "rounding_mode": "CEIL"})
ONE_BIT = (0.0, 1.0, {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"})
MULTIPLES = [0.5, 1.0, 2.0, 1.5]


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("BipolarQuant", ()),
        ("Quant", CODES),
        ("Quant", SIGNED),
        ("Quant", SHIFTED),
        ("Quant", ONE_BIT),
    ],
)
def test_multiples_of_one_number_go_into_weights(path, op, options):
    b, act = model(op, MULTIPLES, *options)
    network = compare(b, act, MULTIPLES, path)
    (layer,) = (node for node in network.nodes if node.name.startswith("conv_7"))
    assert isinstance(layer, IntegerConv)


@pytest.mark.parametrize("op", ["BipolarQuant", "Quant"])
def test_each_group_has_its_scale(path, op):
    scales = [0.375, 0.4375, 1.0, 1.625]
    b, act = model(op, scales, *CODES, groups=4)
    network = compare(b, act, scales, path)
    (layer,) = (node for node in network.nodes if node.name.startswith("conv_7"))
    assert isinstance(layer, BinaryConv)


def test_scales_may_be_scaled_further(path):
    b = Builder(1, 1, 6, 6)
    b.then("Sub", 100.0)
    b.then("BipolarQuant", 1.0)
    b.then("Conv", b.weights(4, 1, 3, 3), kernel_shape=[3, 3])
    act = quantised(b, "Quant", MULTIPLES, SIGNED)
    b.then("Mul", -0.25)
    b.then("Flatten")
    b.then("MatMul", b.weights(64, 5))
    compare(b, act, MULTIPLES, path)


@pytest.mark.parametrize(
    ("scales", "text"),
    [
        ([1.0, 2.0, 0.0, 1.0], "Quant_4 .Quant. has scales of channels that are not all above 0"),
        ([1.0, 2.0, -1.0, 1.0], "Quant_4 .Quant. has scales of channels that are not all above 0"),
        ([1.0, 1 / 3, 0.7, 1.0], "Conv_7 .Conv. adds channels of activations with different"),
    ],
)
def test_refuses_scales(path, scales, text):
    b, _ = model("Quant", scales, *CODES)
    with pytest.raises(LoweringError, match=text):
        import_onnx(b.save(path), scale=1)
