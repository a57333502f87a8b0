# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import *

from xnorflow.hw.ops.integer_conv import IntegerMatrixVectorUnit, weight_coding
from xnorflow.sim.pysim import transact


VECTORS = 4

VALUES = {
    "pixels": (unsigned(8), -127, 128),
    "signed": (signed(5), -8, 8),
    "bits": (unsigned(1), -100, 101),
    "signs": (unsigned(8), None, None),  # ±1
}


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize(
    ("height", "width", "pe", "simd"),
    [(4, 8, 2, 4), (4, 8, 4, 8), (4, 8, 1, 1), (6, 9, 6, 3), (5, 10, 2, 4), (3, 7, 2, 9)],
)
def test_sums_of_every_neuron(height, width, pe, simd, values, stall):
    rng = np.random.default_rng(height * width)
    shape, low, high = VALUES[values]
    if low is None:
        weights = rng.integers(0, 2, (height, width)) * 2 - 1
    else:
        weights = rng.integers(low, high, (height, width))
    span = (
        range(-(1 << shape.width - 1), 1 << shape.width - 1)
        if shape.signed
        else range(1 << shape.width)
    )
    # The extremes, too.
    vectors = rng.integers(span.start, span.stop, (VECTORS, width))
    vectors[0] = np.where(weights[0] > 0, span[-1], span[0])
    dut = IntegerMatrixVectorUnit(weights, shape, signed(20), pe=pe, simd=simd)

    words = []
    for vector in vectors:
        spare = rng.integers(span.start, span.stop, -width % simd)
        lanes = np.concatenate([vector, spare]).reshape(-1, simd)
        words += [{"lanes": lane.tolist()} for lane in lanes]
    outputs = transact(dut, words, VECTORS * dut.neuron_fold, stall=stall)

    for vector, group in zip(vectors, np.split(np.arange(len(outputs)), VECTORS), strict=True):
        sums = [lane for n in group for lane in outputs[n].lanes][:height]
        assert sums == (weights @ vector).tolist()


@pytest.mark.parametrize(("pe", "simd"), [(2, 4), (4, 8), (1, 16)])
def test_vectors_follow_without_a_gap(pe, simd):
    rng = np.random.default_rng(0)
    dut = IntegerMatrixVectorUnit(
        rng.integers(-9, 9, (8, 16)), unsigned(8), signed(20), pe=pe, simd=simd
    )
    words = [{"lanes": rng.integers(0, 256, simd).tolist()} for _ in range(10 * 16 // simd)]
    transact(
        dut,
        words,
        10 * dut.neuron_fold,
        max_cycles=10 * dut.synapse_fold * dut.neuron_fold + dut.latency,
    )


def test_signs_take_a_bit():
    bits, stored, _ = weight_coding([[1, -1]])
    assert (bits, stored.tolist()) == (1, [[1, 0]])
    assert weight_coding([[1, 0]])[0] == 2
    assert weight_coding([[127, -128]])[0] == 8
    assert weight_coding([[128, 0]])[0] == 9


@pytest.mark.parametrize(
    ("pe", "simd", "message"),
    [
        (0, 4, "PE must be from 1 to the 4 neurons, not 0"),
        (5, 4, "PE must be from 1 to the 4 neurons, not 5"),
        (1, 0, "SIMD must be at least 1, not 0"),
    ],
)
def test_rejects_impossible_foldings(pe, simd, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        IntegerMatrixVectorUnit(np.zeros((4, 8), int), 1, 8, pe=pe, simd=simd)


@pytest.mark.parametrize("weights", [[-1, 0], [0, 0], [0, 1]])
def test_weights_of_few_values_are_not_taken_for_signs(weights):
    bits, stored, _ = weight_coding(weights)
    assert bits == 2
    assert stored.tolist() == weights
