from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.hw.networks import dynamic_net, random_mlp, residual_net
from tests.resnet import random_resnet
from xnorflow.errors import DesignError
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.fold import fold, fold_fastest
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.affine import AffineStage
from xnorflow.hw.ops.elementwise import AddStage
from xnorflow.hw.ops.matrix import MatrixStage
from xnorflow.hw.ops.two_slope import TwoSlopeStage
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    FeatureMap,
    GlobalSum,
    IntegerConv,
    Network,
    PadChannels,
    UInt,
)


TFC = random_mlp(1, side=28, widths=(64, 64, 64), classes=10)
SFC = random_mlp(1, side=28, widths=(256, 256, 256), classes=10)


@pytest.mark.parametrize("cycles", [784, 500, 98, 97, 20, 1])
def test_keeps_the_rate(cycles):
    design = fold(random_mlp(0, widths=(12, 7)), ECP5_85F, cycles=cycles)
    assert design.cycles_per_frame <= cycles


def test_a_slower_rate_is_not_dearer():
    luts = [estimate(fold(SFC, ECP5_85F, cycles=cycles)).luts for cycles in (98, 196, 392, 784)]
    assert luts == sorted(luts, reverse=True)


def test_every_layer_is_only_as_fast_as_it_must_be():
    """Halving the synapses a cycle would break the rate, where there are more than a few."""
    design = fold(SFC, ECP5_85F, cycles=392)
    for stage in design.stages:
        if isinstance(stage, MatrixStage) and stage.folding.pe * stage.folding.simd > 64:
            assert 2 * stage.cycles > 392


def test_fastest_fits_and_a_faster_one_does_not():
    design = fold_fastest(TFC, UP5K)
    assert estimate(design).block_rams <= UP5K.block_rams
    with pytest.raises(DesignError):
        fold(TFC, UP5K, cycles=design.cycles_per_frame - 1)


def test_weights_of_few_rows_are_logic_where_block_rams_are_too_few():
    plenty = fold(SFC, ECP5_85F, cycles=98)
    short = replace(ECP5_85F, block_rams=10)
    design = fold(SFC, short, cycles=98)
    assert estimate(design).block_rams <= 10 < estimate(plenty).block_rams
    assert estimate(design).luts > estimate(plenty).luts
    assert design.cycles_per_frame <= 98


def test_the_same_network_gives_the_same_folding():
    assert fold_fastest(TFC, UP5K).foldings == fold_fastest(TFC, UP5K).foldings


def test_says_what_does_not_fit():
    message = (
        r"^random-mlp-1 does not fit iCE40UP5K at 196 cycles a frame: "
        r"it would use about \d+ look-up tables of 3960 and \d+ block RAMs of 30 that it may use$"
    )
    with pytest.raises(DesignError, match=message):
        fold(SFC, UP5K, cycles=196)


def test_a_residual_stream_has_the_fewest_lanes():
    network = random_resnet(0, side=16, blocks=1)
    for cycles, lanes in ((4608, 1), (2304, 2)):
        design = fold(network, ECP5_85F, cycles=cycles)
        assert design.cycles_per_frame == cycles
        streams = [
            stage
            for stage in design.stages
            if isinstance(stage, AffineStage | TwoSlopeStage | AddStage)
        ]
        assert {stage.lanes for stage in streams if stage.source.size == 16 * 16 * 16} == {lanes}


def test_resnet_20_fits():
    design = fold(random_resnet(0), ECP5_85F, cycles=18_432)
    assert design.cycles_per_frame == 18_432
    # The first layer's sums times their scale are wider than a multiplier.
    assert estimate(design).multipliers <= 24 + 4 + 18 * 3 + 1


def test_says_what_is_too_slow_beside_layers():
    nodes = (
        IntegerConv("conv", INPUT, np.ones((4, 1, 1, 2), int)),
        Affine("norm", "conv", np.ones(4, int), np.zeros(4, int)),
        PadChannels("pad", "norm", 1, 0),
        GlobalSum("sums", "pad"),
        ArgMax("label", "sums"),
    )
    network = Network("odd", FeatureMap(4, 4, 2, UInt(8)), nodes, tuple("abcde"))
    # Words of one channel, because the one of zeros stands alone.
    assert fold(network, ECP5_85F, cycles=80).cycles_per_frame == 80
    with pytest.raises(DesignError, match=r"^pad takes 80 cycles a frame, more than 64$"):
        fold(network, ECP5_85F, cycles=64)


NONE = {
    "luts": {"luts": 0},
    "block_rams": {"block_rams": 0, "block_ram_bits": 0, "block_ram_widths": ()},
    "multipliers": {"multipliers": 0, "multiplier_bits": 0},
}
"""Changes to a device after which there is none of a resource."""

LARGE = [replace(d, luts=10**6, block_rams=999, multipliers=99) for d in (UP5K, ECP5_85F)]


@pytest.mark.parametrize("device", LARGE, ids=lambda device: device.name)
@pytest.mark.parametrize(
    ("network", "cycles", "what"),
    [
        (TFC, 784, "block_rams"),
        (residual_net(), 400, "multipliers"),
        (dynamic_net(), 400, "multipliers"),
        (random_mlp(1, popcount=True), 20, "multipliers"),
    ],
)
def test_what_a_device_has_none_of_is_made_of_look_up_tables(network, cycles, what, device):
    bare = replace(device, **NONE[what])

    design = fold(network, bare, cycles=cycles)

    usual = plan(network, design.foldings, design.input_lanes, device, pace=cycles)
    assert getattr(estimate(usual), what) > 0
    assert getattr(estimate(design), what) == 0
    assert estimate(design).luts > estimate(usual).luts
    assert design.cycles_per_frame <= cycles
    assert fold_fastest(network, bare).cycles_per_frame <= cycles


@pytest.mark.parametrize("device", LARGE, ids=lambda device: device.name)
@pytest.mark.parametrize("network", [residual_net(), dynamic_net(), random_mlp(1)])
def test_without_look_up_tables_nothing_fits(network, device):
    nothing = device
    for none in NONE.values():
        nothing = replace(nothing, **none)
    for bare in replace(device, **NONE["luts"]), nothing:
        for choose in partial(fold, cycles=400), fold_fastest:
            with pytest.raises(DesignError, match=r" does not fit .* look-up tables of 0 "):
                choose(network, bare)


def test_rejects_less_than_a_cycle():
    with pytest.raises(DesignError, match=r"^a frame takes at least 1 cycle, not 0$"):
        fold(TFC, UP5K, cycles=0)
