"""Models with pools and upsampling: float64 = integers."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.sw.test_frontend import check, randomise
from xnorflow.errors import LoweringError
from xnorflow.ir import Affine, FeatureMap, MaxPool, SumPool, Threshold, UInt, Upsample
from xnorflow.sw.frontend import graph
from xnorflow.sw.frontend.modules import read_module
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.conv import IntegerConv2d
from xnorflow.sw.nn.integer_activation import IntegerActivation
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.quantiser import Delivered
from xnorflow.sw.nn.sign import Sign, SignWeight


FRAME = FeatureMap(7, 6, 2, UInt(8))


def first(kernel=3, **windows):
    """First layer, of pixels."""
    statistics = {"mean": (0.4, 0.5), "deviation": (0.3, 0.2)}
    return IntegerConv2d(2, 4, kernel, **statistics, **windows)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(6, 2)])
def test_scores_of_averages_are_exact(pool):
    """Of bits and codes, of which a layer of integer weights, or nothing, makes scores."""
    torch.manual_seed(0)
    for act in (Sign(), IntegerActivation(3, scale=0.25)):
        layers = [first(2), nn.BatchNorm2d(4), act, pool, nn.Flatten()]
        features = nn.Sequential(*layers).eval()(torch.zeros(1, 2, 7, 7)).shape[1]
        last = IntegerLinear(features, 3, Delivered())
        check(randomise(nn.Sequential(*layers, last), 1), FeatureMap(7, 7, 2, UInt(8)))


def test_sums_need_no_node_in_front_of_them():
    torch.manual_seed(0)
    last = BinaryLinear(36, 3, SignWeight(shared_scale=True), Delivered())
    model = nn.Sequential(
        first(2), nn.AvgPool2d(3, 2, 1), nn.BatchNorm2d(4), Sign(), nn.Flatten(), last
    )
    nodes = lower(randomise(model, 0), input=FeatureMap(7, 7, 2, UInt(8))).nodes
    assert sum(isinstance(node, SumPool) for node in nodes) == 1
    assert sum(isinstance(node, Affine) for node in nodes) == 1


class Functions(nn.Module):
    """Pools and upsampling as functions."""

    def __init__(self):
        super().__init__()
        self.conv = first()
        self.sign = Sign()
        self.dense = BinaryLinear(4 * 6 * 4, 3, SignWeight(shared_scale=True), Sign())

    def forward(self, x):
        x = self.sign(functional.max_pool2d(self.conv(x), 3, stride=2, padding=1))
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        return self.dense(functional.avg_pool2d(x, (1, 3), (1, 1), (0, 1)).flatten(1))


def test_functions_are_known():
    torch.manual_seed(0)
    network = check(randomise(Functions(), 0), FRAME)
    assert [type(node) for node in network.nodes[1:5]] == [Threshold, MaxPool, Upsample, SumPool]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.MaxPool2d(2, dilation=2)], "0 (MaxPool2d) must have no dilation, and return no indi"),
        ([nn.Upsample(scale_factor=1.5)], "0 (Upsample) must repeat pixels, mode 'nearest', by wh"),
        ([nn.Upsample(scale_factor=2, mode="bilinear")], "0 (Upsample) must repeat pixels, mode "),
        ([nn.AdaptiveAvgPool2d(4)], "0 (AdaptiveAvgPool2d) must have an output whose sides divide"),
        ([nn.AvgPool2d(2, divisor_override=-1)], "0 (AvgPool2d) must have a positive divisor, not"),
        ([nn.AvgPool2d(3, 3, 1, ceil_mode=True, count_include_pad=False),
          nn.Flatten(), IntegerLinear(18, 3, Delivered())],
         "2 (IntegerLinear) takes averages of as many pixels everywhere: count those outside"),
        ([first(), nn.Upsample(scale_factor=2), nn.AvgPool2d(2)],
         "2 (AvgPool2d) takes sums that are only scaled and shifted"),
    ],
)  # fmt: skip
def test_refuses(layers, message):
    with pytest.raises(LoweringError, match=f"^{re.escape(message)}"):
        lower(nn.Sequential(*layers).double().eval(), input=FRAME)


def test_pools_stand_behind_thresholds():
    torch.manual_seed(0)
    moves = nn.MaxPool2d(3, 2, 1), nn.Upsample(scale_factor=(2, 1))
    last = BinaryLinear(4 * 6 * 3, 3, SignWeight(shared_scale=True), Sign())
    network = lower(randomise(nn.Sequential(first(2), *moves, nn.Flatten(), last), 0), input=FRAME)
    kinds = [type(node) for node in network.nodes]
    assert kinds[2:4] == [MaxPool, Upsample]


def test_pools_of_one_row():
    """Of tensors (N, channels, columns)."""
    shape = 1, 4, 9
    for module, function in [
        (nn.MaxPool1d(3, 2, 1), graph.MaxPool((1, 3), (1, 2), (0, 0, 1, 1))),
        (nn.MaxPool1d(2, ceil_mode=True), graph.MaxPool((1, 2), (1, 2), (0, 0, 0, 1))),
        (nn.AvgPool1d(3, padding=1), graph.AveragePool((1, 3), (1, 3), (0, 0, 1, 1), (0, 1))),
        (nn.AdaptiveAvgPool1d(3), graph.AveragePool((1, 3))),
        (nn.Upsample(scale_factor=2), graph.Upsample((1, 2))),
        (nn.Upsample(27), graph.Upsample((1, 3))),
    ]:
        assert read_module(module, "pool", shape) == [("", function)]
