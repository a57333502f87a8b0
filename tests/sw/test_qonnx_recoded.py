"""QONNX quantisers behind others, against qonnx's executor."""

import numpy as np
import pytest

from tests.onnx_models import Builder, proportional, run
from xnorflow.errors import LoweringError
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden


QUANT = ("Quant", 0.5, 0.0, 2.0, {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"})
BIT = ("BipolarQuant", 0.5, {})


def model(first, rows, **options):
    """Sums, a quantiser, thresholds of its levels, and scores."""
    b = Builder(1, 24)
    b.then("Sub", 100.0)
    b.then("BipolarQuant", 1.0)
    b.then("MatMul", b.weights(24, 16))
    op, *constants, attributes = first
    b.then(op, *constants, **attributes)
    b.then("MultiThreshold", np.array(rows), **{"out_dtype": "INT8"} | options)
    b.then("MatMul", b.weights(16, 5))
    return b


@pytest.mark.parametrize(
    ("first", "rows", "options"),
    [
        (QUANT, [[-0.5, 0.0, 0.5]], {}),
        (QUANT, [[-0.75, -0.25, 0.0, 0.25, 0.5]], {"out_bias": -3.0}),
        (QUANT, [[-0.5, -0.5, -0.25, 0.1, 0.1, 0.1]], {"out_scale": -0.5}),
        (BIT, [[0.5, 0.5, 0.25]], {"out_scale": 2.0, "out_bias": -1.0}),
        (BIT, [[0.0]], {"out_scale": -2.0, "out_bias": 1.0}),
    ],
)
def test_levels_of_levels(tmp_path, first, rows, options):
    b = model(first, rows, **options)
    network = import_onnx(b.save(tmp_path / "net.onnx"), scale=1).network
    pixels = b.rng.integers(0, 256, (100, *network.input.shape))
    scores = golden(network, pixels).scores.numpy()
    assert len(np.unique(scores)) > 5
    assert proportional(scores, run(b.model(), pixels.reshape(100, 24))[b.x])


@pytest.mark.parametrize(
    ("first", "rows", "text"),
    [
        (QUANT, [[-0.5, 0.0]], "quantises once more what has other levels then"),
        (BIT, [[-2.0, 2.0]], "has two levels that are equal"),
        (QUANT, [[-0.5, 0.0, 0.5]] * 15 + [[-0.5, 0.0, 9.0]], "with other thresholds for each"),
        (BIT, [[0.0]] * 15 + [[9.0]], "with other thresholds for each channel"),
    ],
)
def test_refuses_fewer_levels(tmp_path, first, rows, text):
    b = model(first, rows)
    with pytest.raises(LoweringError, match=rf"MultiThreshold_5 .MultiThreshold. .*{text}"):
        import_onnx(b.save(tmp_path / "net.onnx"), scale=1)
