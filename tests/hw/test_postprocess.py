import numpy as np
import pytest

from xnorflow.hw.postprocess import PostProcess
from xnorflow.network import Affine, Counts, FeatureMap
from xnorflow.sim.pysim import transact


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("scale", [[2, 2, 2], [-3, 0, 256]])
@pytest.mark.parametrize("popcount", [False, True])
def test_scales_and_shifts(scale, popcount, lanes, stall):
    rng = np.random.default_rng(lanes)
    source = FeatureMap(1, 1, 3, Counts(20, popcount))
    term = np.array([-77, 0, 130]) if popcount else None
    node = Affine("scores", "fc", np.array(scale), np.array([-9, 0, 1000]), term)
    values = np.concatenate([rng.integers(0, 21, (8, 3)), [[0, 0, 0], [20, 20, 20]]])
    popcounts = np.concatenate([rng.integers(0, 21, 8), [0, 20]])
    fold = -(-3 // lanes)
    inputs = []
    for vector, count in zip(values, popcounts, strict=True):
        for word in np.resize(np.append(vector, [5]), fold * lanes).reshape(fold, lanes):
            inputs.append({"lanes": word.tolist()} | ({"popcount": int(count)} if popcount else {}))
    dut = PostProcess(node, source, lanes=lanes, vector=3)

    outputs = transact(dut, inputs, len(inputs), stall=stall)

    got = np.array([list(out.lanes) for out in outputs]).reshape(len(values), -1)[:, :3]
    expected = node.scale * values + node.offset
    if popcount:
        expected = expected + term * popcounts[:, None]
    assert np.array_equal(got, expected)


def test_takes_a_word_every_cycle():
    node = Affine("scores", "fc", np.array([1, 2]), np.array([0, 1]))
    dut = PostProcess(node, FeatureMap(1, 1, 2, Counts(4)), lanes=1, vector=2)
    transact(dut, [{"lanes": [3]}] * 40, 40, max_cycles=40 + dut.latency)
