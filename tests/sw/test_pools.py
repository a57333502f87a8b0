"""Models with pools and upsampling: float64 = integers."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tests.sw.test_frontend import check, randomise
from tests.sw.test_prepare import check_exact
from xnorflow.errors import LoweringError
from xnorflow.ir import Affine, FeatureMap, MaxPool, SumPool, Threshold, UInt, Upsample
from xnorflow.sw.frontend import graph
from xnorflow.sw.frontend.modules import read_module
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.adabin import AdaBinActivation
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.integer_activation import IntegerActivation
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.quantiser import Delivered
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight


SEEDS = st.integers(0, 2**32 - 1)
FRAME = FeatureMap(7, 6, 2, UInt(8))


def random_pool(rng, kind, least=1):
    """Pool of PyTorch's, with all of its options."""
    size = tuple(int(n) for n in rng.integers(least, 4, 2))
    stride = None if rng.random() < 0.3 else tuple(int(n) for n in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, n // 2 + 1)) for n in size)
    options = {"ceil_mode": bool(rng.integers(2))}
    if kind is nn.AvgPool2d:
        options["count_include_pad"] = bool(rng.integers(2))
        options["divisor_override"] = int(rng.integers(1, 9)) if rng.random() < 0.3 else None
    return kind(size, stride, padding, **options)


def random_moves(rng, *kinds):
    """A few pools, or upsamplings, of such kinds."""
    found = []
    for _ in range(int(rng.integers(0, 2))):
        kind = kinds[int(rng.integers(len(kinds)))]
        factors = tuple(float(n) for n in rng.integers(1, 3, 2))
        upsample = kind is nn.Upsample
        found.append(nn.Upsample(scale_factor=factors) if upsample else random_pool(rng, kind))
    return found


def first(kernel=3, **windows):
    """First layer, of pixels."""
    statistics = {"mean": (0.4, 0.5), "deviation": (0.3, 0.2)}
    return IntegerConv2d(2, 4, kernel, **statistics, **windows)


def random_model(rng):
    """A layer of pixels and one of bits or codes, with pools in all places."""
    anywhere = nn.MaxPool2d, nn.AvgPool2d, nn.Upsample
    activation = [Sign(), RSign(4), AdaBinActivation(), IntegerActivation(2, scale=0.5)]
    before, behind = random_moves(rng, *anywhere), random_moves(rng, nn.MaxPool2d, nn.Upsample)
    average = [random_pool(rng, nn.AvgPool2d, 2)] if rng.random() < 0.5 else []
    return nn.Sequential(
        first(padding=1), *before, nn.BatchNorm2d(4), *behind,
        activation[rng.integers(4)], *random_moves(rng, *anywhere[::2]), *average,
        *([nn.BatchNorm2d(4)] if average else []),
        BinaryConv2d(4, 6, 2, SignWeight(), Sign() if average else Delivered(), padding=1),
        *random_moves(rng, *anywhere), nn.BatchNorm2d(6),
        nn.Flatten(),
    )  # fmt: skip


@settings(max_examples=60)
@given(SEEDS)
def test_random_models_equal_pytorch(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = random_model(rng)
    try:
        features = model.eval()(torch.zeros(1, 2, 7, 6)).shape[1]
    except RuntimeError:  # a map that is too small
        reject()
    model.append(BinaryLinear(features, 3, SignWeight(shared_scale=True), Sign()))
    check(randomise(model, seed), FRAME, count=6, seed=seed)


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


GRID = Grid(bits=12, fraction=6)


@settings(max_examples=20)
@given(SEEDS)
def test_prepared_models_equal_pytorch(seed):
    """Pools and upsampling of streams."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    moves = random_moves(rng, nn.MaxPool2d, nn.Upsample)
    layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), *moves, nn.PReLU(4), *moves]
    layers += [BinaryConv2d(4, 4, 1, SignWeight(), Sign()), nn.BatchNorm2d(4)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    check_exact(randomise(nn.Sequential(*layers, *head), seed), GRID, FRAME, 4)


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
