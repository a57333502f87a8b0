import numpy as np
import pytest

from tests.hw.driving import run, words_of
from xnorflow.hw.arithmetic.layer_adders import layer_luts
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.ops.unrolled import UnrolledUnit, unrolled_sums
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    Concat,
    FeatureMap,
    Gate,
    Network,
    Threshold,
    UInt,
)
from xnorflow.sw.golden import golden


def unrolled_net(gate, *, side=1, filters=12):
    """Layers of 1×1 kernels, and a dense one behind them."""
    rng = np.random.default_rng(filters)
    channels = 16

    def layer(name, source, filters, shape):
        return BinaryConv(name, source, rng.random((filters, *shape)) < 0.5, gate=gate)

    def compare(name, source, neurons, synapses):
        middle = synapses // (2 if gate is Gate.XNOR else 4)
        limits = middle + rng.integers(-1, 2, neurons)
        limits[:2] = 0, synapses + 1
        return Threshold(name, source, limits, inverted=rng.random(neurons) < 0.5)

    nodes = (
        Threshold("bits", INPUT, rng.integers(100, 156, channels)),
        layer("conv1", "bits", filters, (1, 1, channels)),
        compare("act1", "conv1", filters, channels),
        layer("conv2", "act1", filters, (1, 1, filters)),
        compare("act2", "conv2", filters, filters),
        layer("fc", "act2", 3, (side, side, filters)),
        Affine("scores", "fc", np.full(3, 2), rng.integers(-3, 4, 3)),
        ArgMax("label", "scores"),
    )
    return Network("unrolled", FeatureMap(side, side, channels, UInt(8)), nodes, tuple("abc"))


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("device", [ECP5_85F, UP5K], ids=str)
@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize("side", [1, 2])
def test_equals_the_golden_model(side, gate, device, stall):
    network = unrolled_net(gate, side=side)
    foldings = {
        "conv1": Folding(12, 16),
        "conv2": Folding(12, 12),
        "fc": Folding(3, 12),
    }
    design = plan(network, foldings, 16, device)
    units = [stage.name for stage in design.stages if stage.component is UnrolledUnit]
    # Where the map has several pixels, the dense layer is folded.
    assert units == ["act1", "act2"] + ["fc"] * (side == 1)
    assert design.cycles_per_frame == side * side

    frames = np.random.default_rng(0).integers(0, 256, (30, side, side, 16), dtype=np.uint8)
    words = [words_of(frame, 16) for frame in frames]
    starts, results = run(design, words, stall=stall, rest=4 * design.latency)

    expected = golden(network, frames)
    assert len(np.unique(expected.scores, axis=0)) > 5
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    if stall == 0 and side == 1:
        assert results[0][0] - starts[0] == design.latency
        assert starts[-1] - starts[0] == 29  # a frame a cycle


def test_counts_that_two_nodes_want_are_delivered():
    rng = np.random.default_rng(1)
    nodes = (
        Threshold("bits", INPUT, np.full(8, 128)),
        BinaryConv("conv", "bits", rng.random((6, 1, 1, 8)) < 0.5),
        Threshold("few", "conv", np.full(6, 3)),
        Threshold("many", "conv", np.full(6, 5)),
        Concat("both", "few", "many"),
        BinaryConv("fc", "both", rng.random((3, 1, 1, 12)) < 0.5),
        ArgMax("label", "fc"),
    )
    network = Network("two", FeatureMap(1, 1, 8, UInt(8)), nodes, tuple("abc"))
    design = plan(network, {"conv": Folding(6, 8), "fc": Folding(3, 12)}, 8, ECP5_85F)
    units = [stage.name for stage in design.stages if stage.component is UnrolledUnit]
    assert units == ["conv", "fc"]
    frames = rng.integers(0, 256, (10, 1, 1, 8), dtype=np.uint8)
    _, results = run(design, [words_of(frame, 8) for frame in frames], rest=50)
    assert [scores for _, _, scores in results] == golden(network, frames).scores.tolist()


def test_resources_are_those_of_the_adders():
    network = unrolled_net(Gate.XNOR)
    foldings = {"conv1": Folding(12, 16), "conv2": Folding(12, 12), "fc": Folding(3, 12)}
    design = plan(network, foldings, 16, ECP5_85F)
    (stage,) = (stage for stage in design.stages if stage.name == "act1")
    by_name = {node.name: node for node in network.nodes}
    weights = by_name["conv1"].weights.reshape(12, 16)
    sums = unrolled_sums(weights, Gate.XNOR, False, ECP5_85F.family, by_name["act1"])
    assert stage.resources(ECP5_85F).luts == 20 + layer_luts(sums, ECP5_85F.family)
    assert stage.describe(None)["layer"] == "conv1"
