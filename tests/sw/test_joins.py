"""Channels of several maps behind each other: bits, codes and sums, from layers to hardware."""

import re

import pytest
import torch
from torch import nn

from tests.hw.driving import run, words_of
from tests.plain import norms_of, randomise_norms
from xnorflow import nn as layers
from xnorflow.errors import LoweringError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import Concat, FeatureMap, MultiThreshold, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.grid import Grid


FRAME = FeatureMap(5, 6, 1, UInt(8))


class Branches(nn.Module):
    """Convolutions of several kernels side by side; what follows each of them, and all of them."""

    def __init__(self, befores, behind, filters=(3, 2, 4)):
        super().__init__()
        self.stems = nn.ModuleList(
            nn.Sequential(
                layers.IntegerConv2d(
                    1, count, side, mean=(0.5,), deviation=(0.3,), padding=side // 2, bits=3
                ),
                nn.BatchNorm2d(count),
                *before,
            )
            for count, side, before in zip(filters, (1, 3, 5), befores, strict=True)
        )
        self.behind = nn.Sequential(*behind)

    def forward(self, x):
        return self.behind(torch.cat([stem(x) for stem in self.stems], dim=1))


def trained(model, seed=0):
    """In float64, with random batch norms that have seen some frames."""
    torch.manual_seed(seed)
    randomise_norms(model)
    for norm in norms_of(model):
        norm.momentum = 1.0
    model.double().train()(torch.randint(0, 256, (50, 1, 5, 6)).double())
    return model.eval()


def check(model, *, hardware=0):
    network = lower(model, input=FRAME)
    images = torch.randint(0, 256, (200, *FRAME.shape), dtype=torch.uint8)
    report = compare(model, network, images)
    assert report.differing == 0, str(report)
    assert len(golden(network, images).scores.unique(dim=0)) > 100
    if hardware:
        design = fold(network, ECP5_85F, cycles=3000)
        frames = images[:hardware].numpy()
        _, results = run(design, [words_of(frame, design.input_lanes) for frame in frames])
        assert [s for _, _, s in results] == golden(network, frames).scores.tolist()
    return network


def dense(*activation, features=9 * 30, weights=None):
    weights = weights or layers.SignWeight(shared_scale=True)
    return [*activation, nn.Flatten(), layers.BinaryLinear(features, 3, weights)]


def test_bits_of_three_branches_are_joined_at_once():
    conv = layers.BinaryConv2d(9, 4, 3, layers.SignWeight(), padding=1)
    behind = [conv, nn.BatchNorm2d(4), *dense(layers.Sign(), features=4 * 30)]
    network = check(trained(Branches([[layers.Sign()]] * 3, behind)))
    (join,) = (node for node in network.nodes if isinstance(node, Concat))
    assert len(join.sources) == 3


def test_levels_with_a_common_step_become_codes_of_it():
    """−1 and 1, −1 … 2 and 0 … 0.5 in steps of 0.5: seven steps in all."""
    quantisers = [
        layers.Sign(),
        layers.IntegerActivation(2, signed=True, scale=1.0),
        layers.IntegerActivation(2, scale=0.5),
    ]
    quantisers[2].log_scale.data = torch.tensor(0.5).double().log()
    conv = layers.BinaryConv2d(9, 4, 3, layers.SignWeight(), padding=1)
    behind = [conv, nn.BatchNorm2d(4), *dense(layers.Sign(), features=4 * 30)]
    network = check(trained(Branches([[each] for each in quantisers], behind)), hardware=2)
    codes = [node for node in network.nodes if isinstance(node, MultiThreshold)]
    assert len(codes) == 5
    assert {node.steps for node in codes} == {3, 7}


def test_quantisers_behind_a_join_work_part_by_part():
    """Of several levels, with a threshold a channel, and bits with several levels each."""
    pixelwise = layers.IntegerActivation(2, signed=True)
    conv = layers.BinaryConv2d(9, 4, 3, layers.SignWeight(), padding=1)
    behind = [nn.BatchNorm2d(9), pixelwise, conv, nn.MaxPool2d(2), nn.BatchNorm2d(4)]
    model = trained(Branches([[]] * 3, [*behind, *dense(layers.Sign(), features=4 * 6)]))
    network = check(model)
    assert sum(isinstance(node, MultiThreshold) for node in network.nodes) == 3


def test_means_get_a_common_unit():
    """The scales of sums are 1, 2 and −3."""
    model = Branches(
        [[]] * 3,
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), layers.IntegerLinear(9, 4, bits=3)],
    )
    trained(model)
    for stem, gain in zip(model.stems, (1.0, 2.0, -3.0), strict=True):
        weight, norm = stem[0].weight.data, stem[1]
        weight /= weight.abs().amax(dim=(1, 2, 3), keepdim=True)
        norm.eps = 0.0
        norm.weight.data.fill_(gain)
        norm.running_var.fill_(4.0)
    network = check(model, hardware=2)
    assert any(isinstance(node, Concat) for node in network.nodes)


def test_streams_of_any_width_are_joined_on_a_grid():
    """Two of three are clipped, and as wide as the grid again where they are joined."""
    befores = [[nn.Hardtanh()], [layers.RPReLU(2)], [nn.Hardtanh()]]
    behind = [nn.Conv2d(9, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = trained(Branches(befores, behind))
    network = check(prepare(model, Grid(14, 6), FRAME), hardware=2)
    (join,) = (node for node in network.nodes if isinstance(node, Concat))
    assert len(join.sources) == 3


@pytest.mark.parametrize(
    ("befores", "behind", "text"),
    [
        ([[layers.Sign()], [layers.IntegerActivation(2, scale=0.3)], [layers.Sign()]], dense(),
         "cat (cat) joins activations whose levels are no codes of 2 to 4 bits together"),
        ([[layers.Sign()], [], [layers.Sign()]], dense(), "cat (cat) joins bits with sums"),
        ([[]] * 3, [nn.AdaptiveAvgPool2d(1), nn.Flatten(), layers.IntegerLinear(9, 4, bits=3)],
         "behind.2 (IntegerLinear) takes sums whose scales have no common unit"),
    ],
)  # fmt: skip
def test_what_has_no_common_unit_is_refused(befores, behind, text):
    model = trained(Branches(befores, behind))
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}"):
        lower(model, input=FRAME)
