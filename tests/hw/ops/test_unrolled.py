# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.families.ice40 import ICE40
from xnorflow.hw.ops.unrolled import UnrolledUnit
from xnorflow.ir import Gate
from xnorflow.sim.pysim import transact


def words(rng, vectors, lanes):
    """A word a vector; spare lanes hold anything."""
    spare = rng.integers(0, 2, (len(vectors), lanes - vectors.shape[1]))
    return [{"lanes": word.tolist()} for word in np.hstack([vectors, spare])]


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("family", [ICE40, ECP5])
@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize(("neurons", "synapses", "lanes"), [(1, 1, 1), (5, 30, 32)])
def test_counts_every_neuron(neurons, synapses, lanes, gate, family, stall):
    rng = np.random.default_rng(neurons)
    weights = rng.integers(0, 2, (neurons, synapses)).astype(bool)
    vectors = rng.integers(0, 2, (20, synapses)).astype(bool)
    dut = UnrolledUnit(weights, gate=gate, popcount=True, lanes=lanes, family=family)

    inputs = words(rng, vectors, lanes)
    # A vector a cycle, if nothing waits.
    most = 20 + dut.latency if stall == 0 else 500
    outputs = transact(dut, inputs, 20, stall=stall, seed=synapses, max_cycles=most)

    products = weights & vectors[:, None] if gate is Gate.AND else weights == vectors[:, None]
    assert [list(out.lanes) for out in outputs] == products.sum(axis=2).tolist()
    assert [out.popcount for out in outputs] == vectors.sum(axis=1).tolist()


def test_rejects_too_few_lanes():
    with pytest.raises(ValueError, match=r"^Lanes must be at least the 8 synapses, not 4$"):
        UnrolledUnit(np.zeros((2, 8), bool), lanes=4)
