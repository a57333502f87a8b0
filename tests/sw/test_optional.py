"""Parameters that a layer may have been made without, or with one value for all channels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.plain import FRAME, FRAMES, PAIRS, dyadic, frame_of, small_conv_net
from tests.strategies import model_of_any_form, random_model
from xnorflow.errors import LoweringError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.nn.conv import IntegerConv2d
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.sign import RSign


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
        elif isinstance(module, nn.PReLU):
            change(name, module, "weight", one)
        elif isinstance(module, RSign):
            change(name, module, "bias", one)
    return changed


def check(model, frame, images, changed):
    report = compare(model, lower(model, input=frame), images)
    assert report.differing == 0, f"{report} without {changed}"


def check_residual(case, seed):
    changed = without(case.plain, seed)
    check(case.model, None, case.images(20, seed), changed)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_residual_networks_equal_their_models(seed):
    check_residual(model_of_any_form(seed), seed)


@pytest.mark.parametrize("method", DYNAMIC)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_networks_with_thresholds_of_the_frame_equal_their_models(method, seed):
    check_residual(random_model(seed, method=method.value), seed)


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_perceptrons_equal_their_models(weight, activation, seed):
    model = dyadic(weight, activation, seed)
    check(model, FRAME, FRAMES, without(model, seed))


@pytest.mark.parametrize("seed", range(5))
def test_networks_of_convolutions_equal_their_models(seed):
    spec, model = small_conv_net()
    frame = frame_of(spec)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (50, *frame.shape), dtype=torch.uint8, generator=generator)
    changed = without(model, seed)
    check(model.double().eval(), frame, images, changed)


@pytest.mark.parametrize("part", ["stem.norm", "blocks.0.norm", "blocks.1.shortcut.norm", "norm"])
def test_norms_without_running_statistics_are_refused_by_name(part):
    case = random_model(0, method="adabin", shortcut="average")
    parent, _, name = part.rpartition(".")
    norm = case.plain.get_submodule(part)
    other = type(norm)(norm.num_features, track_running_stats=False)
    setattr(case.plain.get_submodule(parent), name, other)
    message = rf"^{part} .*has no running statistics: make it with track_running_stats=True$"
    with pytest.raises(LoweringError, match=message):
        lower(case.model)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("momentum", [None, 0.3])
def test_norms_are_those_of_pytorch(affine, tracked, momentum):
    """On a grid, too: in training and in evaluation, outputs and statistics."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, affine=affine, track_running_stats=tracked, momentum=momentum)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    conv = IntegerConv2d(2, 4, 3, mean=(0.4, 0.5), deviation=(0.2, 0.3), padding=1)
    plain = nn.Sequential(conv, norm, nn.Flatten(), nn.Linear(144, 3)).double()
    grid = Grid(24, 14, 12, 16)
    prepared = prepare(plain, grid, FeatureMap(6, 6, 2, UInt(8)))
    for training in (True, True, True, False):
        plain.train(training)
        prepared.train(training)
        pixels = torch.randint(0, 256, (5, 2, 6, 6)).double()
        torch.testing.assert_close(prepared(pixels), plain(pixels), rtol=1e-3, atol=1e-3)
    if tracked:
        found = prepared.get_submodule("1")
        assert found is not norm
        torch.testing.assert_close(found.running_mean, norm.running_mean)
        torch.testing.assert_close(found.running_var, norm.running_var)
