"""Models that cannot be lowered, and what is said about them."""

import re

import pytest
import torch
from torch import nn

from tests.plain import FRAME, perceptron, small_conv_net
from xnorflow.errors import LoweringError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.adabin import AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight


def _set(path, value):
    """What changes a part of a model, or the first value of a parameter."""

    def change(model):
        owner, _, last = path.rpartition(".")
        if isinstance(value, float):
            with torch.no_grad():
                getattr(model.get_submodule(owner), last).flatten()[0] = value
        else:
            setattr(model.get_submodule(owner), last, value)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set("norm2.running_var", float("nan")),
         "norm2.running_var has values that are not finite"),
        (_set("fc1.weight", float("inf")), "fc1.weight has values that are not finite"),
        (_set("fc2", nn.Linear(5, 4)),
         "fc2 (Linear) has weights of floating point"),
        (_set("norm1", nn.LayerNorm(5)), "norm1 (LayerNorm) cannot be lowered: what can is"),
        (_set("norm1", nn.BatchNorm1d(5, track_running_stats=False)),
         "norm1 (BatchNorm1d) has no running statistics: make it with track_running_stats=True"),
        (_set("norm2.running_var", -1.0), "norm2 (BatchNorm1d) has a variance that is not above 0"),
        (_set("fc1.activation_quantiser", RSign(6)),
         "fc1 (BinaryLinear) has 6 channels, but it gets 1"),
        (_set("fc3.activation_quantiser", RSign(3)),
         "the model does not take frames of 1 channels and 2×3 pixels: "),
        (_set("fc3.weight_quantiser", SignWeight()),
         "the classes of fc3 (BinaryLinear) have different scales, so its scores are no integers: "
         "give its weights one scale, as in SignWeight(shared_scale=True)"),
        (_set("fc3.weight", nn.Parameter(torch.zeros(3, 4))),
         "the scale of fc3 (BinaryLinear) is 0, so its scores are all equal"),
        (_set("fc2.weight_quantiser", AdaBinWeight(fraction=17)),
         "no network can hold this model: fc3_bits: fraction must be an integer from 0 to 16, "
         "not 17"),
    ],
)  # fmt: skip
def test_perceptrons(change, text):
    torch.manual_seed(0)
    model = perceptron("sign", "sign", hidden=(5, 4))
    change(model)
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}"):
        lower(model, input=FRAME)


def _conv(channels, filters, kernel=3, **options):
    return BinaryConv2d(channels, filters, kernel, SignWeight(), Sign(), **options)


def _pixel_conv(channels):
    ones = (0.5,) * channels
    return IntegerConv2d(channels, 6, 3, mean=ones, deviation=ones, padding=1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set("conv1", nn.Conv2d(2, 4, 3, padding=1)),
         "conv1 (Conv2d) has weights of floating point"),
        (_set("conv2", _pixel_conv(4)),
         "conv2 (IntegerConv2d) takes sums that are only scaled and shifted: binarise them first"),
        (_set("fc1", BinaryLinear(96, 5, SignWeight(), RSign(96))),
         "fc1 (BinaryLinear) has 96 channels, but it gets 6"),
        *((_set(*change), "the model does not take frames of 2 channels and 8×8 pixels: ")
          for change in [
              ("conv2", BinaryLinear(4, 6, SignWeight(), Sign())),
              ("fc1", _conv(6, 5)),
              ("conv2", _conv(3, 6)),
              ("conv2", _conv(4, 6, kernel=7, padding=1)),
              ("fc1", BinaryLinear(95, 5, SignWeight(), Sign())),
              ("conv2", _conv(4, 7, padding=1)),
          ]),
        (_set("conv1", _conv(2, 4, kernel=1, padding=4, stride=2)),
         "no network can hold this model: conv1: padding must be an integer from 0 to 0, not 4"),
    ],
)  # fmt: skip
def test_models_of_convolutions(change, text):
    _, model = small_conv_net()
    change(model)
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}"):
        lower(model, input=FeatureMap(8, 8, 2, UInt(8)))
