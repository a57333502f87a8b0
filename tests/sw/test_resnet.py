"""Residual models in floating point: each layer as its source has it, written out."""

import re

import pytest
import torch
from torch.nn import functional

from tests.random_models import BLOCKS, REPEATING, random_model
from tests.residuals import PIXELS
from xnorflow.errors import NetworkError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.grid import Grid


def plain(seed, **changes):
    """Random floating-point model in float64, and pixels for it."""
    case = random_model(seed, **changes)
    return case.plain.double(), case.images(4).double().movedim(-1, 1)


def along_channels(values):
    return values[:, None, None]


def bent(act, x):
    """Two slopes, as they are written."""
    t = x + along_channels(act.before)
    return torch.where(t >= 0, t, along_channels(act.weight) * t) + along_channels(act.after)


def logits_of(model, x):
    return model.fc(model.norm(x.mean(dim=(2, 3))))


def test_reactnets_blocks_have_a_shortcut_and_rprelu():
    model, pixels = plain(5, method="reactnet", shortcut="average", shape=(4, 8, 3))
    x = model.stem.norm(model.stem.conv(pixels)).clamp_min(0)
    for block in model.blocks:
        around = x
        if hasattr(block.shortcut, "pool"):
            around = functional.avg_pool2d(around, 2)
        if hasattr(block.shortcut, "conv"):
            code, scale = block.shortcut.conv.encode()
            weight = code * scale[:, None, None, None]
            around = block.shortcut.norm(functional.conv2d(around, weight))
        x = bent(block.act, block.norm(block.conv(x)) + around)
    torch.testing.assert_close(model(pixels), logits_of(model, x))


def test_classic_blocks_are_two_convolutions_with_hardtanh():
    model, pixels = plain(
        6, first={"channels": 4, "activated": False}, classic=True, shortcut="binary"
    )
    x = model.stem.norm(model.stem.conv(pixels))
    for block in model.blocks:
        identity = isinstance(block.shortcut, torch.nn.Identity)
        around = x if identity else block.shortcut.norm(block.shortcut.conv(x))
        y = functional.hardtanh(block.norm1(block.conv1(x)))
        x = functional.hardtanh(block.norm2(block.conv2(y)) + around)
    torch.testing.assert_close(model(pixels), logits_of(model, x))


def test_repeating_channels_is_two_convolutions_side_by_side():
    """ReActNet-A's, each with its own batch norm and the same shortcut, behind the same signs."""
    model, pixels = plain(
        8,
        method="reactnet",
        first={"channels": 4, "activated": False},
        blocks=[[4, 2, 3], [8, 1, 1]],
        shortcut="repeat",
        shape=(6, 8, 3),
    )
    x = model.stem.norm(model.stem.conv(pixels))
    for block, stride in zip(model.blocks, (2, 1), strict=True):
        signs = block.conv.activation_quantiser(x)
        around = functional.avg_pool2d(x, 2) if stride == 2 else x
        halves = []
        for part in torch.arange(len(block.norm.weight)).split(4):
            weight = block.conv.weight[part]
            scale = weight.abs().mean(dim=(1, 2, 3), keepdim=True)
            weight = scale * torch.where(weight >= 0, 1.0, -1.0)
            y = functional.conv2d(signs, weight, stride=stride, padding=block.conv.padding)
            norm = block.norm
            statistics = norm.running_mean[part], norm.running_var[part]
            y = functional.batch_norm(y, *statistics, norm.weight[part], norm.bias[part])
            halves.append(y + around)
        x = bent(block.act, torch.cat(halves, dim=1))
    torch.testing.assert_close(model(pixels), logits_of(model, x))


def test_a_first_layer_for_large_images():
    first = {"channels": 4, "kernel": 7, "stride": 2, "pooled": True}
    model, pixels = plain(9, method="siman", first=first, blocks=[], shape=(13, 10, 3))
    x = model.stem.norm(model.stem.conv(pixels)).clamp_min(0)
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    assert x.shape == (4, 4, 4, 3)
    torch.testing.assert_close(model.stem(pixels), x)


FORMS = (
    {"shortcut": "average"},
    {"shortcut": "binary", "classic": True},
    {"shortcut": "repeat", "blocks": REPEATING},
    {"first": {"channels": 4, "pooled": True}, "shortcut": "pad"},
)


@pytest.mark.parametrize("on_grid", [False, True])
@pytest.mark.parametrize(
    ("method", "form"),
    [
        (method, form)
        for method in ResidualMethod
        for form in FORMS
        if not (method.dynamic and "classic" in form)
    ],
)
def test_gradients_reach_every_parameter(method, form, on_grid):
    torch.manual_seed(0)
    options = {"first": {"channels": 4}, "method": method.value, "blocks": BLOCKS} | form
    model = ModelSpec("residual", Task((3, 16, 16), 3, PIXELS), options).build()
    for name, parameter in model.named_parameters():
        if name.endswith("excite.weight"):  # as long as it is 0, nothing in front of it learns
            torch.nn.init.normal_(parameter, std=0.1)
    if on_grid:
        model = prepare(model, Grid(), FeatureMap(16, 16, 3, UInt(8)))
    logits = model.train()(torch.randint(0, 256, (16, 3, 16, 16)).float())
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name


@pytest.mark.parametrize(
    ("name", "blocks", "weights"),
    [
        ("resnet20", 18, 267_264),
        ("resnet18", 16, 10_985_472),
        # With two convolutions a block, and 1 × 1 ones in three shortcuts.
        ("resnet18-classic", 8, 10_985_472 + 172_032),
        ("resnet18-imagenet", 16, 10_985_472),
        ("resnet8", 6, 73_728),
        ("reactnet-a", 26, 28_253_184),
        ("reactnet-a-imagenet", 26, 28_253_184),
    ],
)
def test_named_models(name, blocks, weights):
    with torch.device("meta"):
        model = ModelSpec(name, Task((3, 32, 32), 10, PIXELS)).build()
    assert len(model.blocks) == blocks
    binary = [part for part in model.modules() if isinstance(part, BinaryConv2d)]
    assert sum(conv.weight.numel() for conv in binary) == weights


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"blocks": [[2, 1, 3]]}, "a block must not have fewer channels than the one before it"),
        ({"blocks": [[4, 3, 3]]}, "the stride of a block must be 1 or 2, not 3"),
        ({"blocks": [[4, 1, 2]]}, "a kernel's side must be 1, 3, 5 or 7, not 2"),
        ({"blocks": [[0, 1, 3]]}, "filters must be an integer of at least 1, not 0"),
        ({"blocks": [[4, 1]]}, "a block must have channels, a stride and a kernel, not [4, 1]"),
        ({"first": {"channels": 4, "kernel": 2}}, "a kernel's side must be 1, 3, 5 or 7, not 2"),
        ({"first": {"channels": 4, "stride": 3}}, "the stride of a first layer must be 1 or 2"),
        ({"first": {"channel": 4}}, "a first layer cannot be made of these options: "),
        ({"shortcut": "repeat"}, "a shortcut that repeats channels makes them twice as many"),
        (
            {"shortcut": "sideways"},
            "'sideways' is not a shortcut: choose from pad, average, repeat, binary",
        ),
        ({"method": "siman-mean", "classic": True}, "siman-mean is for blocks of one convolution"),
    ],
)
def test_refuses_options(change, text):
    options = {"first": {"channels": 4}, "blocks": BLOCKS} | change
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}"):
        ModelSpec("residual", Task((3, 8, 8), 3, PIXELS), options).build()
