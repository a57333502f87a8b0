"""Lowering of convolutional chains: the bits are PyTorch's in float64, every one."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xnorflow.errors import LoweringError
from xnorflow.ir import BinaryConv, Gate, IntegerConv, MaxPool, Threshold, xnf
from xnorflow.sw import exact
from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset, fetch, is_fetched, load
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.chain import Chain, ChainConfig, ConvConfig, Method, Named
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManWeight


METHODS = [Method.SIGN, Method.ADABIN, Method.SIMAN]


def random_config(rng, method):
    """Any chain of one to three convolutions on a small image."""
    input_shape = tuple(int(side) for side in (*rng.integers(3, 9, 2), rng.integers(1, 4)))
    height, width, channels = input_shape
    convolutions = []
    for _ in range(rng.integers(1, 4)):
        kernel = int(rng.choice([k for k in (1, 3, 5) if k <= min(height, width) + 1]))
        layer = ConvConfig(
            int(rng.integers(2, 7)),
            kernel,
            stride=int(rng.integers(1, 3)),
            padding=int(rng.integers(min(1, kernel - 1), kernel)),
        )
        height, width = layer.infer(height, width)
        if min(height, width) > 1 and rng.random() < 0.5:
            layer = replace(layer, pool=2)
            height, width = height // 2, width // 2
        convolutions.append(layer)
    integers = IntegerPixels(
        tuple(rng.random(channels)), tuple(rng.uniform(0.1, 1, channels)), int(rng.integers(1, 9))
    )
    return ChainConfig(
        tuple(int(size) for size in rng.integers(2, 6, rng.integers(0, 2))),
        method,
        input_shape,
        int(rng.integers(2, 5)),
        tuple(convolutions),
        Border.LOWER if rng.random() < 0.3 else Border.ZERO,
        integers if rng.random() < 0.5 else None,
        int(rng.choice([1, 4])),
    )


def random_frames(rng, config, count):
    return torch.tensor(rng.integers(0, 256, (count, *config.input_shape), np.uint8))


@torch.no_grad()
def wild(config, rng):
    """A model whose thresholds lie where its sums are, with some of everything that is unusual."""
    torch.manual_seed(int(rng.integers(1 << 31)))
    model = Chain(config)
    for layer in model.layers:
        if isinstance(getattr(layer, "activation_quantiser", None), AdaBinActivation):
            layer.activation_quantiser.alpha.fill_(rng.normal() + rng.choice([-1, 1]))
            layer.activation_quantiser.beta.fill_(rng.normal() / 2)
        elif isinstance(layer, BinaryConv2d) and isinstance(layer.activation_quantiser, Sign):
            layer.activation_quantiser = RSign(layer.weight.shape[1])
            layer.activation_quantiser.bias.normal_()
        if isinstance(getattr(layer, "weight_quantiser", None), AdaBinWeight):
            layer.weight.add_(torch.randn(len(layer.weight), *[1] * (layer.weight.ndim - 1)) / 9)
        if layer is not model.layers[-1] and rng.random() < 0.3:
            layer.weight[0] = 0  # so its scale is 0, or nearly
    for norm in model.norms:
        norm.weight.copy_(torch.tensor(rng.choice([-1, -0.3, 0, 0.5, 1, 2], norm.num_features)))
        norm.bias.normal_()
        norm.bias.mul_(torch.tensor(rng.choice([0, 0.5, 1, 1e3, 1e-30], norm.num_features)))
    model(random_frames(rng, config, 40))  # statistics
    for norm in model.norms:
        norm.running_mean.mul_(torch.tensor(rng.choice([0.9, 1, 1.3, 50], norm.num_features)))
    return model.double().eval()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=90)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_chains_equal_pytorch(method, seed):
    rng = np.random.default_rng(seed)
    config = random_config(rng, method)
    model = wild(config, rng)
    report = compare(model, lower(model), random_frames(rng, config, 8))
    assert report.differing == 0, f"{config}: {report}"


@torch.no_grad()
def dyadic(method, rng, **options):
    """A model whose float64 arithmetic is exact, and in which values often meet a threshold."""
    layers = (ConvConfig(4, 3, padding=1, pool=2), ConvConfig(6, 3, stride=2, padding=1))
    config = ChainConfig((4,), method, (6, 6, 2), 3, layers, **options)
    model = Chain(config).double().eval()
    for layer in model.layers:
        filters = len(layer.weight)
        rows = rng.permuted(np.resize([1.0, -1.0], (filters, layer.weight[0].numel())), axis=1)
        if method is Method.ADABIN:
            # Half of a filter is 1 above its mean, and half 1 below: the deviation is 1.
            rows += rng.integers(-2, 3, (filters, 1)) / 4
        layer.weight.copy_(torch.tensor(rows).reshape(layer.weight.shape))
        if isinstance(layer.weight_quantiser, SiManWeight):
            layer.weight.normal_()
            layer.weight_quantiser.log_scale.zero_()
        if isinstance(layer.activation_quantiser, AdaBinActivation):
            layer.activation_quantiser.alpha.fill_(rng.choice([-2.0, 0.5, 1.0]))
            layer.activation_quantiser.beta.fill_(rng.integers(-3, 4) / 2)
    for norm in model.norms:
        norm.eps = 0.0
        for values in (norm.weight, norm.bias, norm.running_mean):
            values.copy_(torch.tensor(rng.integers(-6, 7, values.shape) / 2))
        norm.running_var.copy_(torch.tensor(4.0 ** rng.integers(-1, 2, norm.running_var.shape)))
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("border", Border)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_exact_ties_are_those_of_pytorch(method, border, seed):
    rng = np.random.default_rng(seed)
    model = dyadic(method, rng, border=border)
    report = compare(model, lower(model), random_frames(rng, model.config, 20))
    assert report.differing == 0, str(report)


def test_ties_do_happen():
    """The test above is about them."""
    rng = np.random.default_rng(0)
    for method in METHODS:
        ties = 0
        for _ in range(5):
            model = dyadic(method, rng)
            _, *inputs, _ = model.trace(random_frames(rng, model.config, 20))
            for layer, x in zip(model.layers[1:], inputs, strict=True):
                ties += int((layer.activation_quantiser.distance(x) == 0).sum())
        assert ties > 100


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "config",
    [
        Named.CNV.config(input_shape=(32, 32, 3), width=1 / 8),
        Named.VGG_SMALL.config(input_shape=(32, 32, 3), width=1 / 16),
        ChainConfig(
            (16,),
            input_shape=(32, 32, 3),
            convolutions=(ConvConfig(8, 5, 2, 2), ConvConfig(16, 5, 2, 1, 2)),
        ),
    ],
    ids=["cnv", "vgg-small", "5x5 stride 2"],
)
def test_named_chains_equal_pytorch_on_images(mnist, method, config):
    """On MNIST's digits in colours, so that the test needs no larger data set."""
    rng = np.random.default_rng(0)
    digits = torch.nn.functional.pad(mnist.test_images[:200], (0, 0, 2, 2, 2, 2))
    colours = torch.tensor(rng.integers(0, 256, (2, 200, 1, 1, 3)))
    frames = (digits * colours[0] + (255 - digits) * colours[1]) // 255
    config = replace(config, method=method)
    if config != Named.CNV.config(method, input_shape=(32, 32, 3), width=1 / 8):
        config = replace(config, pixels=IntegerPixels(*Dataset.CIFAR10.normalisation))
    torch.manual_seed(1)
    model = Chain(config)
    with torch.no_grad():
        for batch in frames.split(50):
            model(batch)
        for norm in model.norms:
            norm.weight.normal_()
            norm.bias.normal_()
    frames = frames.to(torch.uint8)
    network = lower(model)
    report = compare(model, network, frames)
    assert report.differing == 0, str(report)
    padded = any(layer.padding for layer in config.convolutions)
    assert padded == any(
        isinstance(node, Threshold) and node.classes is not None for node in network.nodes
    )


@pytest.mark.slow
@pytest.mark.parametrize("named", [Named.CNV, Named.VGG_SMALL])
@pytest.mark.parametrize("method", METHODS)
def test_named_chains_equal_pytorch_on_cifar10(named, method):
    if not is_fetched(Dataset.CIFAR10):
        fetch(Dataset.CIFAR10)
    images = load(Dataset.CIFAR10).test_images[:1000]
    torch.manual_seed(1)
    pixels = IntegerPixels(*Dataset.CIFAR10.normalisation)
    model = Chain(named.config(method, input_shape=(32, 32, 3), pixels=pixels, width=1 / 8))
    with torch.no_grad():
        model(images[:200])
        for norm in model.norms:
            norm.weight.normal_()
            norm.bias.normal_()
    report = compare(model, lower(model), images)
    assert report.differing == 0, str(report)


# -- the form of the network ----------------------------------------------------------------------


def small(**options):
    torch.manual_seed(0)
    layers = (ConvConfig(4, padding=1, pool=2), ConvConfig(6, padding=1))
    config = ChainConfig((5,), input_shape=(8, 8, 2), classes=3, convolutions=layers)
    model = Chain(replace(config, **options))
    with torch.no_grad():
        for norm in model.norms:
            norm.weight.normal_()
            norm.bias.normal_()
    return model


PIXELS = IntegerPixels((0.5, 0.25), (0.3, 0.2))


def test_shapes_and_names():
    network = lower(small())
    assert {name: x.shape for name, x in network.maps.items()} == {
        "input": (8, 8, 2),
        "input_bits": (8, 8, 2),
        "conv1": (8, 8, 4),
        "act1": (8, 8, 4),
        "pool1": (4, 4, 4),
        "conv2": (4, 4, 6),
        "act2": (4, 4, 6),
        "fc1": (1, 1, 5),
        "act3": (1, 1, 5),
        "fc2": (1, 1, 3),
        "scores": (1, 1, 3),
        "label": (1, 1, 1),
    }


def nodes_of(network, kind):
    return [node for node in network.nodes if isinstance(node, kind)]


def test_integers_in_the_first_and_the_last_layer():
    network = lower(small(pixels=PIXELS, score_bits=5))
    first, last = nodes_of(network, IntegerConv)
    assert (first.name, first.source, first.weight_bits) == ("conv1", "input", 8)
    assert (last.name, last.weight_bits) == ("fc2", 5)
    assert "input_bits" not in network.maps


@pytest.mark.parametrize("method", METHODS)
def test_the_lower_level_has_one_border_class(method):
    for border, several in ((Border.ZERO, True), (Border.LOWER, False)):
        network = lower(small(border=border, method=method))
        acts = [node for node in nodes_of(network, Threshold) if node.name in ("act1", "act2")]
        assert [node.classes is not None for node in acts] == [several] * 2
        assert [node.padding for node in nodes_of(network, BinaryConv)] == [1, 1, 0, 0]


def test_border_classes_are_merged():
    """Constant channels have the same threshold in all windows."""
    model = small()
    with torch.no_grad():
        model.norms[0].weight.zero_()
    _, first, second, _ = nodes_of(lower(model), Threshold)
    assert first.classes is None
    assert second.classes is not None


def test_pools_follow_the_sign_of_the_batch_norm():
    gains = torch.tensor([1.0, -1.0, 0.5, -2.0])
    for turned in (1, -1):
        model = small(method=Method.ADABIN)
        with torch.no_grad():
            model.norms[0].weight.copy_(gains)
            model.layers[1].activation_quantiser.alpha.mul_(turned)
        (pool,) = nodes_of(lower(model), MaxPool)
        assert pool.inverted.tolist() == (gains * turned < 0).tolist()
    with torch.no_grad():
        model.norms[0].weight.fill_(-1)
    (pool,) = nodes_of(lower(model), MaxPool)
    assert pool.inverted is None


def test_gates():
    for method, gate, popcount in (
        (Method.SIGN, Gate.XNOR, False),
        (Method.ADABIN, Gate.XNOR, True),
        (Method.SIMAN, Gate.AND, False),
    ):
        convolutions = nodes_of(lower(small(method=method)), BinaryConv)
        assert {(node.gate, node.popcount) for node in convolutions} == {(gate, popcount)}


def test_scores_of_integer_weights_are_dot_products():
    """Up to one positive factor: Σ q·(2u − 1)."""
    model = small(score_bits=8).eval()
    network = lower(model)
    frames = random_frames(np.random.default_rng(0), model.config, 5)
    result = golden(network, frames, keep=["act3"])
    last = model.double().layers[-1]
    code, _ = last.weight_quantiser.encode(last.weight)
    expected = (2 * result.maps["act3"].flatten(1).double() - 1) @ code.T
    ratio = Fraction(int(result.scores[0, 0]), int(expected[0, 0]))
    assert ratio > 0
    assert result.scores.tolist() == (expected * float(ratio)).tolist()


def test_is_deterministic():
    assert xnf.dumps(lower(small())) == xnf.dumps(lower(small()))


def test_a_wrong_border_constant_does_not_pass(monkeypatch):
    """What the tests above compare depends on the constants of the border classes."""
    model = small()
    frames = random_frames(np.random.default_rng(0), model.config, 20)
    borders = exact.find_borders

    def without_corner(*args, **options):
        found = borders(*args, **options)
        inside = found.inside.copy()
        inside[0] = True
        return exact.Borders(found.classes, inside)

    monkeypatch.setattr(exact, "find_borders", without_corner)
    assert compare(model, lower(model), frames).differing > 0


# -- what cannot be lowered -----------------------------------------------------------------------


def _put(index, layer):
    def change(model):
        model.layers[index] = layer

    return change


def _conv(channels, filters, kernel=3, **options):
    return BinaryConv2d(channels, filters, kernel, SignWeight(), Sign(), **options)


def _pixel_conv(channels):
    ones = (0.5,) * channels
    return IntegerConv2d(channels, 6, 3, mean=ones, deviation=ones, padding=1)


def _norm(index, norm):
    def change(model):
        model.norms[index] = norm

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_put(0, nn.Conv2d(2, 4, 3)),
         "conv1 must be a BinaryConv2d or IntegerConv2d, not a Conv2d"),
        (_put(1, _pixel_conv(4)), "conv2 must be a BinaryConv2d, not a IntegerConv2d"),
        (_put(1, BinaryLinear(4, 6, SignWeight(), Sign())),
         "conv2 must be a BinaryConv2d, not a BinaryLinear"),
        (_put(2, _conv(6, 5)), "fc1 must be a BinaryLinear, not a BinaryConv2d"),
        (_put(3, nn.Linear(5, 3)), "fc2 must be a BinaryLinear or IntegerLinear, not a Linear"),
        (_put(1, _conv(3, 6)),
         "conv2 takes maps of 3 channels and at least 3×3 pixels, padding included, but it gets "
         "one of 4×4×4"),
        (_put(1, _conv(4, 6, kernel=7, padding=1)),
         "conv2 takes maps of 4 channels and at least 7×7 pixels, padding included, but it gets "
         "one of 4×4×4"),
        (_put(2, BinaryLinear(95, 5, SignWeight(), Sign())),
         "fc1 takes 95 values, but it gets a map of 4×4×6"),
        (_put(2, BinaryLinear(96, 5, SignWeight(), RSign(96))),
         "conv2 has 6 outputs, but 96 thresholds follow it"),
        (_put(1, _conv(4, 6, padding=1, bias=True)),
         "conv2 has a bias, for which a chain has no place"),
        (_put(1, _conv(4, 7, padding=1)),
         "conv2 has 7 outputs, but the batch normalisation after it 6"),
        (_put(1, _conv(4, 6, padding=3)),
         "no network can hold this model: conv2: padding must be an integer from 0 to 2, not 3"),
        (_norm(1, nn.Identity()),
         "a batch normalisation must follow conv2, not a Identity"),
    ],
)  # fmt: skip
def test_refuses(change, text):
    model = small()
    change(model)
    with pytest.raises(LoweringError, match=rf"^{re.escape(text)}$"):
        lower(model)
