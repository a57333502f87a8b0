"""Residual models on a grid, and the networks that they are lowered to."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_models import REPEATING, model_of_any_form, random_model
from tests.residuals import PIXELS, residual_case
from xnorflow.errors import LoweringError
from xnorflow.ir import (
    Affine,
    BinaryConv,
    Concat,
    FeatureMap,
    Gate,
    GlobalSum,
    Int,
    MaxPool,
    Threshold,
    TwoSlope,
    UInt,
)
from xnorflow.sw.compare import compare
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid


@settings(max_examples=30)
@given(st.integers(0, 2**20))
def test_network_equals_the_model(seed):
    """Every bit, every value of the residual stream, and the labels."""
    case = model_of_any_form(seed)
    report = compare(case.model, lower(case.model), case.images(20, seed))
    assert report.differing == 0, str(report)


def test_scores_are_logits_times_one_factor():
    case = random_model(11)
    model, images = case.model, case.images(30)
    scores = golden(lower(model), images).scores.double()
    with torch.no_grad():
        logits = model.double()(images.double().movedim(-1, 1))
    factor = (scores * logits).sum() / (logits * logits).sum()
    assert factor > 0
    torch.testing.assert_close(scores, logits * factor)


def test_a_fine_grid_is_nearly_none():
    for seed in range(8):
        case = random_model(seed, grid=Grid(24, 14, 12, 16))
        x = case.images(20).double().movedim(-1, 1)
        on, off = case.model.double(), case.plain.double()
        with torch.no_grad():
            error = (on(x) - off(x)).abs().median()
            assert error < 0.05 * off(x).abs().mean()


def test_logits_are_exact_among_bfloat16_products():
    """Mixed precision is for products of bits: the last layer computes as without it."""
    case = random_model(4, grid=Grid(16, 8))
    images = case.images(5).float().movedim(-1, 1)
    with torch.no_grad():
        expected = case.model(images)
        with torch.autocast("cpu", torch.bfloat16):
            logits = case.model(images)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "gate", "popcount"),
    [
        ("adabin", Gate.XNOR, True),
        ("siman", Gate.AND, False),
        ("siman-bipolar", Gate.XNOR, False),
        ("reactnet", Gate.XNOR, False),
    ],
)
def test_each_method_has_its_gate(method, gate, popcount):
    nodes = lower(random_model(8, method=method, shortcut="pad").model).nodes
    convolutions = [node for node in nodes if isinstance(node, BinaryConv)]
    assert {(node.gate, node.popcount) for node in convolutions} == {(gate, popcount)}


def test_hardtanh_costs_no_node():
    """It is a stream of fewer bits."""
    first = {"channels": 4, "activated": False}
    options = {"classic": True, "shortcut": "binary", "grid": Grid(14, 5), "method": "siman"}
    network = lower(random_model(0, first=first, **options).model)
    types = {name: x.type for name, x in network.maps.items()}
    wide = "stem_norm", "blocks_1_norm2", "blocks_1_shortcut_norm"
    assert {types[name] for name in wide} == {Int(14, 5)}
    narrow = "blocks_1_norm1", "blocks_0_add", "blocks_1_add"
    assert {types[name] for name in narrow} == {Int(6, 5)}
    assert not any(isinstance(node, TwoSlope) for node in network.nodes)


def test_repeating_channels_costs_no_convolution():
    network = lower(random_model(0, blocks=REPEATING, shortcut="repeat", shape=(4, 4, 3)).model)
    assert sum(isinstance(node, BinaryConv) for node in network.nodes) == 4
    joins = [node for node in network.nodes if isinstance(node, Concat)]
    assert [node.name for node in joins] == [f"blocks_{n}_shortcut_repeat" for n in (1, 3)]
    assert all(node.source == node.other for node in joins)


def test_the_first_layer_is_pooled():
    first = {"channels": 4, "kernel": 7, "stride": 2, "pooled": True}
    network = lower(random_model(0, first=first, shape=(16, 8, 3)).model)
    (pool,) = (node for node in network.nodes if isinstance(node, MaxPool))
    assert (pool.name, pool.source) == ("stem_pool", "stem_act")
    assert network.maps["stem_pool"].shape == (4, 2, 4)


def test_border_classes_are_found():
    """Zero padding makes 9 kinds of windows of a 3×3 kernel, 4 where the stride is 2."""
    nodes = lower(random_model(0, method="adabin", shape=(8, 8, 3)).model).nodes
    classes = {
        node.name: len(node.offset) for node in nodes if getattr(node, "classes", None) is not None
    }
    assert classes["stem_norm"] == classes["blocks_0_norm"] == 9
    assert classes["blocks_1_norm"] == 4
    assert "blocks_2_norm" not in classes


@pytest.mark.parametrize("name", ["blocks_0_conv_bits", "blocks_1_norm", "blocks_1_act"])
def test_differences_are_found(name):
    """A comparison that cannot fail would show nothing."""
    case = random_model(7, method="reactnet", shortcut="pad", grid=Grid(16, 6))
    network = lower(case.model)

    def changed(node):
        match node:
            case Threshold():
                return replace(node, thresholds=node.thresholds + 30)
            case Affine():
                return replace(node, offset=node.offset + (1 << node.rounding.shift))
            case TwoSlope():
                return replace(node, negative=node.negative + 300)

    nodes = tuple(changed(node) if node.name == name else node for node in network.nodes)
    report = compare(case.model, replace(network, nodes=nodes), case.images(20))
    first = next(layer for layer in report.layers if layer.differing)
    assert first.name == name


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"shape": (5, 4, 3), "blocks": [[4, 2, 3]], "shortcut": "average"},
            r"does not take frames of 3 channels and 5×4 pixels",
        ),
        (
            {"grid": Grid(8, 0), "blocks": [[4, 1, 3]], "classic": True, "shortcut": "binary"},
            r"blocks\.0\.act \(Hardtanh\) needs fractional bits, and the grid has none",
        ),
    ],
)
def test_refuses_what_has_no_place_on_the_grid(options, text):
    shape = {"shape": (4, 4, 3), "grid": Grid(), "first": {"channels": 4}}
    with pytest.raises(LoweringError, match=text):
        lower(residual_case(0, **shape | options).model)


def test_refuses_a_model_without_a_grid():
    case = random_model(0)
    with pytest.raises(LoweringError, match=r"must first be put on a fixed-point grid, by prepare"):
        lower(case.plain, input=case.frame)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("resnet18", (4, 4, 512)),
        ("resnet18-classic", (4, 4, 512)),
        ("resnet18-imagenet", (7, 7, 512)),
        ("reactnet-a", (2, 2, 1024)),
        pytest.param("reactnet-a-imagenet", (7, 7, 1024), marks=pytest.mark.slow),
    ],
)
def test_named_models_are_lowered_at_their_size(name, last):
    """With ImageNet's 1,000 classes, which need the widest scores."""
    side = 224 if name.endswith("imagenet") else 32
    torch.manual_seed(0)
    plain = ModelSpec(name, Task((3, side, side), 1000, PIXELS)).build().eval()
    bits = 15 if name.startswith("reactnet") else 16
    model = prepare(plain, Grid(bits), FeatureMap(side, side, 3, UInt(8)))
    network = lower(model)
    (sums,) = (node for node in network.nodes if isinstance(node, GlobalSum))
    assert network.maps[sums.source].shape == last
    images = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8)
    report = compare(model, network, images)
    assert report.differing == 0, str(report)


def test_refuses_scores_of_too_many_bits():
    """ReActNet-A's 1,024 channels leave a stream of 15 bits, not 16."""
    torch.manual_seed(0)
    spec = ModelSpec("reactnet-a", Task((3, 32, 32), 1000, PIXELS))
    model = prepare(spec.build().eval(), Grid(24), FeatureMap(32, 32, 3, UInt(8)))
    with pytest.raises(
        LoweringError, match=r"need 40 bits, more than 32; a grid of fewer bits may help$"
    ):
        lower(model)
