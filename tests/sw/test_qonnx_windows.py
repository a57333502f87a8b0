"""ONNX convolutions with windows of any form, against their execution by qonnx."""

import numpy as np
import pytest

from tests.onnx_models import Builder, check
from xnorflow.ir import FeatureMap, UInt


WINDOWS = {
    "depthwise": ((6, 1, 3, 3), {"group": 6}),
    "groups": ((8, 3, 2, 2), {"group": 2, "pads": [1] * 4}),
    "dilation": ((5, 6, 3, 2), {"dilations": [2, 3]}),
    "stride by direction": ((5, 6, 3, 3), {"strides": [1, 2], "pads": [1] * 4}),
    "uneven padding": ((5, 6, 3, 4), {"pads": [2, 0, 1, 3]}),
    "even kernel": ((5, 6, 2, 4), {"strides": [2, 2]}),
    "upper": ((5, 6, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [1, 2]}),
    "lower": ((5, 6, 4, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    "valid": ((5, 6, 4, 2), {"auto_pad": "VALID"}),
    "larger than the map": ((5, 6, 9, 3), {"pads": [4, 1, 4, 1]}),
}
OPTIONS = {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"}
QUANTISERS = {"input": (), "bits": ("BipolarQuant", 1.0), "codes": ("Quant", 0.25, 1.0, 2.0)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def finish(b):
    """Bits of the last layer, and scores of them."""
    b.then("BipolarQuant", 1.0)
    size = b.flat()
    b.then("Gemm", b.weights(4, size), transB=1)


@pytest.mark.parametrize(
    ("quantiser", "weights"),
    [("input", "Quant"), ("bits", "Quant"), ("bits", "BipolarQuant"), ("codes", "BipolarQuant")],
)
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_of_a_map(path, name, quantiser, weights):
    """A tap in the padding is the number 0, which is neither level, and no code."""
    shape, attributes = WINDOWS[name]
    b = Builder(1, 6, 8, 9)
    b.then("Div", 128.0)
    b.then("Sub", 1.0)
    if QUANTISERS[quantiser]:
        b.then(*QUANTISERS[quantiser], **(OPTIONS if quantiser == "codes" else {}))
    b.then("Conv", b.weights(*shape, op=weights), kernel_shape=shape[2:], **attributes)
    finish(b)
    imported, compared = check(b, path)
    assert compared == 1 + bool(QUANTISERS[quantiser])
    layer = next(node for node in imported.network.nodes if hasattr(node, "groups"))
    assert layer.kernel == (*shape[2:], shape[1])
    assert layer.groups == attributes.get("group", 1)


@pytest.mark.parametrize("sides", [(0, 1, 2, 0), (1, 1, 1, 1)])
def test_a_pad_adds_to_the_padding_of_its_convolution(path, sides):
    top, left, bottom, right = sides
    b = Builder(1, 2, 7, 6)
    b.then("Sub", 100.0)
    b.then("BipolarQuant", 1.0)
    b.then("Pad", np.array([0, 0, top, left, 0, 0, bottom, right]), 0.0)
    b.then("Conv", b.weights(5, 2, 4, 4), pads=[1, 0, 0, 2])
    finish(b)
    imported, compared = check(b, path, scale=1)
    assert compared == 2
    layer = next(node for node in imported.network.nodes if hasattr(node, "groups"))
    assert layer.padding == (top + 1, bottom, left, right + 2)


@pytest.mark.parametrize("pad", [False, True])
def test_sequences(path, pad):
    """1-D: of 3 channels and 40 places, depthwise, with a stride, and dilated."""
    b = Builder(1, 3, 40)
    b.then("Div", 128.0)
    b.then("Sub", 1.0)
    if pad:
        b.then("Pad", np.array([0, 0, 2, 0, 0, 0]), 0.0)
    b.then("Conv", b.weights(6, 3, 5, op="Quant"), strides=[2], pads=[0, 3], kernel_shape=[5])
    b.norm(6)
    b.then("Relu")
    b.then("Quant", 0.5, 0.0, 2.0, **OPTIONS)
    parts = []
    stem = b.x
    for filters, group in ((6, 6), (4, 1)):
        b.x = stem
        b.then("Conv", b.weights(filters, 6 // group, 2), group=group, auto_pad="SAME_LOWER")
        parts.append(b.then("BipolarQuant", 1.0))
    b.x = b.call("Concat", *parts, axis=1)
    b.then("Conv", b.weights(4, 10, 3), dilations=[2])
    finish(b)
    imported, compared = check(b, path)
    assert imported.network.input == FeatureMap(1, 40, 3, UInt(8))
    assert compared == 5
