"""Buffers of frames that wait for their parameters."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.hw.driving import run
from tests.hw.dynamic_nets import CYCLES, OPTIONS, check, design_of, frames_of
from tests.hw.networks import dynamic_net, residual_net
from tests.random_residuals import random_residual
from tests.residuals import residual_case
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold, fold_fastest
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.schedule import buffer_depths
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower


def holds(design):
    return [stage.name for stage in design.stages if isinstance(stage, FrameBufferStage)]


def frames_in_words(design):
    """Words of the frames that wait, by their buffers."""
    return {
        stage.name: stage.source.size // stage.lanes
        for stage in design.stages
        if isinstance(stage, FrameBufferStage)
    }


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
    design = design_of(4)
    assert design.depths["block1_act_parameters_queue"] > 2
    check(design, 8)


def test_fewer_words_cost_throughput():
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES)
    depths = dict(design.depths)
    depths["stem_held"] -= 10  # a few may wait in registers in front of it
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
        (dynamic_net(), 1300, 864),
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
    assert fastest.cycles_per_frame == 128
    message = (
        "^dynamic takes more than 127 cycles a frame with buffers of one frame, "
        "however it is folded$"
    )
    with pytest.raises(DesignError, match=message):
        fold(dynamic_net(), ECP5_85F, cycles=127, single_buffered=True)


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
        r"stem_act_held with (\d+), blocks_2_act_held with (\d+)$"
    )
    with pytest.raises(DesignError) as refused:
        fold(network, UP5K, cycles=150_000)
    found = re.search(message, str(refused.value))
    assert found, refused.value
    total, first, second, third = map(int, found.groups())
    assert first > second >= third
    # The fourth, blocks_1_act_held, is smaller.
    assert 0 < total - first - second - third < third
