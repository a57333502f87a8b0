"""Parameters that a layer may have been made without, or with one value for all channels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.plain import FRAME, FRAMES, PAIRS, dyadic, frame_of, small_conv_net
from tests.random_models import model_of_any_form, random_model
from xnorflow.errors import LoweringError
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.nn.sign import RSign


NORMS = nn.BatchNorm1d | nn.BatchNorm2d
DYNAMIC = [method.value for method in ResidualMethod if method.dynamic]


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


@settings(max_examples=25)
@given(st.integers(0, 2**20))
def test_a_residual_network_equals_the_model(seed):
    check_residual(model_of_any_form(seed), seed)


@pytest.mark.parametrize("method", DYNAMIC)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_a_network_with_dynamic_thresholds_equals_the_model(method, seed):
    check_residual(random_model(seed, method=method), seed)


@pytest.mark.parametrize(("weight", "activation"), PAIRS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_a_perceptron_equals_the_model(weight, activation, seed):
    model = dyadic(weight, activation, seed)
    check(model, FRAME, FRAMES, without(model, seed))


@pytest.mark.parametrize("seed", range(5))
def test_a_convolutional_network_equals_the_model(seed):
    spec, model = small_conv_net()
    frame = frame_of(spec)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (50, *frame.shape), dtype=torch.uint8, generator=generator)
    check(model.double().eval(), frame, images, without(model, seed))


@pytest.mark.parametrize("part", ["stem.norm", "blocks.0.norm", "blocks.1.shortcut.norm", "norm"])
def test_a_norm_without_running_statistics_is_refused_by_name(part):
    case = random_model(0, method="adabin", shortcut="average")
    parent = case.plain.get_submodule(part.rpartition(".")[0])
    parent.norm = type(parent.norm)(parent.norm.num_features, track_running_stats=False)
    message = rf"^{part} .BatchNorm.d. has no running statistics: make it with track_running"
    with pytest.raises(LoweringError, match=message):
        lower(prepare(case.plain, case.grid, case.frame))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("momentum", [None, 0.3])
def test_a_prepared_norm_is_that_of_pytorch(affine, momentum):
    """In training and in evaluation, its statistics and, but for rounding, its outputs."""
    case = random_model(3, method="reactnet", shortcut="pad", blocks=[])
    case.plain.stem.norm = norm = nn.BatchNorm2d(4, affine=affine, momentum=momentum)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    plain = case.plain.double()
    prepared = prepare(plain, case.grid, case.frame)
    for training in (True, True, True, False):
        pixels = case.images(5).double().movedim(-1, 1)
        plain.train(training)(pixels)
        prepared.train(training)(pixels)
        for name, value in plain.stem.norm.state_dict().items():
            found = prepared.state_dict()[f"stem.norm.{name}"]
            torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-9)
