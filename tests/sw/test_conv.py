import itertools
import math

import pytest
import torch
from torch.nn import functional

from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.linear import IntegerLinear
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


WEIGHTS = {
    "sign": lambda: SignWeight(),
    "adabin": lambda: AdaBinWeight(fraction=3),
    "half": lambda: SiManWeight(3, SiManForm.HALF),
    "bipolar": lambda: SiManWeight(3, SiManForm.BIPOLAR),
}


def adabin():
    quantiser = AdaBinActivation()
    with torch.no_grad():
        quantiser.alpha.fill_(-0.7)
        quantiser.beta.fill_(0.3)
    return quantiser


def rsign():
    quantiser = RSign(2)
    with torch.no_grad():
        quantiser.bias.copy_(torch.tensor([0.5, -0.25]))
    return quantiser


ACTIVATIONS = {"sign": Sign, "rsign": rsign, "adabin": adabin}
LOWEST = {"sign": -1.0, "rsign": -1.0, "adabin": -0.7 * (0.3 - 1)}
"""Levels of bit 0, which is the one below the threshold, but above it where α < 0."""


def layer(weight, activation, **options):
    torch.manual_seed(1)
    options = {"kernel": 3} | options
    conv = BinaryConv2d(
        2,
        3,
        weight_quantiser=WEIGHTS[weight](),
        activation_quantiser=ACTIVATIONS[activation](),
        **options,
    )
    return conv.double().eval()


def images(count=2, channels=2, height=5, width=6, seed=2):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, height, width)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def by_definition(x, weight, stride, padding, outside):
    """Convolution, one product at a time; ``outside`` stands for what is beyond the frame."""
    filters, channels, rows, columns = weight.shape
    height = (x.shape[2] + 2 * padding - rows) // stride + 1
    width = (x.shape[3] + 2 * padding - columns) // stride + 1
    y = torch.zeros(len(x), filters, height, width, dtype=x.dtype)
    taps = list(itertools.product(range(channels), range(rows), range(columns)))
    for n, f, r, c in itertools.product(*map(range, y.shape)):
        for k, i, j in taps:
            place = r * stride + i - padding, c * stride + j - padding
            inside = 0 <= place[0] < x.shape[2] and 0 <= place[1] < x.shape[3]
            y[n, f, r, c] += weight[f, k, i, j] * (x[n, k, *place] if inside else outside)
    return y


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("border", Border)
def test_is_a_convolution_of_what_the_quantisers_give(weight, activation, border):
    conv = layer(weight, activation, stride=2, padding=1, border=border)
    x = images()
    quantised = conv.activation_quantiser(x)
    weights = conv.weight_quantiser(conv.weight.flatten(1)).reshape(conv.weight.shape)
    outside = 0.0 if border is Border.ZERO else LOWEST[activation]
    expected = by_definition(quantised, weights, 2, 1, outside)
    torch.testing.assert_close(conv(x), expected)
    assert set(quantised.flatten().tolist()) >= {quantised.min().item(), quantised.max().item()}


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (5, 2, 2), (3, 3, 0)])
def test_kernels_and_strides(kernel, stride, padding):
    conv = layer("adabin", "adabin", kernel=kernel, stride=stride, padding=padding)
    x = images()
    quantised = conv.activation_quantiser(x)
    weights = conv.weight_quantiser(conv.weight.flatten(1)).reshape(conv.weight.shape)
    torch.testing.assert_close(conv(x), by_definition(quantised, weights, stride, padding, 0.0))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_biases_are_added_to_what_is_scaled(activation):
    conv = layer("adabin", activation, padding=1)
    biased = layer("adabin", activation, padding=1, bias=True)
    assert {*biased.state_dict()} - {*conv.state_dict()} == {"bias"}
    biased.load_state_dict(conv.state_dict() | {"bias": torch.tensor([1.0, -2.0, 0.5])})
    x = images()
    shift = torch.tensor([1.0, -2.0, 0.5])[:, None, None]
    torch.testing.assert_close(biased(x), conv(x) + shift)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_quantisers_may_stand_in_front(weight, activation):
    """Values, gradients, and the names of parameters."""
    conv, x, y = layer(weight, activation, padding=1), images(), images()
    quantiser = ACTIVATIONS[activation]().double()
    bare = BinaryConv2d(2, 3, 3, conv.weight_quantiser, padding=1).double().eval()
    bare.weight = torch.nn.Parameter(conv.weight.detach().clone())
    assert not any("activation" in name for name in bare.state_dict())
    for each in (x, y):
        each.requires_grad_()
    result = torch.nn.Sequential(quantiser, bare)(x)
    torch.testing.assert_close(result, conv(y))
    factors = torch.linspace(-1, 1, result.numel()).view_as(result)
    (result * factors).sum().backward()
    (conv(y) * factors).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(bare.weight.grad, conv.weight.grad)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("border", Border)
def test_gradients_are_those_of_the_quantisers(weight, activation, border):
    """As in a sum over windows that are cut out of the quantised image."""
    results = []
    for by_windows in (False, True):
        conv, x = layer(weight, activation, padding=1, border=border), images()
        x.requires_grad_()
        if by_windows:
            quantised = conv.activation_quantiser(x)
            quantised = functional.pad(quantised, (1, 1, 1, 1))
            if border is Border.LOWER:
                frame = functional.pad(torch.zeros_like(x), (1, 1, 1, 1), value=1.0)
                quantiser = conv.activation_quantiser
                low = -1.0
                if activation == "adabin":
                    low = quantiser.alpha * (quantiser.beta - 1)
                quantised = quantised + frame * low
            windows = functional.unfold(quantised, 3)  # (N, taps, places)
            y = conv.weight_quantiser(conv.weight.flatten(1)) @ windows
        else:
            y = conv(x).flatten(2)
        factors = images(2, 3, 5, 6, seed=3).flatten(2)
        (y * factors).sum().backward()
        results.append([x.grad] + [parameter.grad for parameter in conv.parameters()])
    for grad, expected in zip(*results, strict=True):
        if expected is None:
            assert grad is None
        else:
            torch.testing.assert_close(grad, expected)


def test_equal_sums_are_equal_numbers():
    """However the scale rounds: it multiplies sums, and not what is summed."""
    conv = layer("sign", "sign")
    with torch.no_grad():
        conv.weight.mul_(0.1)
    y = conv(images(count=20))
    sums = y / conv.weight.abs().mean(dim=(1, 2, 3))[:, None, None]
    for f in range(3):
        assert len(y[:, f].unique()) == len(sums[:, f].round().unique())


def test_siman_clips_the_weights_in_place():
    conv = layer("half", "sign").train()
    before = conv.weight.detach().clone()
    conv(images())
    assert not torch.equal(conv.weight, before)
    assert conv.weight_quantiser.log_scale.exp().tolist() == pytest.approx(
        before.abs().mean(dim=(1, 2, 3)).tolist()
    )


# -- integers -------------------------------------------------------------------------------------


MEAN, DEVIATION = (0.2, 0.9), (0.5, 0.25)


def pixel_layer(**options):
    torch.manual_seed(1)
    options = {"kernel": 3} | options
    return IntegerConv2d(2, 3, mean=MEAN, deviation=DEVIATION, **options).double()


def pixels(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 2, 5, 6), generator=generator).double()


def normalise(x):
    mean, deviation = (
        torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, DEVIATION)
    )
    return (x / 255 - mean) / deviation


@pytest.mark.parametrize(("bits", "stride", "padding"), [(8, 1, 1), (3, 2, 2), (8, 2, 0)])
def test_integer_convolution_of_normalised_pixels(bits, stride, padding):
    conv = pixel_layer(bits=bits, stride=stride, padding=padding)
    x = pixels()
    code, scale = conv.encode()
    # Integers of so many bits, of which each filter uses the largest one.
    assert torch.equal(code, code.round())
    assert code.abs().amax(dim=(1, 2, 3)).tolist() == [2 ** (bits - 1) - 1] * 3
    unit = 255 * torch.tensor(DEVIATION).double()[:, None, None]
    quantised = code * scale[:, None, None, None] * unit
    assert ((quantised - conv.weight) / unit).abs().max() <= scale.max() / 2 + 1e-12
    # Zeros are added to what is normalised.
    torch.testing.assert_close(
        conv(x), by_definition(normalise(x), quantised, stride, padding, 0.0)
    )


def test_integer_convolution_passes_gradients_straight_through():
    conv = pixel_layer(padding=1)
    factors = images(2, 3, 5, 6)
    (conv(pixels()) * factors).sum().backward()
    weight = conv.weight.detach().clone().requires_grad_()
    (functional.conv2d(normalise(pixels()), weight, padding=1) * factors).sum().backward()
    torch.testing.assert_close(conv.weight.grad, weight.grad)


def test_integer_layer_has_one_scale():
    torch.manual_seed(0)
    layer = IntegerLinear(6, 3, adabin(), bits=4).double()
    x = torch.randn(5, 6, dtype=torch.float64)
    code, scale = layer.weight_quantiser.encode(layer.weight)
    assert len(set(scale.tolist())) == 1
    assert code.abs().max() == 7
    quantised = layer.activation_quantiser(x)
    torch.testing.assert_close(layer(x), quantised @ (code * scale[:, None]).T)
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, quantised.sum(dim=0).expand(3, 6))


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"^integer weights must have 1 to 16 bits, not 0$"):
        IntegerWeight(0)
    text = r"^mean and deviation must have 2 channels, not 2 and 1$"
    with pytest.raises(ValueError, match=text):
        IntegerConv2d(2, 3, 3, mean=(0.1, 0.2), deviation=(1.0,))


def test_weights_start_uniform():
    torch.manual_seed(0)
    for conv in (BinaryConv2d(8, 16, 3, SignWeight(), Sign()), pixel_layer()):
        reach = conv.weight[0].numel() ** -0.5
        assert reach * 0.9 < conv.weight.abs().max() <= reach
        assert math.isclose(conv.weight.mean().item(), 0, abs_tol=reach / 4)
