"""Maps that are computed twice, instead of waiting for their parameters."""

from dataclasses import replace

import numpy as np
import pytest

from tests.hw.driving import run
from tests.hw.dynamic_nets import CYCLES, OPTIONS, check, frames_of
from tests.hw.networks import dynamic_net
from tests.residuals import residual_case
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold, fold_fastest
from xnorflow.hw.compile.plan import Wiring
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.ir import Add, Network
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower


def network_of(*blocks, method="dybnn", shape=(4, 4, 1)):
    options = OPTIONS | {"blocks": blocks, "method": method, "shape": shape}
    return lower(residual_case(0, **options).model)


def kept(design):
    """For each buffer, its depth and how often frames leave it."""
    buffers = [stage for stage in design.stages if isinstance(stage, FrameBufferStage)]
    assert all(design.depths[stage.name] == stage.words for stage in buffers)
    return {stage.name: stage.passes for stage in buffers}


TWO = [4, 1, 3], [8, 2, 3]
THREE = [4, 1, 3], [4, 1, 3], [4, 2, 3]


@pytest.mark.parametrize(
    ("network", "buffers"),
    [
        (network_of(*THREE), {"stem_act_held": 2, "blocks_1_act_held": 1}),
        # Two barriers a block: its sum is computed twice, its result waits.
        (network_of([4, 1, 3], method="dybnn-separate"), {"stem_act_held": 2}),
        pytest.param(
            network_of(*TWO, method="siman-mean"), {"stem_act_held": 2}, marks=pytest.mark.slow
        ),
    ],
)
def test_every_second_map_is_computed_twice(network, buffers):
    design = fold(network, ECP5_85F, cycles=400, recompute=True)
    assert kept(design) == buffers
    slowest = max(stage.busy for stage in design.stages)
    assert 2 * slowest < design.cycles_per_frame <= 400

    check(design, 4)


def test_frames_that_come_too_soon_and_words_that_wait():
    """The pipeline keeps frames apart itself; results are those of their frames."""
    design = fold(network_of(*TWO), ECP5_85F, cycles=200, recompute=True)
    eager = replace(design, cycles_per_frame=design.words_per_frame, single_buffered=False)
    frames, words = frames_of(eager, 4)
    expected = golden(design.network, frames).scores.tolist()
    for stall in 0, 0.5:
        _, results = run(eager, words, stall=stall, limit=20_000, rest=1_000)
        assert [scores for *_, scores in results] == expected
        if not stall:
            apart = np.diff([time for time, *_ in results])
            assert apart.max() <= design.cycles_per_frame


def test_a_single_barrier_has_a_buffer_of_one_frame():
    design = fold(dynamic_net(), ECP5_85F, cycles=CYCLES + 100, recompute=True)
    single = fold(dynamic_net(), ECP5_85F, cycles=CYCLES + 100, single_buffered=True)
    assert kept(design) == {"stem_held": 1}
    assert (design.foldings, design.depths) == (single.foldings, single.depths)
    assert design.cycles_per_frame == single.cycles_per_frame


def test_what_is_needed_elsewhere_is_not_computed_twice():
    """Here a block's input is added once more, to what follows from its output."""
    network = network_of([4, 1, 3], [4, 1, 3])
    names = [node.name for node in network.nodes]
    at = names.index("blocks_1_act")
    nodes = list(network.nodes)
    nodes[at:at] = [Add("more", "blocks_1_add", "stem_act", 16)]
    nodes[at + 1] = replace(nodes[at + 1], source="more")
    changed = Network("changed", network.input, tuple(nodes), network.labels)
    assert set(Wiring.of(network, recompute=True).regions) == {"blocks_0_act"}
    assert not Wiring.of(changed, recompute=True).regions


def test_what_needs_other_parameters_is_not_computed_twice():
    """They come once a frame."""
    network = network_of(*[[4, 1, 3]] * 4)
    nodes = [
        replace(node, parameters="blocks_1_hyper") if node.name == "blocks_2_act" else node
        for node in network.nodes
    ]
    changed = Network("changed", network.input, tuple(nodes), network.labels)
    assert set(Wiring.of(network, recompute=True).regions) == {"blocks_0_act", "blocks_2_act"}
    assert set(Wiring.of(changed, recompute=True).regions) == {"blocks_0_act"}


def test_says_which_rate_it_cannot_keep():
    network = network_of(*TWO)
    fastest = fold_fastest(network, ECP5_85F, recompute=True)
    cycles = fastest.cycles_per_frame - 1
    message = rf" takes more than {cycles} cycles a frame with buffers of one frame"
    with pytest.raises(DesignError, match=message):
        fold(network, ECP5_85F, cycles=cycles, recompute=True)
