"""ONNX models with residual sums, against their execution by qonnx."""

import numpy as np
import pytest

from tests.onnx_models import Builder, check
from xnorflow.errors import LoweringError
from xnorflow.ir import Add
from xnorflow.sw.frontend.qonnx.importing import import_onnx


BITS = ("BipolarQuant", 0.5)
CODES = ("Quant", 0.25, 1.0, 3.0)
OPTIONS = {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def quantise(b, quantiser):
    return b.then(*quantiser, **(OPTIONS if quantiser is CODES else {}))


def finish(b):
    size = b.flat()
    b.then("Gemm", b.weights(4, size), transB=1)


@pytest.mark.parametrize("last", [BITS, CODES])
@pytest.mark.parametrize("second", [None, BITS, CODES])
@pytest.mark.parametrize("first", [BITS, CODES])
def test_a_shortcut_is_added(path, first, second, last):
    """Bits or codes, to sums with zeros around them or to bits or codes of another scale."""
    b = Builder(1, 2, 7, 6)
    b.then("Div", 128.0)
    b.then("Sub", 1.0)
    b.then("Conv", b.weights(6, 2, 3, 3), kernel_shape=[3, 3])
    b.norm(6)
    shortcut = quantise(b, first)
    b.then("Conv", b.weights(6, 6, 3, 3, scale=0.125), pads=[1] * 4)
    b.then("Mul", np.where(np.arange(6) % 2, -0.5, 0.75).reshape(6, 1, 1))
    if second is not None:
        quantise(b, second)
    b.x = b.call("Add", shortcut, b.x)
    b.norm(6)
    b.then("Relu")
    b.then("Sub", 0.25)
    quantise(b, last)
    finish(b)
    # Behind an addition, border classes have no counterpart in a file that can be read.
    imported, compared = check(b, path, trip=second is not None)
    assert compared == 2 + (second is not None)
    assert sum(isinstance(node, Add) for node in imported.network.nodes) == 1


def test_sums_of_three(path):
    b = Builder(1, 12)
    b.then("Sub", 100.5)
    x = b.then("BipolarQuant", 1.0)
    parts = []
    for n in range(3):
        b.x = x
        b.then("MatMul", b.rng.choice([-1.0, 1.0], (12, 8)))
        parts.append(b.then("Mul", 1.5**n))
    b.x = b.call("Add", b.call("Add", *parts[:2]), parts[2])
    b.then("BipolarQuant", 1.0)
    b.then("MatMul", b.rng.integers(-3, 4, (8, 5)).astype(float))
    assert check(b, path, scale=1)[1] == 2


def test_scales_must_have_a_common_unit(path):
    b = Builder(1, 12)
    b.then("Sub", 100.5)
    x = b.then("BipolarQuant", 1.0)
    parts = []
    for _ in range(2):
        b.x = x
        b.then("MatMul", b.rng.choice([-1.0, 1.0], (12, 8)))
        b.norm(8)
        parts.append(b.x)
    b.x = b.call("Add", *parts)
    b.then("BipolarQuant", 1.0)
    finish(b)
    with pytest.raises(
        LoweringError, match=r"Add_6 \(Add\) adds maps whose scales have nothing in"
    ):
        import_onnx(b.save(path), scale=1)
