"""Activations with a scale for each channel, which the weights behind them absorb."""

import re

import pytest
import torch
from torch import nn

from xnorflow import nn as layers
from xnorflow.errors import LoweringError
from xnorflow.ir import FeatureMap, IntegerConv, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.lower import lower


FRAME = FeatureMap(4, 4, 1, UInt(8))


class Net(nn.Module):
    """Activations of 4 channels, times their scales, and a convolution of these."""

    def __init__(self, scales, activation, *, groups=1, weights=None):
        super().__init__()
        torch.manual_seed(0)
        self.stem = layers.IntegerConv2d(1, 4, 3, mean=(0.5,), deviation=(0.2,), padding=1)
        self.act = activation
        self.register_buffer("scales", torch.tensor(scales)[:, None, None])
        self.pool = nn.MaxPool2d(2)
        self.conv = layers.BinaryConv2d(
            4, 8, 3, weights or layers.SignWeight(), padding=1, groups=groups
        )
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Sequential(
            layers.Sign(),
            nn.Flatten(),
            layers.BinaryLinear(32, 3, layers.SignWeight(shared_scale=True)),
        )
        nn.init.normal_(self.norm.bias, std=0.3)

    def forward(self, x):
        x = self.pool(self.act(self.stem(x)) * self.scales)
        return self.last(self.norm(self.conv(x)))


CODES = layers.IntegerActivation(2, signed=True)


@pytest.mark.parametrize(
    ("scales", "groups", "activation", "integer"),
    [
        ([0.5, 2.0, -1.0, 0.25], 1, layers.Sign(), True),
        ([0.5, 1.5, -1.0, 0.0], 1, CODES, True),
        ([0.3, 0.3, 0.3, 0.3], 1, CODES, False),
        ([0.3, 0.7, -1.1, 0.13], 4, CODES, False),
        ([0.3, 0.3, 0.7, 1.4], 2, layers.Sign(), True),
    ],
)
def test_scales_are_exact(scales, groups, activation, integer):
    model = Net(scales, activation, groups=groups).double().eval()
    network = lower(model, input=FRAME)
    images = torch.randint(0, 256, (200, *FRAME.shape), dtype=torch.uint8)
    report = compare(model, network, images)
    assert report.differing == 0, str(report)
    conv = next(node for node in network.nodes if node.name == "conv")
    assert isinstance(conv, IntegerConv) == integer


@pytest.mark.parametrize(
    ("scales", "options"),
    [
        ([0.3, 0.7, 1.0, 1.0], {}),
        ([0.0] * 4, {}),
        ([1.0, 2.0, 1.0, 1.0], {"weights": layers.AdaBinWeight(3)}),
    ],
)
def test_what_is_no_multiple_of_one_number_is_refused(scales, options):
    model = Net(scales, layers.Sign(), **options).double().eval()
    text = "conv (BinaryConv2d) adds channels of activations with different scales"
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}"):
        lower(model, input=FRAME)


def test_shifts_are_refused():
    norm = nn.BatchNorm2d(4)
    nn.init.ones_(norm.bias)
    model = Net([1.0] * 4, nn.Sequential(layers.Sign(), norm)).double().eval()
    text = "act.1 (BatchNorm2d) shifts what an activation quantiser delivers: accepted are scales"
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}$"):
        lower(model, input=FRAME)
