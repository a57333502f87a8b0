# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from tests.hw.driving import run, words_of
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.halving_max_pool import HalvingMaxPool
from xnorflow.hw.ops.matrix import Folding
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    FeatureMap,
    Int,
    IntegerConv,
    Network,
    Rounding,
    UInt,
)
from xnorflow.ir import HalvingMaxPool as Node
from xnorflow.sim.pysim import transact
from xnorflow.sw.golden import golden


NODE = Node("pool", "x")


def reference(frame):
    """Pooled map, by its definition."""
    height, width, _ = frame.shape
    return np.array([
        [
            frame[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].max(axis=(0, 1))
            for c in range(0, width, 2)
        ]
        for r in range(0, height, 2)
    ])


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("shape", "lanes"),
    [
        ((4, 6, 4), 2),
        ((4, 6, 2), 2),  # words of a window follow each other directly
        ((5, 7, 3), 1),  # the last windows are narrower
        ((6, 5, 6), 3),
        ((3, 2, 1), 1),
        ((3, 1, 2), 1),
        ((1, 4, 2), 2),
        ((1, 1, 2), 1),
    ],
)
def test_pools(shape, lanes, stall):
    rng = np.random.default_rng(sum(shape))
    frames = rng.integers(-32, 32, (6, *shape))
    frames[1], frames[2] = -32, rng.integers(-32, -20, shape)
    dut = HalvingMaxPool(NODE, FeatureMap(*shape, Int(6)), lanes=lanes)
    expected = np.concatenate([reference(frame).reshape(-1, lanes) for frame in frames])

    words = [{"lanes": word} for word in frames.reshape(-1, lanes).tolist()]
    outputs = transact(dut, words, len(expected), stall=stall)

    assert [list(word.lanes) for word in outputs] == expected.tolist()


def test_takes_a_word_a_cycle():
    dut = HalvingMaxPool(NODE, FeatureMap(4, 6, 2, Int(6)), lanes=1)
    words = [{"lanes": [n % 7]} for n in range(10 * 48)]
    transact(dut, words, 10 * 12, max_cycles=len(words) + dut.latency)


@pytest.mark.parametrize("sides", [(4, 6), (5, 3)])
def test_its_schedule_is_exact(sides):
    """In a network without buffers, results come when they are said to."""
    rng = np.random.default_rng(1)
    one, shape = np.ones(2, int), (3, -(-sides[0] // 2), -(-sides[1] // 2), 2)
    nodes = (
        Affine("norm", INPUT, one, -128 * one, rounding=Rounding(0, 9)),
        Node("pool", "norm"),
        IntegerConv("fc", "pool", rng.integers(-9, 10, shape)),
        ArgMax("label", "fc"),
    )
    network = Network("pooled", FeatureMap(*sides, 2, UInt(8)), nodes, tuple("abc"))
    design = plan(network, {"fc": Folding(3, 2)}, 2, ECP5_85F)
    frames = rng.integers(0, 256, (3, *network.input.shape), np.uint8)

    starts, results = run(design, [words_of(frame, 2) for frame in frames])

    assert design.latency_is_exact
    times = [time for time, _, _ in results]
    assert times[0] - starts[0] == design.latency
    assert set(np.diff(times)) == {design.cycles_per_frame}
    assert [scores for _, _, scores in results] == golden(network, frames).scores.tolist()


def test_rejects_lanes():
    with pytest.raises(ValueError, match=r"^Lanes must divide the 4 channels, not 3$"):
        HalvingMaxPool(NODE, FeatureMap(4, 4, 4, Int(6)), lanes=3)
