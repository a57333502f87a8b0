import copy
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.strategies import PIXELS, REPEATING, UNITS, model_of_any_form, random_model
from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import (
    Affine,
    BinaryConv,
    Concat,
    Gate,
    GlobalSum,
    HalvingMaxPool,
    Int,
    Threshold,
    TwoSlope,
)
from xnorflow.sw.compare import compare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.grid import Grid, hardtanh, place
from xnorflow.sw.nn.slopes import maxout, prelu, relu, rprelu
from xnorflow.sw.nn.unit import Shortcut, Stream
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import (
    ResidualConfig,
    ResidualMethod,
    StemConfig,
    UnitConfig,
    UnitForm,
)
from xnorflow.sw.residual_names import NamedResidual


def frames(model, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = count, *model.config.input_shape
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


# -- the grid -------------------------------------------------------------------------------------


def test_grid_rounds_ties_up_and_clips():
    grid = Grid(bits=4, fraction=2)
    values = torch.tensor([-1.5, -0.5, 0.49, 0.5, 1.5, 100.0, -100.0])
    assert grid.round_to_grid(values.clone()).tolist() == [-0.25, 0, 0, 0.25, 0.5, 1.75, -2]


def test_place_has_the_value_of_one_and_the_gradient_of_the_other():
    smooth = torch.tensor([1.0, 2.0], requires_grad=True)
    placed = place(3 * smooth, torch.tensor([5.0, 6.0]))
    placed.sum().backward()
    assert placed.tolist() == [5.0, 6.0]
    assert smooth.grad.tolist() == [3.0, 3.0]


def test_hardtanh_takes_all_values_of_few_bits():
    x = torch.arange(-80, 80, dtype=torch.float64, requires_grad=True)
    y = hardtanh(x / 16, Grid(bits=8, fraction=4))
    assert (y * 16).tolist() == [min(max(n, -16), 15) for n in range(-80, 80)]
    y.sum().backward()
    assert (x.grad != 0).tolist() == [-16 <= n <= 15 for n in range(-80, 80)]
    assert torch.equal(hardtanh(x / 16, None), functional.hardtanh(x / 16))
    # A stream that is narrower anyway stays as it is.
    assert Grid(bits=3, fraction=4).within_one() == Grid(bits=3, fraction=4)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"bits": 1}, "the bits of the residual stream must be from 2 to 24, not 1"),
        ({"fraction": 17}, "the fractional bits of the residual stream must be from 0 to 16"),
        ({"slope_fraction": -1}, "the fractional bits of slopes must be from 0 to 12, not -1"),
        ({"score_bits": 17}, "the bits of the classifier's weights must be from 2 to 16, not 17"),
    ],
)
def test_refuses_a_grid_out_of_range(values, text):
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}"):
        Grid(**values)


# -- two slopes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [maxout, prelu, relu, rprelu])
def test_slopes_are_what_they_are_called(make):
    torch.manual_seed(0)
    function = make(3).double()
    with torch.no_grad():
        function.negative.mul_(torch.tensor([1.0, -2.0, 0.0]))
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    p, n = (
        slope.detach().clone().requires_grad_() for slope in (function.positive, function.negative)
    )
    plain = x.detach().clone().requires_grad_()
    expected = torch.where(plain >= 0, p[:, None, None], n[:, None, None]) * plain
    factors = torch.randn_like(expected)
    y = function(x, None)
    torch.testing.assert_close(y, expected)
    (y * factors).sum().backward()
    (expected * factors).sum().backward()
    torch.testing.assert_close(x.grad, plain.grad)
    if function.negative.requires_grad:
        torch.testing.assert_close(function.negative.grad, n.grad)
    if function.positive.requires_grad:
        torch.testing.assert_close(function.positive.grad, p.grad)


def test_slopes_on_a_grid_are_integers():
    function, grid = maxout(2).double(), Grid(bits=8, fraction=3, slope_fraction=2)
    with torch.no_grad():
        function.positive.copy_(torch.tensor([0.6, -1.4]))
        function.negative.copy_(torch.tensor([1.9, 0.13]))
    x = torch.arange(-128, 128, dtype=torch.float64).expand(1, 2, 1, 256) / 8
    y = (function(x, grid) * 8).to(torch.int64)[0, :, 0]
    for channel, (p, n) in enumerate(((2, 8), (-6, 1))):
        for value, found in zip(range(-128, 128), y[channel].tolist(), strict=True):
            product = (p if value >= 0 else n) * value
            assert found == min(max((product + 2) >> 2, -128), 127)


# -- convolution and batch norm -------------------------------------------------------------------


@pytest.mark.parametrize("method", ResidualMethod)
@pytest.mark.parametrize("training", [False, True])
def test_off_the_grid_it_is_convolution_and_batch_norm(method, training):
    """Values and gradients are those of the two layers behind each other."""
    model = random_model(3, method=method, grid=None, shortcut=Shortcut.PAD).double()
    unit = model.units[1].train(training)
    unit.conv.norm.eps = 1e-12
    # SiMaN's clips the weights in training, each time anew.
    unit.conv.conv.weight_quantiser.eval()
    x = torch.randn(3, 4, 6, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64)
    y = unit.conv(x, unit.conv.quantise(), bias, None, None)
    quantiser = unit.conv.conv.activation_quantiser
    inputs = [unit.conv.conv.weight, x, *quantiser.parameters()]
    gradients = torch.autograd.grad((y * y.detach().cos()).sum(), inputs)
    shifted = x + bias[:, None, None]
    expected = unit.conv.norm(unit.conv.conv(shifted))
    torch.testing.assert_close(y, expected)
    expected_gradients = torch.autograd.grad((expected * expected.detach().cos()).sum(), inputs)
    if training:
        # The factor that batch normalisation undoes has no gradient of its own, but for its eps.
        for found, other in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(found, other)


def test_batch_norm_keeps_its_statistics():
    unit = random_model(1, grid=Grid(), shortcut=Shortcut.PAD).double().train().units[0]
    unit.conv.conv.weight_quantiser.eval()
    norm = copy.deepcopy(unit.conv.norm)
    x = torch.randn(5, 4, 4, 4, dtype=torch.float64)
    unit.conv(x, unit.conv.quantise(), None, None, Grid())
    norm(unit.conv.conv(x))
    torch.testing.assert_close(unit.conv.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(unit.conv.norm.running_var, norm.running_var)


def test_the_classifier_is_exact_among_bfloat16_products():
    model = random_model(4, grid=Grid(16, 8))
    x = Stream(torch.randn(5, 12, 2, 2).mul_(20).round_() / 256)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        logits = model.classifier(x, model.grid)
    with torch.no_grad():
        expected = copy.deepcopy(model.classifier).double()(Stream(x.value.double()), model.grid)
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=1e-5)


def test_rprelu_defers_its_shift():
    """A model with shifts is one in which each is added where it is written."""
    model = random_model(5, method=ResidualMethod.REACTNET, grid=None).double()
    logits = model(frames(model, 4))
    x = frames(model, 4).double().permute(0, 3, 1, 2)
    x = model.stem.norm(model.stem.conv(x)).clamp_min(0) * model.stem_slopes.positive[:, None, None]
    x = (
        x
        + torch.minimum(
            model.stem.norm(model.stem.conv(frames(model, 4).double().permute(0, 3, 1, 2))),
            torch.zeros(()),
        )
        * model.stem_slopes.negative[:, None, None]
    )
    for unit in model.units:
        y = unit.conv.norm(unit.conv.conv(x))
        around = x
        if unit.pointwise is not None:
            around = functional.avg_pool2d(around, unit.stride) if unit.stride > 1 else around
            code, scale = unit.pointwise.weight_quantiser.encode(unit.pointwise.weight)
            weight = (code * scale[:, None])[:, :, None, None]
            around = unit.pointwise.norm(functional.conv2d(around, weight))
        else:
            around = around[:, :, :: unit.stride, :: unit.stride]
            half = unit.extra // 2
            around = functional.pad(around, (0, 0, 0, 0, half, unit.extra - half))
        t = y + around + unit.slopes.before[:, None, None]
        p, n = unit.slopes.positive[:, None, None], unit.slopes.negative[:, None, None]
        x = torch.where(t >= 0, p * t, n * t) + unit.slopes.after[:, None, None]
    head = model.classifier
    torch.testing.assert_close(logits, head.dense(head.norm(x.mean(dim=(2, 3)))))


def real_model(seed, **changes):
    """Random floating-point model in float64, and frames for it."""
    model = random_model(seed, grid=None, **changes).double()
    return model, frames(model, 4)


def entry_of(model, pixels):
    """What a first layer without two slopes delivers, by PyTorch's own layers."""
    return model.stem.norm(model.stem.conv(pixels.double().permute(0, 3, 1, 2)))


def bent(slopes, x):
    """Two slopes, as they are written."""
    p, n = slopes.positive[:, None, None], slopes.negative[:, None, None]
    return torch.where(x >= 0, p * x, n * x)


def test_classic_units_are_two_convolutions_with_hardtanh():
    options = {"form": UnitForm.CLASSIC, "shortcut": Shortcut.BINARY}
    model, pixels = real_model(6, stem=StemConfig(4, activated=False), **options)
    x = entry_of(model, pixels)
    for unit in model.units:
        convolutions = unit.first, unit.conv, unit.projection
        first, conv, projection = (part and (part.conv, part.norm) for part in convolutions)
        around = x if projection is None else projection[1](projection[0](x))
        y = functional.hardtanh(first[1](first[0](x)))
        x = functional.hardtanh(conv[1](conv[0](y)) + around)
    assert [unit.projection is None for unit in model.units] == [True, False, True, False]
    head = model.classifier
    torch.testing.assert_close(model(pixels), head.dense(head.norm(x.mean(dim=(2, 3)))))


def test_repeating_channels_is_two_convolutions_side_by_side():
    """ReActNet-A's, each with its own batch norm and the same shortcut, behind the same signs."""
    model, pixels = real_model(
        8,
        method=ResidualMethod.REACTNET,
        stem=StemConfig(4, activated=False),
        units=(UnitConfig(4, stride=2), UnitConfig(8, kernel=1)),
        shortcut=Shortcut.REPEAT,
    )
    x = entry_of(model, pixels)
    for unit in model.units:
        signs = unit.conv.conv.activation_quantiser(x)
        around = functional.avg_pool2d(x, 2) if unit.stride == 2 else x
        halves = []
        for part in torch.arange(len(unit.conv.norm.weight)).split(4):
            weight = unit.conv.conv.weight[part]
            scale = weight.abs().mean(dim=(1, 2, 3), keepdim=True)
            weight = scale * torch.where(weight >= 0, 1.0, -1.0)
            y = functional.conv2d(signs, weight, stride=unit.stride, padding=unit.conv.conv.padding)
            norm = unit.conv.norm
            statistics = norm.running_mean[part], norm.running_var[part]
            y = functional.batch_norm(y, *statistics, norm.weight[part], norm.bias[part])
            halves.append(y + around)
        t = torch.cat(halves, dim=1) + unit.slopes.before[:, None, None]
        x = bent(unit.slopes, t) + unit.slopes.after[:, None, None]
    head = model.classifier
    torch.testing.assert_close(model(pixels), head.dense(head.norm(x.mean(dim=(2, 3)))))


def test_a_first_layer_for_large_images():
    model, pixels = real_model(
        9,
        method=ResidualMethod.SIMAN,
        stem=StemConfig(4, 7, stride=2, pooled=True),
        units=(),
        input_shape=(13, 10, 3),
    )
    x = bent(model.stem_slopes, entry_of(model, pixels))
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    assert x.shape == (4, 4, 4, 3)
    torch.testing.assert_close(model.enter(pixels).value, x)


def test_a_fine_grid_is_nearly_none():
    for seed in range(8):
        model = random_model(seed, grid=Grid(24, 14, 12, 16))
        on, off = model.double(), model.on_grid(None).double()
        x = frames(model, 20)
        with torch.no_grad():
            error = (on(x) - off(x)).abs().median()
            assert error < 0.05 * off(x).abs().mean()


FORMS = (
    {"shortcut": Shortcut.AVERAGE},
    {"shortcut": Shortcut.BINARY, "form": UnitForm.CLASSIC},
    {"shortcut": Shortcut.REPEAT, "units": REPEATING},
    {"stem": StemConfig(4, pooled=True), "shortcut": Shortcut.PAD},
)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (method, changes)
        for method in ResidualMethod
        for changes in FORMS
        if not (method.dynamic and "form" in changes)
    ],
)
def test_gradients_reach_every_parameter(method, changes):
    torch.manual_seed(0)
    options = {"stem": StemConfig(4), "units": UNITS, "input_shape": (16, 16, 3), "grid": Grid()}
    model = Residual(ResidualConfig(method, pixels=PIXELS, **options | changes)).train()
    for name, parameter in model.named_parameters():
        if name.endswith("excite.weight"):  # as long as it is 0, nothing in front of it learns
            torch.nn.init.normal_(parameter, std=0.1)
    logits = model(frames(model, 16))
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name


# -- lowering -------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**20))
def test_network_equals_the_model(seed):
    """Every bit, every value of the residual stream, and the labels."""
    model = model_of_any_form(seed)
    report = compare(model, lower(model), frames(model, 20, seed))
    assert report.differing == 0, str(report)


def test_scores_are_logits_times_one_factor():
    model = random_model(11)
    scores = golden(lower(model), frames(model, 30)).scores.double()
    with torch.no_grad():
        logits = model.double()(frames(model, 30))
    factor = (scores * logits).sum() / (logits * logits).sum()
    assert factor > 0
    torch.testing.assert_close(scores, logits * factor)


@pytest.mark.parametrize(
    ("method", "gate", "popcount"),
    [
        (ResidualMethod.ADABIN, Gate.XNOR, True),
        (ResidualMethod.SIMAN, Gate.AND, False),
        (ResidualMethod.SIMAN_BIPOLAR, Gate.XNOR, False),
        (ResidualMethod.REACTNET, Gate.XNOR, False),
    ],
)
def test_each_method_has_its_gate(method, gate, popcount):
    nodes = lower(random_model(0, method=method)).nodes
    convolutions = [node for node in nodes if isinstance(node, BinaryConv)]
    assert {(node.gate, node.popcount) for node in convolutions} == {(gate, popcount)}


def test_hardtanh_costs_no_node():
    """It is a stream of fewer bits."""
    stem = StemConfig(4, activated=False)
    options = {"form": UnitForm.CLASSIC, "shortcut": Shortcut.BINARY, "grid": Grid(14, 5)}
    network = lower(random_model(0, stem=stem, **options))
    types = {name: x.type for name, x in network.maps.items()}
    assert types["stem_norm"] == types["unit2_norm"] == types["unit2_short_norm"] == Int(14, 5)
    assert types["unit2_first_norm"] == types["unit1_add"] == types["unit2_add"] == Int(6, 5)
    assert not any(isinstance(node, TwoSlope) for node in network.nodes)


def test_repeating_channels_costs_no_convolution():
    options = {"units": REPEATING, "shortcut": Shortcut.REPEAT, "input_shape": (4, 4, 3)}
    network = lower(random_model(0, **options))
    assert sum(isinstance(node, BinaryConv) for node in network.nodes) == 4
    joins = [node for node in network.nodes if isinstance(node, Concat)]
    assert [node.name for node in joins] == ["unit2_short", "unit4_short"]
    assert all(node.source == node.other for node in joins)


def test_the_first_layer_is_pooled():
    network = lower(random_model(0, stem=StemConfig(4, 7, 2, pooled=True), input_shape=(16, 8, 3)))
    (pool,) = (node for node in network.nodes if isinstance(node, HalvingMaxPool))
    assert (pool.name, pool.source) == ("stem_pool", "stem_act")
    assert network.maps["stem_pool"].shape == (4, 2, 4)


def test_border_classes_are_found():
    """Zero padding makes 9 kinds of windows of a 3×3 kernel, 4 where the stride is 2."""
    nodes = lower(random_model(0, method=ResidualMethod.ADABIN, input_shape=(8, 8, 3))).nodes
    classes = {
        node.name: len(node.offset) for node in nodes if getattr(node, "classes", None) is not None
    }
    assert classes["stem_norm"] == classes["unit1_norm"] == 9
    assert classes["unit2_norm"] == 4
    assert "unit3_norm" not in classes


@pytest.mark.parametrize("name", ["unit1_bits", "unit2_norm", "unit2_act"])
def test_differences_are_found(name):
    """A comparison that cannot fail would show nothing."""
    model = random_model(7, method=ResidualMethod.REACTNET, shortcut=Shortcut.PAD, grid=Grid(16, 6))
    network = lower(model)

    def changed(node):
        match node:
            case Threshold():
                return replace(node, thresholds=node.thresholds + 3)
            case Affine():
                return replace(node, offset=node.offset + (1 << node.rounding.shift))
            case TwoSlope():
                return replace(node, negative=node.negative + 300)

    nodes = tuple(changed(node) if node.name == name else node for node in network.nodes)
    report = compare(model, replace(network, nodes=nodes), frames(model, 20))
    first = next(layer for layer in report.layers if layer.differing)
    assert first.name == name


def test_refuses_a_model_without_a_grid():
    text = "a residual model can be lowered only if it computes on a fixed-point grid"
    with pytest.raises(LoweringError, match=rf"^{text}: .*on_grid\(Grid\(bits=16, fraction=8\)\)"):
        lower(random_model(0, grid=None))


# -- configurations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "units", "weights"),
    [
        (NamedResidual.RESNET20, 18, 267_264),
        (NamedResidual.RESNET18, 16, 10_985_472),
        # With two convolutions a unit, and 1 × 1 ones in three shortcuts.
        (NamedResidual.RESNET18_CLASSIC, 8, 10_985_472 + 172_032),
        (NamedResidual.RESNET18_IMAGENET, 16, 10_985_472),
        (NamedResidual.RESNET8, 6, 73_728),
        (NamedResidual.REACTNET_A, 26, 28_253_184),
        (NamedResidual.REACTNET_A_IMAGENET, 26, 28_253_184),
    ],
)
def test_named_models(named, units, weights):
    config = named.config(named.method, PIXELS)
    with torch.device("meta"):
        model = Residual(config)
    assert len(config.units) == len(model.units) == units
    binary = [part for part in model.modules() if isinstance(part, BinaryConv2d)]
    assert sum(conv.weight.numel() for conv in binary) == weights


@pytest.mark.parametrize(
    ("named", "last"),
    [
        (NamedResidual.RESNET18, (4, 4, 512)),
        (NamedResidual.RESNET18_CLASSIC, (4, 4, 512)),
        (NamedResidual.RESNET18_IMAGENET, (7, 7, 512)),
        (NamedResidual.REACTNET_A, (2, 2, 1024)),
        pytest.param(NamedResidual.REACTNET_A_IMAGENET, (7, 7, 1024), marks=pytest.mark.slow),
    ],
)
def test_named_models_are_lowered_at_their_size(named, last):
    """With ImageNet's 1,000 classes, which need the widest scores."""
    side = 224 if named.imagenet else 32
    config = named.config(
        named.method, PIXELS, input_shape=(side, side, 3), classes=1000, grid=named.grid
    )
    torch.manual_seed(0)
    model = Residual(config)
    network = lower(model)
    (sums,) = (node for node in network.nodes if isinstance(node, GlobalSum))
    assert network.maps[sums.source].shape == last
    report = compare(model, network, frames(model, 1))
    assert report.differing == 0, str(report)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"units": (UnitConfig(2),)}, "a unit must not have fewer channels than the one before it"),
        ({"input_shape": (3, 3)}, "an input must have a height, a width and channels, not (3, 3)"),
        ({"input_shape": (4, 4, 1)}, "mean and deviation must have 1 channels, not 3 and 3"),
        (
            {"input_shape": (1024, 1024, 3)},
            "an input must have at most 1048576 values, not 3145728",
        ),
        ({"classes": 1}, "there must be 2 to 4096 classes, not 1"),
        (
            {"input_shape": (5, 4, 3), "shortcut": Shortcut.AVERAGE},
            "a map of 5×4 has no means of 2×2 pixels",
        ),
        (
            {"stem": StemConfig(4, stride=2, pooled=True), "shortcut": Shortcut.AVERAGE},
            "a map of 1×1 has no means of 2×2 pixels",
        ),
        (
            {"shortcut": Shortcut.REPEAT},
            "a shortcut that repeats channels makes them twice as many, not 6 of 4",
        ),
        (
            {"form": UnitForm.CLASSIC, "grid": Grid(8, 0)},
            "hardtanh needs fractional bits, and the grid has none",
        ),
    ],
)
def test_refuses_configurations(change, text):
    options = {
        "stem": StemConfig(4),
        "units": UNITS,
        "input_shape": (4, 4, 3),
        "classes": 3,
    } | change
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}"):
        ResidualConfig(ResidualMethod.ADABIN, pixels=PIXELS, **options)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"channels": 0}, "the channels of a unit must be from 1 to 4096, not 0"),
        ({"channels": 4, "stride": 3}, "the stride of a unit must be 1 or 2, not 3"),
        ({"channels": 4, "kernel": 2}, "a kernel's side must be 1, 3, 5 or 7, not 2"),
    ],
)
def test_refuses_units(values, text):
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}$"):
        UnitConfig(**values)
    with pytest.raises(NetworkError, match=rf"^{re.escape(text.replace('unit', 'first layer'))}$"):
        StemConfig(**values)
