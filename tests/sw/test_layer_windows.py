"""Layers with windows of any form: float64 = integers, and PyTorch's own convolutions."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tests.sw.test_frontend import randomise
from tests.sw.test_prepare import check_exact
from tests.windows import random_axis, windows_by
from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.adabin import AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.prelu import RPReLU
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


SEEDS = st.integers(0, 2**32 - 1)


def random_layer(rng, sides, *, even=False):
    """Kernel and windows for a map of so many rows and columns, and what is left of these."""
    axes = [random_axis(rng, side, most=5, even=even) for side in sides]
    left = [axis.count(side) for axis, side in zip(axes, sides, strict=True)]
    return tuple(axis.taps for axis in axes), windows_by(*axes), left


def random_groups(rng, channels):
    """Groups, and a number of filters."""
    groups = int(rng.choice([n for n in range(1, channels + 1) if channels % n == 0]))
    return groups, groups * int(rng.integers(1, 4))


def random_weights(rng, filters, groups):
    kinds = [
        lambda: SignWeight(),
        lambda: SiManWeight(filters, SiManForm.HALF),
        lambda: AdaBinWeight(fraction=3),
    ]
    return rng.choice(kinds[: 2 if groups > 1 else 3])()


def random_binary(rng, channels, sides, activations):
    kernel, windows, left = random_layer(rng, sides)
    groups, filters = random_groups(rng, channels)
    weights, border = random_weights(rng, filters, groups), list(Border)[rng.integers(2)]
    options = {"groups": groups, "border": border, **windows}
    return BinaryConv2d(channels, filters, kernel, weights, activations, **options), left


def random_frame(rng):
    return FeatureMap(*(int(n) for n in rng.integers(1, 8, 2)), int(rng.choice([1, 2, 4])), UInt(8))


def random_grid_model(rng, frame):
    """A first layer of pixels, and binary and integer convolutions of a stream."""
    channels, sides, layers = frame.channels, frame.shape[:2], []
    for n in range(int(rng.integers(2, 4))):
        if n and rng.random() < 0.6:
            conv, sides = random_binary(rng, channels, sides, RSign(channels))
        else:
            kernel, windows, sides = random_layer(rng, sides, even=True)
            groups, filters = random_groups(rng, channels)
            windows["padding"] = windows["padding"][::2]
            conv = nn.Conv2d(channels, filters, kernel, groups=groups, **windows)
        channels = len(conv.weight)
        layers += [conv, nn.BatchNorm2d(channels), RPReLU(channels)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))


@settings(max_examples=40)
@given(SEEDS)
def test_random_models_on_a_grid_equal_pytorch(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    frame = random_frame(rng)
    model = randomise(random_grid_model(rng, frame), seed)
    check_exact(model, Grid(16, int(rng.integers(0, 9))), frame, count=4)


def same(kernel, dilation=1):
    return nn.Conv2d(2, 2, kernel, padding="same", dilation=dilation)


@pytest.mark.parametrize(
    ("conv", "padding"),
    [(same(4), (1, 2, 1, 2)), (same((1, 3)), (0, 1)), (same(2, (2, 4)), (1, 2))],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_pytorchs_same_padding(conv, padding):
    torch.manual_seed(0)
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)]
    model = nn.Sequential(conv, *head).eval()
    _, network = check_exact(model, Grid(), FeatureMap(6, 7, 2, UInt(8)))
    assert network.nodes[0].padding == padding


WINDOWS = {"stride": (2, 1), "padding": (2, 1, 0, 3), "dilation": (1, 2), "groups": 2}


def test_binary_layers_are_pytorchs_convolutions():
    torch.manual_seed(0)
    conv = BinaryConv2d(4, 6, (4, 2), SignWeight(), Sign(), **WINDOWS).double()
    x = torch.randn(2, 4, 7, 5, dtype=torch.float64)
    signs, weight = torch.where(x >= 0, 1.0, -1.0).double(), conv.weight
    scale = weight.abs().mean(dim=(1, 2, 3), keepdim=True)
    quantised = torch.where(weight >= 0, scale, -scale)
    padded = functional.pad(signs, (0, 3, 2, 1))
    expected = functional.conv2d(padded, quantised, None, (2, 1), 0, (1, 2), 2)
    torch.testing.assert_close(conv(x), expected)


def test_pixels_are_normalised_in_their_groups():
    torch.manual_seed(0)
    mean, deviation = (0.1, 0.2, 0.3, 0.4), (1.0, 0.5, 0.25, 0.1)
    options = {"mean": mean, "deviation": deviation, "bits": 16, **WINDOWS}
    conv = IntegerConv2d(4, 6, (4, 2), **options).double()
    x = torch.randint(0, 256, (2, 4, 7, 5)).double()
    of_channels = [torch.tensor(each, dtype=x.dtype)[:, None, None] for each in (mean, deviation)]
    padded = functional.pad((x / 255 - of_channels[0]) / of_channels[1], (0, 3, 2, 1))
    expected = functional.conv2d(padded, conv.weight, None, (2, 1), 0, (1, 2), 2)
    torch.testing.assert_close(conv(x), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": (3, 0)}, "kernel must be an integer of at least 1, not 0"),
        ({"kernel": (3, 3, 3)}, "kernel must have 1 or 2 numbers, not (3, 3, 3)"),
        ({"stride": (1, 2, 1)}, "stride must have 1 or 2 numbers, not (1, 2, 1)"),
        ({"padding": (1, -1)}, "padding must be an integer of at least 0, not -1"),
        ({"padding": (1, 1, 1)}, "padding must have 1, 2 or 4 numbers, not (1, 1, 1)"),
        ({"dilation": 0}, "dilation must be an integer of at least 1, not 0"),
        ({"groups": 3}, "the 3 groups must divide in_channels, not 4"),
        ({"groups": 4}, "the 4 groups must divide out_channels, not 6"),
    ],
)
def test_refuses_windows(options, message):
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        BinaryConv2d(**{"in_channels": 4, "out_channels": 6, "kernel": 3,
                        "weight_quantiser": SignWeight(), "activation_quantiser": Sign(),
                        **options})  # fmt: skip


def test_groups_share_no_popcount():
    text = "has weight levels that are not ±: groups must have others$"
    conv = BinaryConv2d(2, 2, 1, AdaBinWeight(), Sign(), groups=2)
    model = nn.Sequential(conv, nn.Flatten(), BinaryLinear(2, 2, SignWeight(), Sign()))
    with pytest.raises(LoweringError, match=f"^0 .BinaryConv2d. {text}"):
        lower(model, input=FeatureMap(1, 1, 2, UInt(8)))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)]
    model = nn.Sequential(nn.Conv2d(2, 2, 1), conv, *head)
    with pytest.raises(LoweringError, match=f"^1 .BinaryConv2d. {text}"):
        prepare(model, Grid(), FeatureMap(1, 1, 2, UInt(8)))
