# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from tests.hw.driving import run, words_of
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.ops.upsample import Upsample, UpsampleStage
from xnorflow.ir import INPUT, Affine, ArgMax, FeatureMap, Int, IntegerConv, Network, Rounding, UInt
from xnorflow.ir import Upsample as Node
from xnorflow.sim.pysim import transact
from xnorflow.sw.golden import golden


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("shape", "factor", "lanes"),
    [
        ((3, 4, 4), 2, 2),
        ((2, 3, 2), (3, 1), 2),
        ((3, 2, 4), (1, 3), 1),
        ((2, 2, 2), (1, 2), 2),
        ((1, 1, 1), (2, 3), 1),
        ((2, 3, 2), 1, 1),
    ],
)
def test_repeats_pixels(shape, factor, lanes, stall):
    node, source = Node("up", INPUT, factor), FeatureMap(*shape, Int(5))
    frames = np.random.default_rng(0).integers(-16, 16, (4, *shape))
    rows, columns = (factor, factor) if isinstance(factor, int) else factor
    expected = frames.repeat(rows, 1).repeat(columns, 2).reshape(-1, lanes).tolist()
    dut = Upsample(node, source, lanes=lanes)
    limit = 4 * UpsampleStage(node, source, lanes).busy + dut.latency if not stall else 9999

    words = [{"lanes": word} for word in frames.reshape(-1, lanes).tolist()]
    outputs = transact(
        dut, words, len(expected), stall=stall, max_cycles=limit if not stall else 9999
    )

    assert [list(word.lanes) for word in outputs] == expected


@pytest.mark.parametrize("factor", [2, (1, 3), (3, 1)])
def test_its_schedule_is_exact(factor):
    rng = np.random.default_rng(1)
    one, up = np.ones(2, int), Node("up", "norm", factor)
    shape = up.infer(FeatureMap(2, 3, 2, Int(9))).shape
    nodes = (
        Affine("norm", INPUT, one, -128 * one, rounding=Rounding(0, 9)),
        up,
        IntegerConv("fc", "up", rng.integers(-9, 10, (3, *shape))),
        ArgMax("label", "fc"),
    )
    network = Network("upsampled", FeatureMap(2, 3, 2, UInt(8)), nodes, tuple("abc"))
    design = plan(network, {"fc": Folding(3, 2)}, 2, ECP5_85F)
    frames = rng.integers(0, 256, (5, *network.input.shape), np.uint8)

    starts, results = run(design, [words_of(frame, 2) for frame in frames])

    times = [time for time, _, _ in results]
    assert times[0] - starts[0] == design.latency
    assert set(np.diff(times[1:])) == {design.cycles_per_frame}
    assert [scores for _, _, scores in results] == golden(network, frames).scores.tolist()
