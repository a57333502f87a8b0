"""Plain models on a grid: the integers of the form that they had before, and of their network."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import REPEATING, random_model
from xnorflow.ir import ArgMax, FeatureMap, Network, UInt
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.lowering.grid import grid_nodes
from xnorflow.sw.models.former import load_residual_state
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.nn.shortcuts import Shortcut
from xnorflow.sw.nn.siman import SiManWeight
from xnorflow.sw.residual_config import StemConfig, UnitForm


def frames(shape, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def network_of(prepared):
    """Network of a prepared model in float64."""
    nodes = grid_nodes(copy.deepcopy(prepared).double())
    labels = tuple(map(str, range(nodes[-1].scale.size)))
    label = ArgMax("label", "scores")
    return Network("n", prepared.meta["frame"], (*nodes, label), labels)


def plain_of(model):
    """The plain form of a `Residual`, and what its frames are."""
    with torch.no_grad():
        for module in [model.stem_slopes, *(unit.slopes for unit in model.units)]:
            if module is not None and model.config.method is not ResidualMethod.ADABIN:
                module.positive.fill_(1)
        if model.stem_slopes is not None and model.config.method is not ResidualMethod.ADABIN:
            model.stem_slopes.negative.zero_()
    plain = load_residual_state(model.config, model.state_dict())
    return plain, FeatureMap(*model.config.input_shape, UInt(8))


FORMS = (
    {"shortcut": Shortcut.PAD},
    {"shortcut": Shortcut.AVERAGE},
    {"shortcut": Shortcut.REPEAT, "units": REPEATING},
    {"shortcut": Shortcut.BINARY},
    {"shortcut": Shortcut.BINARY, "form": UnitForm.CLASSIC},
    {"shortcut": Shortcut.PAD, "form": UnitForm.CLASSIC},
    {"stem": StemConfig(4, 5, 2, activated=False, pooled=True), "shortcut": Shortcut.PAD},
)
CASES = [
    (method, form)
    for method in ResidualMethod
    for form in FORMS
    if not (method.dynamic and ("form" in form or form["shortcut"] is Shortcut.BINARY))
]


@pytest.mark.parametrize(("method", "form"), CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_plain_models_are_what_residual_models_were(method, form, seed):
    """On and off the grid, and lowered: names aside, the very same nodes."""
    old = random_model(seed, method=method, **form | {"input_shape": (8, 8, 3)}).double()
    plain, frame = plain_of(old)
    x = frames(frame.shape, 10, seed)
    with torch.no_grad():
        pixels = x.double().movedim(-1, 1)
        torch.testing.assert_close(plain(pixels), old.on_grid(None)(x))
        prepared = prepare(plain, old.grid, frame)
        assert prepared.state_dict().keys() == plain.state_dict().keys()
        assert torch.equal(prepared(pixels), old(x))
    new, before = network_of(prepared), lower(old)
    assert torch.equal(golden(new, x).scores, golden(before, x).scores)
    assert [*map(type, new.nodes)] == [*map(type, before.nodes)]
    for node, other in zip(new.nodes, before.nodes, strict=True):
        for name, value in vars(node).items():
            if name not in ("name", "source", "other", "parameters"):
                np.testing.assert_equal(value, vars(other)[name], err_msg=node.name)


@pytest.mark.parametrize(("method", "form"), CASES)
def test_gradients_are_those_of_residual_models(method, form):
    """Where hyper functions read a shift that is deferred, it has one more gradient."""
    old = random_model(3, method=method, **form | {"input_shape": (8, 8, 3)}).double()
    hyper = method in (ResidualMethod.DYBNN, ResidualMethod.DYBNN_APART)
    with torch.no_grad():
        for name, parameter in old.named_parameters():
            if hyper and name.endswith("after"):
                parameter.zero_()
    plain, frame = plain_of(old)
    new = prepare(plain, old.grid, frame)
    x = frames(frame.shape, 8)
    norms = []
    for model, inputs in ((old, x), (new, x.double().movedim(-1, 1))):
        model.train()
        for module in model.modules():
            if isinstance(module, SiManWeight):
                module.eval()
        logits = model(inputs)
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        norms.append(
            sorted(
                float(parameter.grad.norm())
                for name, parameter in model.named_parameters()
                if parameter.grad is not None
                if not (hyper and name.endswith("after"))
            )
        )
    np.testing.assert_allclose(*norms, rtol=1e-6, atol=1e-12)
