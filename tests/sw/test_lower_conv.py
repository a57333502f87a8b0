"""Lowering of models of convolutions: the bits are PyTorch's in float64, every one."""

from dataclasses import astuple, replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plain import frame_of, layers_of, norms_of, randomise_norms, small_conv_net, ties_of
from xnorflow.ir import BinaryConv, FeatureMap, Gate, IntegerConv, MaxPool, Threshold, UInt, xnf
from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset, fetch, is_fetched, load, values_of
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.lowering import windows
from xnorflow.sw.lowering.borders import Borders
from xnorflow.sw.models.cnv import Conv
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, Border
from xnorflow.sw.nn.sign import RSign, Sign
from xnorflow.sw.nn.siman import SiManWeight


METHODS = ["sign", "adabin", "siman"]


def random_spec(rng, method):
    """Any model of one to three convolutions on a small image."""
    input_shape = tuple(int(side) for side in (*rng.integers(3, 9, 2), rng.integers(1, 4)))
    height, width, channels = input_shape
    convs = []
    for _ in range(rng.integers(1, 4)):
        kernel = int(rng.choice([k for k in (1, 3, 5) if k <= min(height, width) + 1]))
        conv = Conv(
            int(rng.integers(2, 7)),
            kernel,
            stride=int(rng.integers(1, 3)),
            padding=int(rng.integers(min(1, kernel - 1), kernel)),
        )
        height, width = conv.side(height), conv.side(width)
        if min(height, width) > 1 and rng.random() < 0.5:
            conv = replace(conv, pool=2)
            height, width = height // 2, width // 2
        convs.append(list(astuple(conv)))
    integers = IntegerPixels(
        tuple(rng.random(channels)), tuple(rng.uniform(0.1, 1, channels)), int(rng.integers(1, 9))
    )
    options = {
        "hidden": [int(size) for size in rng.integers(2, 6, rng.integers(0, 2))],
        "method": method,
        "convs": convs,
    }
    classes = int(rng.integers(2, 5))
    options["border"] = (Border.LOWER if rng.random() < 0.3 else Border.ZERO).value
    pixels = integers if rng.random() < 0.5 else None
    options["score_bits"] = int(rng.choice([1, 4]))
    rows, columns, channels = input_shape
    return ModelSpec("conv-net", Task((channels, rows, columns), classes, pixels), options)


def random_frames(rng, spec, count):
    return torch.tensor(rng.integers(0, 256, (count, *frame_of(spec).shape), np.uint8))


def report_of(spec, model, frames):
    return compare(model, lower(model, input=frame_of(spec)), frames)


@torch.no_grad()
def wild(spec, rng):
    """A model whose thresholds lie where its sums are, with some of everything that is unusual."""
    torch.manual_seed(int(rng.integers(1 << 31)))
    model = spec.build()
    layers, norms = layers_of(model), norms_of(model)
    for layer in layers:
        if isinstance(getattr(layer, "activation_quantiser", None), AdaBinActivation):
            layer.activation_quantiser.alpha.fill_(rng.normal() + rng.choice([-1, 1]))
            layer.activation_quantiser.beta.fill_(rng.normal() / 2)
        elif isinstance(layer, BinaryConv2d) and isinstance(layer.activation_quantiser, Sign):
            layer.activation_quantiser = RSign(layer.weight.shape[1])
            layer.activation_quantiser.bias.normal_()
        if isinstance(getattr(layer, "weight_quantiser", None), AdaBinWeight):
            layer.weight.add_(torch.randn(len(layer.weight), *[1] * (layer.weight.ndim - 1)) / 9)
        if layer is not layers[-1] and rng.random() < 0.3:
            layer.weight[0] = 0  # so its scale is 0, or nearly
    for norm in norms:
        norm.weight.copy_(torch.tensor(rng.choice([-1, -0.3, 0, 0.5, 1, 2], norm.num_features)))
        norm.bias.normal_()
        norm.bias.mul_(torch.tensor(rng.choice([0, 0.5, 1, 1e3, 1e-30], norm.num_features)))
    model(values_of(random_frames(rng, spec, 40)))  # statistics
    for norm in norms:
        norm.running_mean.mul_(torch.tensor(rng.choice([0.9, 1, 1.3, 50], norm.num_features)))
    return model.double().eval()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_models_equal_pytorch(method, seed):
    rng = np.random.default_rng(seed)
    spec = random_spec(rng, method)
    model = wild(spec, rng)
    report = report_of(spec, model, random_frames(rng, spec, 8))
    assert report.differing == 0, f"{spec}: {report}"


@torch.no_grad()
def dyadic(method, rng, **options):
    """A model whose float64 arithmetic is exact, and in which values often meet a threshold."""
    options = {"convs": [[4, 3, 1, 1, 2], [6, 3, 2, 1]], "hidden": [4], **options}
    spec = ModelSpec("conv-net", Task((2, 6, 6), 3), {"method": method, **options})
    model = spec.build().double().eval()
    for layer in layers_of(model):
        filters = len(layer.weight)
        rows = rng.permuted(np.resize([1.0, -1.0], (filters, layer.weight[0].numel())), axis=1)
        if method == "adabin":
            # Half of a filter is 1 above its mean, and half 1 below: the deviation is 1.
            rows += rng.integers(-2, 3, (filters, 1)) / 4
        layer.weight.copy_(torch.tensor(rows).reshape(layer.weight.shape))
        if isinstance(layer.weight_quantiser, SiManWeight):
            layer.weight.normal_()
            layer.weight_quantiser.log_scale.zero_()
        if isinstance(layer.activation_quantiser, AdaBinActivation):
            layer.activation_quantiser.alpha.fill_(rng.choice([-2.0, 0.5, 1.0]))
            layer.activation_quantiser.beta.fill_(rng.integers(-3, 4) / 2)
    for norm in norms_of(model):
        norm.eps = 0.0
        for values in (norm.weight, norm.bias, norm.running_mean):
            values.copy_(torch.tensor(rng.integers(-6, 7, values.shape) / 2))
        norm.running_var.copy_(torch.tensor(4.0 ** rng.integers(-1, 2, norm.running_var.shape)))
    return spec, model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("border", Border)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_exact_ties_are_those_of_pytorch(method, border, seed):
    rng = np.random.default_rng(seed)
    spec, model = dyadic(method, rng, border=border.value)
    report = report_of(spec, model, random_frames(rng, spec, 20))
    assert report.differing == 0, str(report)


def test_ties_do_happen():
    """The test above is about them."""
    rng = np.random.default_rng(0)
    for method in METHODS:
        ties = 0
        for _ in range(5):
            spec, model = dyadic(method, rng)
            ties += ties_of(model, frame_of(spec), random_frames(rng, spec, 20))
        assert ties > 100


def padded(digits):
    """Digits of 32×32 pixels in colours, so that no larger data set is needed."""
    rng = np.random.default_rng(0)
    digits = torch.nn.functional.pad(digits, (0, 0, 2, 2, 2, 2))
    colours = torch.tensor(rng.integers(0, 256, (2, len(digits), 1, 1, 3)))
    return ((digits * colours[0] + (255 - digits) * colours[1]) // 255).to(torch.uint8)


def statistics(dataset):
    return IntegerPixels(*dataset.normalisation)


def check_trained(spec, images, batch):
    """Compare a model whose batch norms have seen the images."""
    torch.manual_seed(1)
    model = spec.build()
    with torch.no_grad():
        for each in images.split(batch):
            model(values_of(each))
    randomise_norms(model)
    network = lower(model, input=frame_of(spec))
    report = compare(model, network, images)
    assert report.differing == 0, str(report)
    return network


NAMED = [
    ("conv-s", {}, None),
    ("conv-m", {}, Dataset.MNIST),
    ("cnv", {"width": 1 / 8}, None),
    ("cnv", {"width": 1 / 8}, Dataset.CIFAR10),
    ("vgg-small", {"width": 1 / 16}, Dataset.CIFAR10),
    ("conv-net", {"hidden": [16], "convs": [[8, 5, 2, 2], [16, 5, 2, 1, 2]]}, Dataset.CIFAR10),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "options", "dataset"), NAMED)
def test_models_equal_pytorch_on_images(mnist, method, name, options, dataset):
    images = mnist.test_images[:200]
    if name not in ("conv-s", "conv-m"):
        images = padded(images)
    _, height, width, channels = images.shape
    task = Task((channels, height, width), 10, dataset and statistics(dataset))
    network = check_trained(ModelSpec(name, task, {"method": method, **options}), images, 50)
    assert (name not in ("conv-s", "cnv")) == any(
        isinstance(node, Threshold) and node.classes is not None for node in network.nodes
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnv", "vgg-small"])
@pytest.mark.parametrize("method", METHODS)
def test_models_equal_pytorch_on_cifar10(name, method):
    if not is_fetched(Dataset.CIFAR10):
        fetch(Dataset.CIFAR10)
    images = load(Dataset.CIFAR10).test_images[:1000]
    task = Task((3, 32, 32), 10, statistics(Dataset.CIFAR10))
    check_trained(ModelSpec(name, task, {"method": method, "width": 1 / 8}), images, 200)


# -- the form of the network ----------------------------------------------------------------------


def small(**options):
    return small_conv_net(**options)[1]


def network_of(model):
    return lower(model, input=FeatureMap(8, 8, 2, UInt(8)))


PIXELS = IntegerPixels((0.5, 0.25), (0.3, 0.2))


def test_shapes_and_names():
    network = network_of(small())
    assert {name: x.shape for name, x in network.maps.items()} == {
        "input": (8, 8, 2),
        "conv1_bits": (8, 8, 2),
        "conv1": (8, 8, 4),
        "conv2_bits_threshold": (8, 8, 4),
        "conv2_bits": (4, 4, 4),
        "conv2": (4, 4, 6),
        "fc1_bits": (4, 4, 6),
        "fc1": (1, 1, 5),
        "fc2_bits": (1, 1, 5),
        "fc2": (1, 1, 3),
        "scores": (1, 1, 3),
        "label": (1, 1, 1),
    }


def nodes_of(network, kind):
    return [node for node in network.nodes if isinstance(node, kind)]


def test_integers_in_the_first_and_the_last_layer():
    network = network_of(small(pixels=PIXELS, score_bits=5))
    first, last = nodes_of(network, IntegerConv)
    assert (first.name, first.source, first.weight_bits) == ("conv1", "input", 8)
    assert (last.name, last.weight_bits) == ("fc2", 5)
    assert "conv1_bits" not in network.maps


BEHIND = "conv2_bits_threshold", "fc1_bits"
"""Thresholds of the sums of both convolutions."""


@pytest.mark.parametrize("method", METHODS)
def test_the_lower_level_has_one_border_class(method):
    for border, several in ((Border.ZERO, True), (Border.LOWER, False)):
        network = network_of(small(border=border.value, method=method))
        acts = [node for node in nodes_of(network, Threshold) if node.name in BEHIND]
        assert [node.classes is not None for node in acts] == [several] * 2
        assert [node.padding for node in nodes_of(network, BinaryConv)] == [1, 1, 0, 0]


def test_border_classes_are_merged():
    """Constant channels have the same threshold in all windows."""
    model = small()
    with torch.no_grad():
        model.norm1.weight.zero_()
    _, first, second, _ = nodes_of(network_of(model), Threshold)
    assert first.classes is None
    assert second.classes is not None


def test_pools_follow_the_sign_of_the_batch_norm():
    gains = torch.tensor([1.0, -1.0, 0.5, -2.0])
    for turned in (1, -1):
        model = small(method="adabin")
        with torch.no_grad():
            model.norm1.weight.copy_(gains)
            model.conv2.activation_quantiser.alpha.mul_(turned)
        (pool,) = nodes_of(network_of(model), MaxPool)
        assert pool.inverted.tolist() == (gains * turned < 0).tolist()
    with torch.no_grad():
        model.norm1.weight.fill_(-1)
    (pool,) = nodes_of(network_of(model), MaxPool)
    assert pool.inverted is None


def test_gates():
    for method, gate, popcount in (
        ("sign", Gate.XNOR, False),
        ("adabin", Gate.XNOR, True),
        ("siman", Gate.AND, False),
    ):
        convolutions = nodes_of(network_of(small(method=method)), BinaryConv)
        assert {(node.gate, node.popcount) for node in convolutions} == {(gate, popcount)}


def test_scores_of_integer_weights_are_dot_products():
    """Up to one positive factor: Σ q·(2u − 1)."""
    spec, model = small_conv_net(score_bits=8)
    network = network_of(model)
    frames = random_frames(np.random.default_rng(0), spec, 5)
    result = golden(network, frames, keep=["fc2_bits"])
    last = model.double().fc2
    code, _ = last.weight_quantiser.encode(last.weight)
    expected = (2 * result.maps["fc2_bits"].flatten(1).double() - 1) @ code.T
    ratio = Fraction(int(result.scores[0, 0]), int(expected[0, 0]))
    assert ratio > 0
    assert result.scores.tolist() == (expected * float(ratio)).tolist()


def test_is_deterministic():
    assert xnf.dumps(network_of(small())) == xnf.dumps(network_of(small()))


def test_a_wrong_border_constant_does_not_pass(monkeypatch):
    """What the tests above compare depends on the constants of the border classes."""
    spec, model = small_conv_net()
    frames = random_frames(np.random.default_rng(0), spec, 20)
    borders = windows.find_borders

    def without_corner(*args, **options):
        found = borders(*args, **options)
        inside = found.inside.copy()
        inside[0] = True
        return Borders(found.classes, inside)

    monkeypatch.setattr(windows, "find_borders", without_corner)
    assert report_of(spec, model, frames).differing > 0
