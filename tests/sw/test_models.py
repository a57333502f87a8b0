"""Models without shortcuts that have a name, and what they are made of."""

import re
from fractions import Fraction

import pytest
import torch
from torch import nn

from tests.plain import layers_of
from xnorflow.errors import NetworkError
from xnorflow.sw.models.blocks import Family
from xnorflow.sw.models.cnv import Conv, ConvNet
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.mlp import MLP
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import NAMED, Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.conv import Border, IntegerConv2d
from xnorflow.sw.nn.linear import IntegerLinear


PIXELS = IntegerPixels((0.3,), (0.4,))
COLOURED = Task((3, 32, 32), 10, IntegerPixels((0.5,) * 3, (0.5,) * 3))
DIGITS = Task((1, 28, 28), 10, PIXELS)
TWO_LEVELS = [method for method in Method if method is not Method.W1A2]
"""Methods whose activations are bits."""


def pixels(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 28, 28), generator=generator).float()


def perceptron(method=Method.SIGN, seed=1, classes=10):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        spec = ModelSpec(
            "mlp", Task((1, 28, 28), classes), {"hidden": [24, 16], "method": method.value}
        )
        return spec.build()


def conv_net(method, first=None, **options):
    torch.manual_seed(1)
    convs = {"convs": [[6, 3, 1, 1, 2], [4, 5, 2, 1]], "hidden": [7], "method": method.value}
    return ModelSpec("conv-net", Task((1, 28, 28), 5, first), convs | options).build()


def shapes(net):
    return [tuple(layer.weight.shape) for layer in layers_of(net)]


def last_but_one(net, x):
    """What the last layer gets."""
    *before, _ = net
    for layer in before:
        x = layer(x)
    return x


def test_all_models_have_names():
    assert set(NAMED) == {
        "tfc", "sfc", "lfc", "mlp", "conv-s", "conv-m", "cnv", "vgg-small", "conv-net", "resnet8",
        "resnet20", "resnet18", "resnet18-imagenet", "resnet18-classic", "reactnet-a",
        "reactnet-a-imagenet", "residual", "dscnn",
    }  # fmt: skip
    assert len(NAMED) == 18
    with pytest.raises(KeyError):
        NAMED["lenet"]


@pytest.mark.parametrize(("name", "neurons"), [("tfc", 64), ("sfc", 256), ("lfc", 1024)])
def test_widths(name, neurons):
    expected = [(neurons, 784), (neurons, neurons), (neurons, neurons), (10, neurons)]
    assert shapes(ModelSpec(name, DIGITS).build()) == expected


def test_cnv_is_that_of_finn():
    net = ModelSpec("cnv", COLOURED).build()
    assert shapes(net) == [
        (64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3),
        (256, 256, 3, 3), (512, 256), (512, 512), (10, 512),
    ]  # fmt: skip
    assert net.conv1.weight_quantiser.bits == 1
    sides, x = [], torch.zeros(2, 3, 32, 32)
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.BatchNorm2d):
            sides.append(x.shape[2])
    assert sides == [30, 14, 12, 5, 3, 1]


def test_vgg_small():
    net = ModelSpec("vgg-small", COLOURED, {"width": 1 / 8}).build()
    assert shapes(net) == [
        (16, 3, 3, 3), (16, 16, 3, 3), (32, 16, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3),
        (64, 64, 3, 3), (10, 1024),
    ]  # fmt: skip
    assert isinstance(net.conv1, IntegerConv2d)
    assert isinstance(net.fc1, IntegerLinear)
    assert net.fc1.weight_quantiser.bits == 8


def test_small_nets_fit_small_devices():
    assert shapes(ModelSpec("conv-s", DIGITS).build()) == [
        (16, 1, 5, 5), (32, 16, 3, 3), (64, 32, 3, 3), (10, 576),
    ]  # fmt: skip
    assert shapes(ModelSpec("conv-m", DIGITS).build()) == [
        (32, 1, 5, 5), (64, 32, 3, 3), (128, 64, 3, 3), (10, 6272),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["conv-s", "conv-m", "cnv", "vgg-small"])
def test_only_models_of_normalised_pixels_use_statistics(name):
    """Without statistics, all have a threshold; and so has one for the smallest FPGAs with them."""
    task = DIGITS if name.startswith("conv") else COLOURED
    for each, integers in ((task, name != "conv-s"), (Task(task.shape, 10), False)):
        net = ModelSpec(name, each, {"width": 0.125}).build()
        assert isinstance(net.conv1, IntegerConv2d) == integers
        assert ("conv1.activation_quantiser.level" in net.state_dict()) != integers


@pytest.mark.parametrize("method", Method)
def test_perceptrons_train_all_their_parameters(method):
    check_gradients(perceptron(method, classes=5))


@pytest.mark.parametrize("method", TWO_LEVELS)
@pytest.mark.parametrize("first", [None, PIXELS])
@pytest.mark.parametrize("border", Border)
def test_convolutions_train_all_their_parameters(method, first, border):
    check_gradients(conv_net(method, first, border=border.value, score_bits=4))


def check_gradients(net):
    logits = net(pixels(32))
    assert logits.shape == (32, 5)
    nn.functional.cross_entropy(logits, torch.arange(32) % 5).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("method", Method)
def test_is_deterministic_in_float64(method):
    net = perceptron(method).double().eval()
    frames = pixels(20).double()
    assert torch.equal(net(frames), net(frames))
    assert torch.equal(net(frames), torch.cat([net(frame[None]) for frame in frames]))
    assert net(frames).dtype == torch.float64


@pytest.mark.parametrize("method", TWO_LEVELS)
def test_scores_are_integers_up_to_one_factor(method):
    net = perceptron(method).double().eval()
    layer = net.fc3
    if method is Method.ADABIN:
        with torch.no_grad():
            layer.activation_quantiser.alpha.fill_(0.7)
            layer.activation_quantiser.beta.fill_(0.33)
    activation = layer.activation_quantiser.levels()
    weight = layer.weight_quantiser.levels(layer.weight)
    assert len(set(weight.scale_squared)) == 1

    frames = pixels(20).double()
    bits = layer.activation_quantiser.distance(last_but_one(net, frames)) >= 0
    # The scores in units of α·Δa, by the definition of the levels.
    offset = activation.low / activation.step
    scores = [
        [
            sum(
                (offset + int(u)) * (2 * int(v) - 1 + Fraction(int(rho), 2**weight.fraction))
                for u, v in zip(row, bits_of_filter, strict=True)
            )
            for bits_of_filter, rho in zip(weight.bits, weight.centres, strict=True)
        ]
        for row in bits
    ]
    assert all((score * 2**13).denominator == 1 for row in scores for score in row)
    logits = net(frames)
    factor = logits.abs().max().item() / float(max(abs(score) for row in scores for score in row))
    for row, exact in zip(logits.tolist(), scores, strict=True):
        assert row == pytest.approx([factor * float(score) for score in exact])
        # Equal scores are equal logits, to the last bit.
        assert [[a < b for b in row] for a in row] == [[a < b for b in exact] for a in exact]


def test_half_of_the_neurons_with_siman_weights_start_turned_round():
    for method in Method:
        turned = [1, -1, 1, -1, 1] if method is Method.SIMAN else [1] * 5
        assert MLP(784, (5, 4), 10, method=method).norm1.weight.tolist() == turned


def test_the_temperature_is_a_factor_of_the_scores():
    net = perceptron().double().eval()
    with torch.no_grad():
        net.log_temperature.fill_(2.5)
    frames = pixels(4).double()
    scores = net.fc3(last_but_one(net, frames))
    assert torch.equal(net(frames), scores * net.log_temperature.exp())


def test_layers_of_a_perceptron():
    names = [name for name, _ in perceptron().named_children()]
    assert names == ["flatten", "fc1", "norm1", "fc2", "norm2", "fc3"]


@pytest.mark.parametrize("method", Method)
def test_layers_of_convolutions(method):
    """Layer, max-pool, batch norm: the network has the max-pool of bits."""
    net = conv_net(method)
    assert [name for name, _ in net.named_children()] == [
        "conv1", "pool1", "norm1", "conv2", "norm2", "flatten", "fc1", "fc1_norm", "fc2",
    ]  # fmt: skip
    assert [tuple(m.weight.shape) for m in layers_of(net)] == [
        (6, 1, 3, 3), (4, 6, 5, 5), (7, 144), (5, 7),
    ]  # fmt: skip


def test_the_seed_decides_the_weights():
    first, again, other = (perceptron(seed=seed).fc1.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_specs_are_what_files_have():
    spec = ModelSpec("mlp", DIGITS, {"hidden": (4, 3)})
    assert spec == ModelSpec("mlp", DIGITS, {"hidden": [4, 3]})
    assert (spec.method, spec.methods) == ("sign", Method)
    other = spec.with_method("adabin")
    assert (other.method, other.options["hidden"]) == ("adabin", [4, 3])
    assert spec.method == "sign"


CONVS = {"convs": [[8]]}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ModelSpec("lenet", DIGITS), "'lenet' is not a model: choose from "),
        (lambda: ModelSpec("mlp", DIGITS), "mlp cannot be made of these options: "),
        (lambda: ModelSpec("tfc", DIGITS, {"depth": 2}), "tfc cannot be made of these options: "),
        (lambda: ModelSpec("tfc", DIGITS, {"method": "reactnet"}),
         "'reactnet' is not a method of tfc: choose from sign, adabin, siman, siman-bipolar"),
        (lambda: Task((28, 28), 10), "an image must have channels, a height and a width, not"),
        (lambda: Task((1, 28.0, 28), 10), "height must be an integer of at least 1, not 28.0"),
        (lambda: Task((1, -1, -1), 10), "height must be an integer of at least 1, not -1"),
        (lambda: Task((1, 28, 28), 0), "classes must be an integer of at least 1, not 0"),
        (lambda: Task((1, 8, 8), 2, (0.5,)), "pixels must be an IntegerPixels, not (0.5,)"),
        (lambda: Task((1, 8, 8), 2, IntegerPixels((0.1, 0.2), (1.0,))),
         "mean and deviation must have 1 channels, not 2 and 1"),
        (lambda: ModelSpec("resnet8", Task((3, 32, 32), 2)).build(),
         "a residual model needs the mean and the standard deviation of pixels"),
        (lambda: Family("siman"), "method must be a ResidualMethod, not 'siman'"),
        (lambda: Family(ResidualMethod.SIMAN, "pad"), "shortcut must be a Shortcut, not 'pad'"),
        (lambda: MLP(8, (4,), 2, method="sign"), "method must be a Method, not 'sign'"),
        (lambda: MLP(8, (4, 0), 2),
         "the neurons of a hidden layer must be an integer of at least 1, not 0"),
        (lambda: Conv(8, pool=2.0), "pool must be an integer of at least 1, not 2.0"),
        (lambda: Conv(8, pool=0), "pool must be an integer of at least 1, not 0"),
        (lambda: Conv(0), "channels must be an integer of at least 1, not 0"),
        (lambda: Conv(8, padding=-1), "padding must be an integer of at least 0, not -1"),
        (lambda: Conv(8, padding=3),
         "the padding must be less than the kernel's side 3, not 3"),
        (lambda: ConvNet((1, 28, 28), [Conv(8, pool=30)], (), 2),
         "a 3×3 kernel with a 30×30 pool does not fit 28 rows or columns"),
        (lambda: ConvNet((1, 2, 9), [Conv(8)], (), 2),
         "a 3×3 kernel with a 1×1 pool does not fit 2 rows or columns"),
        (lambda: ConvNet((1, 8, 8), [Conv(8)], (), 2, border="lower"),
         "border must be a Border, not 'lower'"),
        (lambda: ConvNet((1, 8, 8), [Conv(8)], (), 2, method="sign"),
         "method must be a Method, not 'sign'"),
        (lambda: ConvNet((1, 8, 8), [], (), 2), "there must be at least one convolution"),
        (lambda: ModelSpec("conv-net", DIGITS, CONVS | {"score_bits": 0}).build(),
         "integer weights must have 1 to 16 bits, not 0"),
        (lambda: ModelSpec("conv-net", DIGITS, CONVS | {"border": "upper"}).build(),
         "'upper' is not a border: choose from "),
        (lambda: ModelSpec("conv-net", DIGITS, {"convs": [[]]}).build(),
         "a convolution has channels, a kernel, a stride, a padding and a pool"),
        (lambda: IntegerPixels((0.5,), (0.5,), bits=17),
         "integer weights must have 1 to 16 bits, not 17"),
        (lambda: IntegerPixels((1.5,), (0.5,)),
         "the means of pixels must be from 0 to 1, not (1.5,)"),
        (lambda: IntegerPixels((0.5,), (0.0,)),
         "the deviations of pixels must be from 0.00390625 to 1, not (0.0,)"),
    ],
)  # fmt: skip
def test_refuses_what_models_cannot_be_made_of(make, text):
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}"):
        make()
