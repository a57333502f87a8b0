"""Networks whose thresholds follow from the frame, as hardware."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.hw.driving import run, words_of
from tests.hw.networks import DYNAMIC_MODELS, dynamic_model, dynamic_net, residual_net
from tests.random_residuals import random_residual
from tests.residuals import residual_case, thin
from xnorflow.errors import DesignError
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold, fold_fastest
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.schedule import buffer_depths
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.ir import Affine, DynamicThreshold, DynamicTwoSlope, Network, Rounding
from xnorflow.sim.simulate import first_difference, simulate
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.grid import Grid


CYCLES = 324

NETS = {
    "one": (dynamic_net(), CYCLES),
    **{name: (dynamic_model(name), 144) for name in DYNAMIC_MODELS},
}
"""Networks of one barrier and of several in a row, and cycles a frame."""

ON_NETS = pytest.mark.parametrize(
    "net",
    [pytest.param(net, marks=pytest.mark.slow if net == "separate-row" else ()) for net in NETS],
)


def random_frames(network, count, seed=0):
    """Frames whose brightness differs, and with it their parameters."""
    shape = count, *network.input.shape
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 256, shape) * rng.random((count, 1, 1, 1))).astype(np.uint8)


def frames_of(design, count, seed=0):
    frames = random_frames(design.network, count, seed)
    return frames, [words_of(frame, design.input_lanes) for frame in frames]


def design_of(seed):
    """A random net at a fast rate that it can keep."""
    network = random_residual(seed, dynamic=True)
    for cycles in 300, 600, 1200, 2400:
        try:
            return fold(network, ECP5_85F, cycles=cycles)
        except DesignError:
            continue
    raise AssertionError


def fold_net(name):
    network, cycles = NETS[name]
    return fold(network, ECP5_85F, cycles=cycles)


def check(design, count, *, stall=0.0):
    frames, words = frames_of(design, count)
    starts, results = run(design, words, stall=stall, limit=60_000)
    expected = golden(design.network, frames)
    assert [scores for _, _, scores in results] == expected.scores.tolist()
    assert [label for _, label, _ in results] == expected.labels.tolist()
    if not stall:
        times = [time for time, _, _ in results]
        assert set(np.diff(times[-3:])) == {design.cycles_per_frame}
        assert design.latency <= times[0] - starts[0] < design.latency + design.cycles_per_frame


OPTIONS = {
    "shape": (6, 6, 3),
    "grid": Grid(12, 5),
    "first": {"channels": 4},
    "blocks": [[4, 1, 3], [8, 2, 3]],
    "method": "dybnn",
}


# What is changed, and a seed with which every threshold and shift decides something.
MODELS = {
    "dybnn": ({}, 32),
    "dybnn-separate": ({"method": "dybnn-separate", "shortcut": "average"}, 29),
    "siman-mean": ({"method": "siman-mean"}, 5),
}


def model(name):
    changes, seed = MODELS[name]
    return lower(residual_case(seed, **OPTIONS | changes).model)


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("name", MODELS)
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


def holds(design):
    return [stage.name for stage in design.stages if isinstance(stage, FrameBufferStage)]


def frames_in_words(design):
    """Words of the frames that wait, by their buffers."""
    return {
        stage.name: stage.source.size // stage.lanes
        for stage in design.stages
        if isinstance(stage, FrameBufferStage)
    }


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


@pytest.mark.parametrize("stall", [0.0, 0.3])
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


@pytest.mark.parametrize("stall", [0.0, 0.3])
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


@pytest.mark.parametrize(
    ("part", "stall"),
    [
        pytest.param(part, stall, marks=() if stall == often else pytest.mark.slow)
        for part, often in ((0.0, 0.3), (0.25, None), (0.5, 0.0), (0.75, None), (1.0, 0.3))
        for stall in (0.0, 0.3)
    ],
)
@ON_NETS
def test_a_reset_leaves_no_trace(net, part, stall):
    """In the middle of a frame, when every barrier holds frames back."""
    design = fold_net(net)
    before = design.latency // design.cycles_per_frame + 1
    frames, words = frames_of(design, before + 4, seed=2)
    word = 1 + int(part * (len(words[0]) - 2))

    _, results = run(design, words, stall=stall, reset=(before, word))

    expected = golden(design.network, frames[before + 1 :])
    assert [scores for _, _, scores in results] == expected.scores.tolist()


@pytest.mark.parametrize("hold", [1500, 3000])
def test_a_full_pipeline_loses_nothing(hold):
    """Nobody takes results until every buffer and table is full."""
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES)
    frames, words = frames_of(design, 20, seed=3)

    _, results = run(design, words, hold=hold)

    assert [scores for _, _, scores in results] == golden(design.network, frames).scores.tolist()


# -- buffers --------------------------------------------------------------------------------------


def test_one_buffer_is_for_comparison_and_shortcut():
    """It holds a frame, and what comes while the parameters are computed."""
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES)
    assert holds(design) == ["stem_held"]
    words = 6 * 6 * 4
    assert words < design.depths["stem_held"] < 1.4 * words
    # The shortcut waits for the convolution as long as in the static network.
    static = fold(residual_net(), ECP5_85F, cycles=CYCLES)
    queue = "sum_other_queue"
    assert design.depths[queue] <= static.depths[queue] + 2


def test_parameters_wait_for_what_is_frames_behind():
    """Behind another buffer of a frame, two tables are too few for what comes from before it."""
    design = design_of(37)
    assert design.depths["block1_act_parameters_queue"] > 2
    check(design, 8)


def test_fewer_words_cost_throughput():
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES)
    depths = dict(design.depths)
    depths["stem_held"] -= 6  # a few may wait in registers in front of it
    tight = replace(design, depths=depths)
    _, words = frames_of(design, 8)

    _, results = run(tight, words)

    assert np.diff([time for time, _, _ in results][-4:]).max() > design.cycles_per_frame


def test_a_buffer_must_hold_a_frame():
    """Or else nothing would ever come out of it."""
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES)
    message = "^stem_held: its buffer must hold at least 144 words, not 143$"
    with pytest.raises(DesignError, match=message):
        replace(design, depths=dict(design.depths) | {"stem_held": 143})
    check_depths = dict(design.depths)
    del check_depths["stem_held"]
    with pytest.raises(DesignError, match=r"^depths must be given for .*stem_held"):
        plan(
            design.network,
            design.foldings,
            design.input_lanes,
            ECP5_85F,
            depths=check_depths,
        )


@pytest.mark.parametrize(
    ("network", "cycles"),
    [
        (dynamic_net(), CYCLES),
        pytest.param(random_residual(0, dynamic=True), 432, marks=pytest.mark.slow),
        pytest.param(random_residual(4, dynamic=True), 576, marks=pytest.mark.slow),
        pytest.param(random_residual(5, dynamic=True), 441, marks=pytest.mark.slow),
    ],
)
def test_buffers_of_a_single_frame_cost_what_is_predicted(network, cycles):
    design = fold(network, ECP5_85F, cycles=cycles)
    single = plan(
        network,
        design.foldings,
        design.input_lanes,
        ECP5_85F,
        pace=cycles,
        single_buffered=True,
    )
    assert {name: single.depths[name] for name in holds(single)} == frames_in_words(single)
    assert single.cycles_per_frame > design.cycles_per_frame

    check(single, 8)


def test_frames_are_no_further_apart_than_single_buffers_need():
    single = fold(dynamic_net(), ECP5_85F, cycles=CYCLES + 100, single_buffered=True)

    def held(period):
        return buffer_depths(
            single.stages, single.sources, single.words_per_frame, CYCLES, ECP5_85F, period
        )["stem_held"]

    assert held(single.cycles_per_frame) == 6 * 6 * 4 < held(single.cycles_per_frame - 1)


@pytest.mark.parametrize(
    ("network", "cycles", "slowest"),
    [
        (dynamic_net(), 1400, 1296),
        (dynamic_net(), 1300, 648),
        (dynamic_net(), 407, 324),
        (random_residual(5, dynamic=True), 1800, 1323),  # the fastest folding takes 441
    ],
)
def test_layers_are_faster_where_buffers_are_of_a_single_frame(network, cycles, slowest):
    """As much as the rate takes, and no more."""
    design = fold(network, ECP5_85F, cycles=cycles, single_buffered=True)
    assert design.cycles_per_frame <= cycles
    assert max(stage.busy for stage in design.stages) == slowest
    assert {name: design.depths[name] for name in holds(design)} == frames_in_words(design)


def test_says_which_rate_single_buffers_cannot_keep():
    fastest = fold_fastest(dynamic_net(), ECP5_85F, single_buffered=True)
    assert fastest.cycles_per_frame == 407
    message = (
        "^dynamic takes more than 406 cycles a frame with buffers of one frame, "
        "however it is folded$"
    )
    with pytest.raises(DesignError, match=message):
        fold(dynamic_net(), ECP5_85F, cycles=406, single_buffered=True)


def test_a_static_network_has_no_frames_that_wait():
    design = fold(residual_net(), ECP5_85F, cycles=CYCLES)
    single = fold(residual_net(), ECP5_85F, cycles=CYCLES, single_buffered=True)
    assert single.cycles_per_frame == design.cycles_per_frame
    assert (single.foldings, single.depths) == (design.foldings, design.depths)
    assert not holds(single)


def test_a_buffer_of_a_frame_loses_nothing():
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES)
    frames, words = frames_of(design, 8)
    tight = replace(design, depths=dict(design.depths) | {"stem_held": 144})

    _, results = run(tight, words)

    assert [scores for _, _, scores in results] == golden(design.network, frames).scores.tolist()


def test_says_which_buffers_do_not_fit():
    """The three largest of four, in order of their size, which is not that of the pipeline."""
    blocks = [[8, 1, 3], [8, 2, 3], [16, 1, 3], [16, 1, 3]]
    case = residual_case(0, **OPTIONS | {"blocks": blocks, "shape": (32, 32, 3)})
    network = lower(case.model)
    message = (
        r" block RAMs of 30 .* that it may use; (\d+) block RAMs are for frames that wait for "
        r"their parameters, the most of them for blocks_0_act_held with (\d+), "
        r"blocks_2_act_held with (\d+), stem_act_held with (\d+)$"
    )
    with pytest.raises(DesignError) as refused:
        fold(network, UP5K, cycles=150_000)
    found = re.search(message, str(refused.value))
    assert found, refused.value
    total, first, second, third = map(int, found.groups())
    assert first > second > third
    # The fourth, blocks_1_act_held, is smaller.
    assert 0 < total - first - second - third < third
