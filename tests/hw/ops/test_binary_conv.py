# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.families.gowin import GOWIN
from xnorflow.hw.families.ice40 import ICE40
from xnorflow.hw.ops.binary_conv import MatrixVectorUnit
from xnorflow.hw.ops.operands import weight_rows
from xnorflow.ir import Gate
from xnorflow.sim.pysim import transact


VECTORS = 4


def words(rng, vectors, simd):
    """Vectors as words of ``simd`` lanes; the spare lanes of a tail hold anything."""
    for vector in vectors:
        spare = rng.integers(0, 2, -len(vector) % simd)
        for word in np.concatenate([vector, spare]).reshape(-1, simd):
            yield {"lanes": word.tolist()}


def reference(weights, vector, gate):
    """The counts, by their definition."""
    if gate is Gate.XNOR:
        return [int(sum(w == u for w, u in zip(row, vector, strict=True))) for row in weights]
    return [int(sum(w and u for w, u in zip(row, vector, strict=True))) for row in weights]


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("family", [ICE40, GOWIN, ECP5])
@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize(
    ("height", "width", "pe", "simd"),
    [
        (4, 8, 2, 4),
        (4, 8, 4, 8),  # a vector a cycle: constants, and no reuse
        (4, 8, 1, 1),
        (6, 12, 6, 4),  # all neurons at once
        (6, 12, 1, 12),  # all synapses at once
        (5, 10, 2, 4),  # neither PE nor SIMD divides the matrix
        (3, 7, 2, 9),  # SIMD exceeds it
        (4, 20, 4, 11),  # groups of nine, on Gowin
        (4, 24, 3, 16),  # the same, with a product that waits
        (1, 1, 1, 1),
    ],
)
def test_counts_every_neuron(height, width, pe, simd, gate, family, stall):
    rng = np.random.default_rng(height * width + pe)
    weights = rng.integers(0, 2, (height, width)).astype(bool)
    vectors = rng.integers(0, 2, (VECTORS, width))
    dut = MatrixVectorUnit(weights, pe=pe, simd=simd, gate=gate, popcount=True, family=family)

    outputs = transact(
        dut, list(words(rng, vectors, simd)), VECTORS * dut.neuron_fold, stall=stall, seed=pe
    )

    for vector, group in zip(vectors, np.split(np.arange(len(outputs)), VECTORS), strict=True):
        counts = [lane for n in group for lane in outputs[n].lanes][:height]
        assert counts == reference(weights, vector, gate)
        assert {outputs[n].popcount for n in group} == {vector.sum()}


@pytest.mark.parametrize(("pe", "simd"), [(2, 4), (1, 8), (4, 2), (3, 3), (8, 16)])
def test_vectors_follow_without_a_gap(pe, simd):
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2, (8, 16)).astype(bool)
    vectors = rng.integers(0, 2, (10, 16))
    dut = MatrixVectorUnit(weights, pe=pe, simd=simd)

    transact(
        dut,
        list(words(rng, vectors, simd)),
        10 * dut.neuron_fold,
        max_cycles=10 * dut.synapse_fold * dut.neuron_fold + dut.latency,
    )


def test_weight_rows_put_neuron_folds_outside():
    weights = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=bool)

    rows = weight_rows(weights, pe=2, simd=2)

    # Neurons 0 and 1, synapses 0-1 and 2; then neuron 2 beside a spare one. Spare synapses hold 1.
    assert rows == [0b00_01, 0b10_10, 0b11_11, 0b11_10]


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
        MatrixVectorUnit(np.zeros((4, 8), dtype=bool), pe=pe, simd=simd)
