"""Networks that are written as ONNX files and read back: the same labels and scores, exactly."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.low_bit import FRAME, low_bit_model
from tests.onnx_models import Builder, check, round_trip
from tests.plain import frame_of, randomise_norms, small_conv_net
from xnorflow.ir.xnf import load
from xnorflow.sw.data import values_of
from xnorflow.sw.frontend.qonnx.shifts import shifts_of
from xnorflow.sw.lower import lower
from xnorflow.sw.models.pixels import IntegerPixels


ZOO = Path(__file__).parents[2] / "zoo"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def frames(frame, count=100, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(frame.type.low, frame.type.high + 1, (count, *frame.shape)).astype(np.int16)


def train(model, spec):
    """Let batch norms see what they get."""
    model.train()(values_of(torch.randint(0, 256, (200, *frame_of(spec).shape)).float()))
    model.eval()


def thresholds_of(path):
    """Steps of each MultiThreshold of a file, and their levels."""
    found = []
    for node in onnx.load(path).graph.node:
        values = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert node.op_type != "Sub"
        if node.op_type == "MultiThreshold":
            found.append((values["out_dtype"].decode(), values.get("out_bias", 0)))
    return found


@pytest.mark.parametrize("name", ["mnist-tfc-sign", "mnist-tfc-siman", "mnist-tfc-adabin"])
def test_perceptrons(path, name):
    network = load(ZOO / f"{name}.xnf")
    images = frames(network.input, 200) * (np.random.default_rng(1).random((200, 28, 28, 1)) < 0.2)
    again = round_trip(network, path, images)
    if name != "mnist-tfc-adabin":
        assert [type(node) for node in again.nodes] == [type(node) for node in network.nodes]
    hidden = set(thresholds_of(path)[1:])
    assert hidden == {("BIPOLAR", -1.0) if name == "mnist-tfc-sign" else ("UINT1", 0)}


@pytest.mark.parametrize("method", ["sign", "adabin"])
@pytest.mark.parametrize("seed", range(3))
def test_zeros_around_bits(path, method, seed):
    """Border classes are back, although no threshold of the file depends on the pixel."""
    pixels = IntegerPixels((0.3, 0.3), (0.2, 0.2), 4) if seed else None
    spec, model = small_conv_net(method=method, pixels=pixels, hidden=[12])
    torch.manual_seed(seed)
    randomise_norms(model)
    train(model, spec)
    network = lower(model, input=frame_of(spec))
    again = round_trip(network, path, frames(network.input))
    assert thresholds_of(path)
    if method == "sign":
        assert [node.name for node in again.nodes] == [node.name for node in network.nodes]


@pytest.mark.parametrize(
    ("bits", "options"),
    [((1, 2), {}), ((1, 2), {"signed": True}), ((2, 3), {"signed": True}), ((3, 4), {})],
)
def test_zeros_around_codes(path, bits, options):
    """Of 2 to 4 bits, with weights of 1 to 3, behind pools on both sides of a batch norm."""
    model = low_bit_model(*bits, seed=1, **options)
    network = lower(model, input=FRAME)
    again = round_trip(network, path, frames(FRAME))
    assert [type(node) for node in again.nodes] == [type(node) for node in network.nodes]
    low = 1 << bits[1] - 1
    shift = Fraction(-low) if options else 0
    assert shifts_of(network)["layer_3"] == shift


@pytest.mark.parametrize("quantiser", ["BipolarQuant", "Quant"])
def test_zeros_around_an_input_that_is_shifted(path, quantiser):
    """2x − 1: zeros stand for 127.5, and the file has 2x − 255."""
    b = Builder(1, 2, 6, 7)
    b.then("Mul", np.float32(2 / 255))
    b.then("Sub", 1.0)
    b.then("Conv", b.weights(6, 2, 3, 3, op=quantiser), pads=[1, 0, 2, 1], kernel_shape=[3, 3])
    b.norm(6)
    b.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    b.then("BipolarQuant", 1.0)
    b.then("Conv", b.weights(6, 1, 2, 3), pads=[1, 1, 0, 1], group=6, strides=[1, 2])
    b.then("BipolarQuant", 1.0)
    size = b.flat()
    b.then("Gemm", b.weights(5, size), b.rng.integers(-9, 9, 5) / 8, transB=1)
    network = check(b, path)[0].network
    shifts = shifts_of(network)
    assert shifts["input"] == Fraction(-255, 2)
    assert shifts["bipolarquant_6"] == Fraction(-1, 2)
    again = round_trip(network, path, frames(network.input))
    assert [type(node) for node in again.nodes] == [type(node) for node in network.nodes]
