# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
import torch

from tests.hw.driving import run, words_of
from tests.windows import random_pool
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.ops.overlapping_pool import OverlappingPool, OverlappingPoolStage
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    Bit,
    FeatureMap,
    Int,
    IntegerConv,
    MaxPool,
    Network,
    Rounding,
    SumPool,
    UInt,
)
from xnorflow.sim.pysim import transact
from xnorflow.sw.golden import define, golden
from xnorflow.sw.kernels import Values


def check(node, source, lanes, *, stall=0.0, frames=5, seed=0):
    """Whether a unit delivers what the golden model says, within the cycles that its stage says."""
    rng = np.random.default_rng(seed)
    values = rng.integers(source.type.low, source.type.high, (frames, *source.shape), endpoint=True)
    values[1], values[2] = source.type.low, source.type.high
    tensor = torch.tensor(values)
    map_ = tensor.to(torch.bool) if isinstance(source.type, Bit) else tensor
    expected = define(node, Values(map_)).map.reshape(-1, lanes).to(torch.int64).tolist()
    words = [{"lanes": word} for word in values.reshape(-1, lanes).tolist()]
    busy = OverlappingPoolStage(node, source, lanes).busy
    limit = frames * busy + OverlappingPool.latency if not stall else 10_000
    dut = OverlappingPool(node, source, lanes=lanes)

    outputs = transact(dut, words, len(expected), stall=stall, max_cycles=limit)

    assert [list(word.lanes) for word in outputs] == expected


@pytest.mark.parametrize("kind", [MaxPool, SumPool])
@pytest.mark.parametrize("seed", range(25))
def test_pools_of_any_windows(seed, kind):
    rng = np.random.default_rng(seed)
    channels, type_ = int(rng.choice([1, 2, 4])), rng.choice([Bit(), UInt(2), UInt(3), Int(5, 2)])
    source = FeatureMap(*(int(side) for side in rng.integers(1, 7, 2)), channels, type_)
    node = random_pool(rng, kind, source, most=5)
    lanes = int(rng.choice([n for n in (1, 2, 4) if channels % n == 0]))
    check(node, source, lanes, stall=0.4 * (seed % 2), seed=seed)


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("shape", "lanes"),
    [
        ((4, 6, 4), 2),
        ((4, 6, 2), 2),  # words of a window follow each other directly
        ((5, 7, 3), 1),  # the last windows are narrower
        ((3, 1, 2), 1),
        ((1, 4, 2), 2),
        ((1, 1, 2), 1),
    ],
)
def test_pools_around_every_other_pixel(shape, lanes, stall):
    node = MaxPool("pool", INPUT, 3, stride=2, padding=1)
    check(node, FeatureMap(*shape, Int(6)), lanes, stall=stall)


def test_takes_a_word_a_cycle_where_nothing_is_outside():
    node = MaxPool("pool", INPUT, 3, stride=2, padding=1)
    assert OverlappingPoolStage(node, FeatureMap(4, 6, 2, Int(6)), 1).busy == 4 * 6 * 2
    assert OverlappingPoolStage(node, FeatureMap(5, 6, 2, Int(6)), 1).busy == 6 * 6 * 2


@pytest.mark.parametrize(
    ("sides", "windows"),
    [
        ((4, 6), {"size": 3, "stride": 2, "padding": 1}),
        ((5, 3), {"size": 3, "stride": 1}),
        ((4, 4), {"size": (1, 3), "stride": 1, "padding": (0, 0, 1, 1)}),
        ((5, 3), {"size": 3, "stride": 2, "padding": 1}),
        ((3, 3), {"size": 2, "stride": 1, "padding": 1}),
    ],
)
def test_its_schedule_is_exact(sides, windows):
    """Results come when they are said to, also where places are outside."""
    rng = np.random.default_rng(1)
    one, pool = np.ones(2, int), MaxPool("pool", "norm", **windows)
    shape = pool.infer(FeatureMap(*sides, 2, Int(9))).shape
    nodes = (
        Affine("norm", INPUT, one, -128 * one, rounding=Rounding(0, 9)),
        pool,
        IntegerConv("fc", "pool", rng.integers(-9, 10, (3, *shape))),
        ArgMax("label", "fc"),
    )
    network = Network("pooled", FeatureMap(*sides, 2, UInt(8)), nodes, tuple("abc"))
    design = plan(network, {"fc": Folding(3, 2)}, 2, ECP5_85F)
    frames = rng.integers(0, 256, (5, *network.input.shape), np.uint8)

    starts, results = run(design, [words_of(frame, 2) for frame in frames])

    times = [time for time, _, _ in results]
    assert times[0] - starts[0] == design.latency
    assert set(np.diff(times[1:])) == {design.cycles_per_frame}
    assert [scores for _, _, scores in results] == golden(network, frames).scores.tolist()


def test_rejects_lanes():
    node = MaxPool("pool", INPUT, 3, stride=2)
    with pytest.raises(ValueError, match=r"^Lanes must divide the 4 channels, not 3$"):
        OverlappingPool(node, FeatureMap(4, 4, 4, Int(6)), lanes=3)
