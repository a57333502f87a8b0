"""Networks whose thresholds follow from the frame, as hardware."""

from dataclasses import replace

import numpy as np
import pytest

from tests.hw.driving import run
from tests.hw.dynamic_nets import CYCLES, OPTIONS, check, design_of, frames_of, random_frames
from tests.hw.networks import DYNAMIC_MODELS, dynamic_model, dynamic_net, residual_net
from tests.residuals import residual_case, thin
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import Affine, DynamicThreshold, DynamicTwoSlope, Network, Rounding
from xnorflow.sim.simulate import first_difference, simulate
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower


NETS = {
    "one": (dynamic_net(), CYCLES),
    **{name: (dynamic_model(name), 144) for name in DYNAMIC_MODELS},
}
"""Networks of one barrier and of several in a row, and cycles a frame."""

ON_NETS = pytest.mark.parametrize(
    "net",
    [pytest.param(net, marks=pytest.mark.slow if net == "separate-row" else ()) for net in NETS],
)


def fold_net(name):
    network, cycles = NETS[name]
    return fold(network, ECP5_85F, cycles=cycles)


# What is changed, and a seed with which every threshold and shift decides something.
MODELS = {
    "dybnn": ({}, 32),
    "dybnn-separate": ({"method": "dybnn-separate", "shortcut": "average"}, 29),
    "siman-mean": ({"method": "siman-mean"}, 5),
}


def model(name):
    changes, seed = MODELS[name]
    return lower(residual_case(seed, **OPTIONS | changes).model)


@pytest.mark.parametrize(
    ("name", "stall"),
    [
        ("dybnn", 0.0),
        ("dybnn-separate", 0.3),
        ("siman-mean", 0.0),
        pytest.param("dybnn", 0.3, marks=pytest.mark.slow),
        pytest.param("dybnn-separate", 0.0, marks=pytest.mark.slow),
        pytest.param("siman-mean", 0.3, marks=pytest.mark.slow),
    ],
)
def test_models_equal_the_golden_model(name, stall):
    check(fold(model(name), ECP5_85F, cycles=540), 3 if stall else 4, stall=stall)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("named", "method"),
    [
        ("resnet8", "dybnn"),
        ("resnet8", "dybnn-separate"),
        ("resnet8", "siman-mean"),
        ("resnet20", "dybnn"),
    ],
)
def test_all_layers_of_named_models_equal_the_golden_model(named, method, tmp_path):
    """With few channels and pixels; but every layer is there."""
    network = thin(named, 4, 16, method=method)
    design = fold(network, ECP5_85F, cycles=5000)
    frames = np.random.default_rng(0).integers(0, 256, (4, *network.input.shape), np.uint8)
    expected = golden(network, frames)

    generate(design, tmp_path)
    result = simulate(tmp_path, frames, cache=tmp_path / "cache")

    labels, scores = expected.labels.numpy(), expected.scores.numpy()
    assert first_difference(result, labels, scores) is None


def frozen(network, reader, values):
    """The network whose node ``reader`` gets these parameters, whatever the frame is."""
    type_ = network.maps[reader.parameters].type
    constant = Affine(
        "frozen",
        reader.parameters,
        0 * values,
        values,
        rounding=Rounding(0, type_.bits, type_.fraction),
    )
    reading = constant, replace(reader, parameters="frozen")
    nodes = [new for node in network.nodes for new in (reading if node is reader else (node,))]
    return Network(network.name, network.input, tuple(nodes), network.labels)


@pytest.mark.parametrize("name", [*NETS, *MODELS])
def test_parameters_of_another_frame_would_show(name):
    """In half of the scores or more, wherever they are read. Or else other tests show nothing."""
    network = NETS[name][0] if name in NETS else model(name)
    frames = random_frames(network, 9, seed=1)
    readers = [n for n in network.nodes if isinstance(n, DynamicThreshold | DynamicTwoSlope)]
    kept = golden(network, frames, keep={reader.parameters for reader in readers})
    for reader in readers:
        parameters = kept.maps[reader.parameters].flatten(1).numpy()
        late = [frozen(network, reader, parameters[n - 1]) for n in range(1, 9)]
        found = [golden(net, frames[n : n + 1]).scores[0] for n, net in enumerate(late, 1)]
        differing = [bool((a != b).any()) for a, b in zip(found, kept.scores[1:], strict=True)]
        assert sum(differing) >= 4, reader.name


# With stalls, see below.
@pytest.mark.parametrize("stall", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
@ON_NETS
def test_equals_the_golden_model(net, stall):
    check(fold_net(net), 8, stall=stall)


@pytest.mark.parametrize(
    ("seed", "stall"),
    [
        (3, 0.0),
        (0, 0.3),
        *(
            pytest.param(seed, stall, marks=pytest.mark.slow)
            for seed in range(20, 30)
            for stall in (0.0, 0.3)
        ),
    ],
)
def test_random_nets_equal_the_golden_model(seed, stall):
    check(design_of(seed), 6, stall=stall)


def test_is_as_fast_as_the_static_network():
    """Result by result, at the same folding; and at first it computes the same."""
    static = fold(residual_net(), ECP5_85F, cycles=CYCLES)
    dynamic = fold(dynamic_net(moves=False), ECP5_85F, cycles=CYCLES)
    assert {name: dynamic.foldings[name] for name in static.foldings} == static.foldings
    assert dynamic.cycles_per_frame == static.cycles_per_frame
    _, words = frames_of(static, 8)

    (_, slow), (_, fast) = run(dynamic, words), run(static, words)

    assert [result[1:] for result in slow] == [result[1:] for result in fast]
    late = slow[0][0] - fast[0][0]
    assert [time - late for time, _, _ in slow] == [time for time, _, _ in fast]


@pytest.mark.parametrize("stall", [0.3, pytest.param(0.0, marks=pytest.mark.slow)])
@ON_NETS
def test_bad_frames_leave_no_trace(net, stall):
    design = fold_net(net)
    frames, words = frames_of(design, 8, seed=1)
    words[1] = words[1] + words[1][:1]  # too long
    words[3] = words[3][:-5]  # too short
    bad = {1, 3, 5, 6}  # 5 and 6 are marked

    _, results = run(design, words, stall=stall, errors={5, 6})

    expected = golden(design.network, frames[[n for n in range(8) if n not in bad]])
    assert [scores for _, _, scores in results] == expected.scores.tolist()


RESETS = {
    ("one", 0.0, 0.3),
    ("one", 0.5, 0.0),
    ("one", 1.0, 0.3),
    ("row", 0.5, 0.3),
    ("separate", 0.0, 0.3),
    ("mean", 1.0, 0.0),
}
"""Nets, parts of a frame that has come in front of a reset, and stalls, in the fast suite."""


@pytest.mark.parametrize(
    ("net", "part", "stall"),
    [
        pytest.param(
            net, part, stall, marks=() if (net, part, stall) in RESETS else pytest.mark.slow
        )
        for net in NETS
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
        for stall in (0.0, 0.3)
    ],
)
def test_a_reset_leaves_no_trace(net, part, stall):
    """In the middle of a frame, when every barrier holds frames back."""
    design = fold_net(net)
    before = design.latency // design.cycles_per_frame + 1
    frames, words = frames_of(design, before + 4, seed=2)
    word = 1 + int(part * (len(words[0]) - 2))

    _, results = run(design, words, stall=stall, reset=(before, word))

    expected = golden(design.network, frames[before + 1 :])
    assert [scores for _, _, scores in results] == expected.scores.tolist()


@pytest.mark.parametrize("hold", [pytest.param(1500, marks=pytest.mark.slow), 3000])
def test_a_full_pipeline_loses_nothing(hold):
    """Nobody takes results until every buffer and table is full."""
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES)
    frames, words = frames_of(design, 20, seed=3)

    _, results = run(design, words, hold=hold)

    assert [scores for _, _, scores in results] == golden(design.network, frames).scores.tolist()
