"""The protocol: what every quantiser of weights, and every one of activations, keeps to."""

import math
from fractions import Fraction

import pytest
import torch

from tests.sw.quantising import adabin, random_matrix, rsign
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.sign import Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


def quantisers(filters, shared_scale):
    return [
        SignWeight(shared_scale=shared_scale),
        AdaBinWeight(shared_scale=shared_scale),
        AdaBinWeight(fraction=3, shared_scale=shared_scale),
        SiManWeight(filters, SiManForm.HALF, shared_scale=shared_scale),
        SiManWeight(filters, SiManForm.BIPOLAR, shared_scale=shared_scale),
    ]


@pytest.mark.parametrize("shared_scale", [False, True])
@pytest.mark.parametrize("index", range(5))
def test_levels_of_weights_say_what_is_computed(index, shared_scale):
    weight = random_matrix(6, 33)
    with torch.no_grad():
        weight[0, :3] = torch.tensor([0.0, -0.0, 1e-300])
    quantiser = quantisers(6, shared_scale)[index].double().eval()
    quantiser.reset(weight)
    levels = quantiser.levels(weight)
    scale = torch.tensor([math.sqrt(s) for s in levels.scale_squared], dtype=torch.float64)
    rho = levels.centres / 2**levels.fraction
    expected = scale[:, None] * (2 * levels.bits.double() - 1 + rho[:, None])
    assert torch.allclose(quantiser(weight), expected, rtol=0, atol=1e-14)
    assert (len(set(levels.scale_squared)) == 1) == shared_scale


def test_scales_are_exact():
    weight = torch.tensor([[0.1, 0.2, -0.7]], dtype=torch.float64)
    exact = [Fraction(value) for value in (0.1, 0.2, 0.7)]
    assert SignWeight().levels(weight).scale_squared == ((sum(exact) / 3) ** 2,)
    mean = (exact[0] + exact[1] - exact[2]) / 3
    variance = sum((value - mean) ** 2 for value in (exact[0], exact[1], -exact[2])) / 3
    assert AdaBinWeight().levels(weight).scale_squared == (variance,)


QUANTISERS = [
    Sign(),
    rsign(0.1, -0.7, 0.0),
    rsign(0.1, -0.7, 0.0, polarised=True),
    adabin(0.3, 0.1),
    adabin(0.3, 0.1, fraction=2),
    adabin(-0.3, 0.1),
    InputThreshold(),
]


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_levels_of_activations_say_exactly_what_is_computed(quantiser):
    quantiser = quantiser.double()
    levels = quantiser.levels()
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[:3] = torch.tensor([float(t) for t in levels.thresholds], dtype=torch.float64)
    if isinstance(quantiser, InputThreshold):
        x = (255 * x).round()
    bits = quantiser.distance(x) >= 0
    levels = levels.of(3)
    for channel, (threshold, inverted) in enumerate(
        zip(levels.thresholds, levels.inverted, strict=True)
    ):
        for value, bit, y in zip(
            x[:, channel], bits[:, channel], quantiser(x)[:, channel], strict=True
        ):
            exact = Fraction(value.item())
            assert bit == (exact <= threshold if inverted else exact >= threshold)
            expected = levels.low + levels.step * bool(bit)
            assert y.item() == pytest.approx(float(expected), abs=1e-15)


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("activation", [Sign(), AdaBinActivation()])
def test_linear_takes_any_pair(index, activation):
    quantiser = quantisers(6, shared_scale=False)[index]
    layer = BinaryLinear(33, 6, quantiser, activation).double().eval()
    x = random_matrix(4, 33, seed=3)
    y = layer(x)
    assert torch.allclose(y, activation(x) @ quantiser(layer.weight).T)
    y.sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("index", range(5))
def test_codes_are_what_the_protocol_says(index):
    weight = random_matrix(6, 34)
    quantiser = quantisers(6, shared_scale=False)[index].double().eval()
    quantiser.reset(weight)
    code, _, _ = quantiser.split(weight)
    assert set(code.flatten().tolist()) == ({0.0, 1.0} if quantiser.unipolar else {-1.0, 1.0})
    levels = quantiser.levels(weight)
    assert quantiser.unipolar == bool((levels.centres == 1 << levels.fraction).all())
    assert torch.equal(code > 0, levels.bits)


@pytest.mark.parametrize("index", [0, 3, 4])
@torch.no_grad()
def test_bits_survive_a_warm_start(index):
    quantiser = quantisers(6, shared_scale=False)[index].double().eval()
    weight = random_matrix(6, 300)
    bits, signed = quantiser.levels(weight).bits, quantiser.to_signed(weight)
    assert torch.equal(signed > 0, bits)
    again = quantiser.levels(quantiser.from_signed(signed)).bits
    # The mean of magnitudes that take turns is only near 0.
    assert (again == bits).double().mean() >= (1 if index == 0 else 0.97)


@pytest.mark.parametrize("quantiser", QUANTISERS)
@torch.no_grad()
def test_activations_have_their_channels_in_dimension_1(quantiser):
    quantiser = quantiser.double()
    x = 255 * torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)).double() - 100
    code, scale = quantiser.encode(x.permute(0, 2, 3, 1))
    assert torch.equal(quantiser(x), (code * scale).permute(0, 3, 1, 2))
    assert torch.equal(quantiser(x)[:, :, 1, 2], quantiser(x[:, :, 1, 2]))
