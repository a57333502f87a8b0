"""Parameters that a layer may have been made without, or with one value for all channels."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.strategies import model_of_any_form, random_model
from tests.sw.test_lower import FRAMES, PAIRS, dyadic
from tests.sw.test_lower_conv import small
from tests.sw.test_residual import frames
from xnorflow.errors import LoweringError
from xnorflow.sw.compare import compare
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.conv import IntegerConv2d
from xnorflow.sw.nn.normed import NormedPixelConv
from xnorflow.sw.nn.sign import RSign
from xnorflow.sw.nn.slopes import TwoSlope
from xnorflow.sw.nn.unit import Shortcut
from xnorflow.sw.residual_config import ResidualMethod


NORMS = nn.BatchNorm1d | nn.BatchNorm2d
DYNAMIC = [method for method in ResidualMethod if method.dynamic]


def without(model, seed):
    """Leave out, in place, what layers of PyTorch can be made without; gives what was."""
    rng = np.random.default_rng([seed, 3])
    changed = []

    def change(name, module, part, value):
        if getattr(module, part) is not None and rng.random() < 0.5:
            setattr(module, part, value(getattr(module, part)))
            changed.append(f"{name}.{part}")

    def one(parameter):
        return nn.Parameter(parameter.detach()[:1].clone())

    for name, module in model.named_modules():
        if isinstance(module, NORMS):
            for part in ("weight", "bias", "momentum"):
                change(name, module, part, lambda _: None)
        elif isinstance(module, nn.Linear):
            change(name, module, "bias", lambda _: None)
        elif isinstance(module, TwoSlope):
            for part in ("positive", "negative", "before", "after"):
                change(name, module, part, one)
            for part in ("before", "after"):
                change(name, module, part, lambda _: None)
        elif isinstance(module, RSign):
            change(name, module, "bias", one)
    return changed


def check(model, images, changed):
    report = compare(model, lower(model), images)
    assert report.differing == 0, f"{report} without {changed}"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_a_residual_network_equals_the_model(seed):
    model = model_of_any_form(seed)
    check(model, frames(model, 20, seed), without(model, seed))


@pytest.mark.parametrize("method", DYNAMIC)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_a_network_with_thresholds_of_the_frame_equals_the_model(method, seed):
    model = random_model(seed, method=method)
    check(model, frames(model, 20, seed), without(model, seed))


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_a_chain_equals_the_model(weight, activation, seed):
    model = dyadic(weight, activation, seed)
    check(model, FRAMES, without(model, seed))


@pytest.mark.parametrize("seed", range(5))
def test_a_convolutional_chain_equals_the_model(seed):
    model = small()
    images = torch.randint(
        0, 256, (50, *model.config.input_shape), dtype=torch.uint8,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    check(model.double().eval(), images, without(model, seed))


@pytest.mark.parametrize(
    "part", ["stem.norm", "units.0.conv.norm", "units.1.pointwise.norm", "classifier.norm"]
)
def test_a_norm_without_running_statistics_is_refused_by_name(part):
    model = random_model(0, method=ResidualMethod.ADABIN, shortcut=Shortcut.AVERAGE)
    parent = model.get_submodule(part.rpartition(".")[0])
    parent.norm = type(parent.norm)(parent.norm.num_features, track_running_stats=False)
    assert model(frames(model, 2)).shape == (2, 3)
    message = rf"^{part} has no running statistics: make it with track_running_stats=True$"
    with pytest.raises(LoweringError, match=message):
        lower(model)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("momentum", [None, 0.3])
def test_a_norm_is_that_of_pytorch(affine, tracked, momentum):
    """In training and in evaluation, outputs and statistics."""
    torch.manual_seed(0)
    conv = IntegerConv2d(2, 4, 3, mean=(0.4, 0.5), deviation=(0.2, 0.3))
    normed = NormedPixelConv(conv)
    normed.norm = nn.BatchNorm2d(4, affine=affine, track_running_stats=tracked, momentum=momentum)
    if affine:
        nn.init.normal_(normed.norm.weight)
        nn.init.normal_(normed.norm.bias)
    normed = normed.double()
    norm = copy.deepcopy(normed.norm)
    for training in (True, True, True, False):
        normed.train(training)
        norm.train(training)
        pixels = torch.randint(0, 256, (5, 2, 6, 6)).double()
        expected = norm(conv(pixels))
        torch.testing.assert_close(normed(pixels, None), expected, rtol=1e-9, atol=1e-9)
    if tracked:
        torch.testing.assert_close(normed.norm.running_mean, norm.running_mean)
        torch.testing.assert_close(normed.norm.running_var, norm.running_var)
