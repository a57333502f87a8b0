"""Residual networks as hardware: forks, queues and joins, whole accelerators."""

import numpy as np
import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.hw.driving import run, words_of
from tests.hw.networks import joined_bits, residual_mlp, residual_net, two_branches
from tests.random_models import model_of_few_blocks
from tests.random_residuals import random_residual
from tests.residuals import PIXELS, residual_case, thin
from xnorflow.errors import DesignError
from xnorflow.hw.compile.emit import describe, generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.device import Device
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.xilinx7 import XILINX7
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.streams.fifo import FifoStage
from xnorflow.ir import Add, BinaryConv, DynamicThreshold, FeatureMap, Threshold, UInt
from xnorflow.sim.simulate import first_difference, simulate
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.grid import Grid


NETS = {
    "plain": (residual_net(), 324),
    "strided": (residual_net(stride=2, filters=8), 324),
}


def design_of(network, cycles=600):
    """A net at a fast rate that it can keep: so many cycles, or a few times as many."""
    for factor in 1, 2, 4, 8:
        try:
            return fold(network, ECP5_85F, cycles=factor * cycles)
        except DesignError:
            continue
    raise AssertionError


def frames_of(design, count):
    frames = np.random.default_rng(0).integers(
        0, 256, (count, *design.network.input.shape), np.uint8
    )
    return frames, [words_of(frame, design.input_lanes) for frame in frames]


def check(design, count, *, stall=0.0):
    """Results equal those of the golden model, and come at the predicted rate."""
    frames, words = frames_of(design, count)

    starts, results = run(design, words, stall=stall, limit=60_000)

    expected = golden(design.network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        assert design.latency <= times[0] - starts[0] < design.latency + design.cycles_per_frame


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("net", NETS)
def test_equals_the_golden_model(net, stall):
    network, cycles = NETS[net]
    design = fold(network, ECP5_85F, cycles=cycles)
    assert design.cycles_per_frame == cycles
    check(design, 8, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_a_fork_of_the_input_and_a_map_added_to_itself(stall):
    check(fold(two_branches(), ECP5_85F, cycles=240), 8, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("cycles", [120, 240])
def test_branches_of_bits_in_front_of_a_convolution(cycles, stall):
    check(fold(joined_bits(), ECP5_85F, cycles=cycles), 8, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("pe", [(4, 5), (1, 6), (2, 4)])
def test_dense_layers_whose_last_word_has_spare_lanes(pe, stall):
    foldings = {"fc1": Folding(pe[0], 4), "fc2": Folding(pe[1], 2 * pe[0])}
    check(plan(residual_mlp(), foldings, 2, ECP5_85F), 8, stall=stall)


@pytest.mark.parametrize(
    ("seed", "stall"),
    [
        (1, 0.0),
        (2, 0.3),
        *(
            pytest.param(seed, stall, marks=pytest.mark.slow)
            for seed in range(20, 28)
            for stall in (0.0, 0.3)
        ),
    ],
)
def test_random_nets_equal_the_golden_model(seed, stall):
    check(design_of(random_residual(seed)), 6, stall=stall)


FORMS = {
    "classic": (
        {
            "method": "siman",
            "shape": (6, 6, 3),
            "first": {"channels": 4, "activated": False},
            "blocks": [[4, 1, 3], [8, 2, 3]],
            "shortcut": "binary",
            "classic": True,
            "grid": Grid(12, 5),
        },
        648,
    ),
    "mobile": (
        {
            "method": "reactnet",
            "shape": (8, 8, 3),
            "first": {"channels": 4, "stride": 2, "activated": False},
            "blocks": [[4, 1, 3], [8, 1, 1], [8, 2, 3], [8, 1, 1]],
            "shortcut": "repeat",
            "grid": Grid(10, 4),
        },
        400,
    ),
    "imagenet": (
        {
            "method": "adabin",
            "shape": (16, 16, 3),
            "first": {"channels": 4, "kernel": 5, "stride": 2, "pooled": True},
            "blocks": [[4, 1, 3], [8, 2, 3]],
            "shortcut": "average",
            "grid": Grid(12, 5),
        },
        1600,
    ),
}


@pytest.mark.parametrize(
    ("form", "stall"),
    [
        ("classic", 0.3),
        ("mobile", 0.0),
        ("imagenet", 0.3),
        pytest.param("classic", 0.0, marks=pytest.mark.slow),
        pytest.param("mobile", 0.3, marks=pytest.mark.slow),
        pytest.param("imagenet", 0.0, marks=pytest.mark.slow),
    ],
)
def test_models_of_each_form_equal_the_golden_model(form, stall):
    options, cycles = FORMS[form]
    design = fold(lower(residual_case(9, **options).model), ECP5_85F, cycles=cycles)
    check(design, 2 if stall else 3, stall=stall)


@pytest.mark.parametrize(
    "examples",
    [3, pytest.param(25, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_models_of_pytorch_equal_their_hardware(examples):
    """The whole road: PyTorch's float64, integers at every node, and scores of the hardware."""

    # Without shrinking: an example takes seconds.
    @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate])
    @given(st.integers(0, 2**20))
    @example(2)  # AdaBin, whose ρ·P decides
    @example(5)  # DyBNN
    def travel(seed):
        model = model_of_few_blocks(seed).model
        network = lower(model)
        design = design_of(network, 150)
        frames, words = frames_of(design, 100)

        report = compare(model, network, torch.from_numpy(frames))
        _, results = run(design, words[:3], limit=60_000)

        assert report.differing == 0, str(report)
        compared = {layer.name for layer in report.layers}
        kinds = Threshold, DynamicThreshold, Add
        assert {node.name for node in network.nodes if isinstance(node, kinds)} <= compared
        expected = golden(network, frames[:3])
        assert [scores for _, _, scores in results] == expected.scores.tolist()
        assert [label for _, label, _ in results] == expected.labels.tolist()

    travel()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18-classic", 16),
        ("resnet18-imagenet", 64),
        ("reactnet-a", 32),
        ("reactnet-a-imagenet", 64),
    ],
)
def test_all_layers_of_named_models_equal_the_golden_model(name, side, tmp_path):
    """With few channels and pixels; but every layer is there."""
    network = thin(name, 8, side)
    design = fold(network, ECP5_85F, cycles=200_000)
    frames = np.random.default_rng(0).integers(0, 256, (2, *network.input.shape), np.uint8)
    expected = golden(network, frames)

    generate(design, tmp_path)
    result = simulate(tmp_path, frames, cache=tmp_path / "cache")

    labels, scores = expected.labels.numpy(), expected.scores.numpy()
    assert first_difference(result, labels, scores) is None


VU9P = Device("XCVU9P", XILINX7, 1_182_240, 4320, 18432, (36, 18, 9, 4, 2, 1), 6840, 18)
"""Large enough for millions of weights."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["resnet18-imagenet", "reactnet-a-imagenet"])
def test_models_for_imagenet_become_verilog(name, tmp_path):
    torch.manual_seed(0)
    model = ModelSpec(name, Task((3, 224, 224), 1000, PIXELS)).build().eval()
    convs = sum(isinstance(part, BinaryConv2d) for part in model.modules())
    network = lower(prepare(model, Grid(15), FeatureMap(224, 224, 3, UInt(8))))
    design = fold(network, VU9P, cycles=3_000_000)

    path = generate(design, tmp_path)

    binary = [node for node in design.network.nodes if isinstance(node, BinaryConv)]
    bits = sum(node.weights.size for node in binary)
    assert len(binary) == convs
    assert path.stat().st_size > bits / 4  # four weights a hexadecimal digit
    units = {step["unit"] for step in describe(design)["steps"]}
    large = name == "resnet18-imagenet"
    assert {"OverlappingPool" if large else "Concat", "SumPool", "Add"} <= units


def queued(design):
    return {stage.name for stage in design.stages if isinstance(stage, FifoStage)}


def test_only_the_shortcut_waits():
    """And what whole windows are made of."""
    design = fold(NETS["plain"][0], ECP5_85F, cycles=324)
    assert queued(design) == {"conv1_queue", "sum_other_queue"}
    # A window waits for the second pixel of the second row; then there is the layer's latency.
    assert 8 * 4 < design.depths["sum_other_queue"] < 8 * 4 + 5 * 4


def test_what_reads_zeros_waits_too():
    design = fold(NETS["strided"][0], ECP5_85F, cycles=324)
    assert queued(design) == {"conv1_queue", "pad_queue", "sum_other_queue"}


def test_one_word_less_costs_throughput():
    design = design_of(random_residual(9))
    depths = dict(design.depths)
    depths["block0_add_other_queue"] -= 1
    tight = plan(
        design.network,
        design.foldings,
        design.input_lanes,
        ECP5_85F,
        depths=depths,
        pace=design.pace,
    )
    _, words = frames_of(design, 8)

    _, results = run(tight, words, limit=60_000)

    times = [time for time, _, _ in results]
    assert np.diff(times[-4:]).max() > design.cycles_per_frame
