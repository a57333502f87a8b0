import math
from fractions import Fraction

import pytest
import torch

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.adabin import AdaBinActivation
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.sign import RSign, Sign


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def adabin(alpha, beta, fraction=None):
    quantiser = AdaBinActivation(fraction).double()
    with torch.no_grad():
        quantiser.alpha.fill_(alpha)
        quantiser.beta.fill_(beta)
    return quantiser


def rsign(*bias, polarised=False):
    quantiser = RSign(len(bias), polarised=polarised).double()
    with torch.no_grad():
        quantiser.bias.copy_(torch.tensor(bias))
    return quantiser


def slope(u):
    """Bi-Real's derivative."""
    return max(0.0, 2 - 2 * abs(u))


def test_sign_of_zero_is_one():
    assert Sign()(column(-1.0, -0.0, 0.0, 0.5)).flatten().tolist() == [-1.0, 1.0, 1.0, 1.0]


def test_rsign_has_a_threshold_for_every_channel():
    quantiser = rsign(0.5, -0.25)
    x = torch.tensor([[-0.5, 0.25], [-0.625, 0.125]], dtype=torch.float64, requires_grad=True)
    y = quantiser(x)
    assert y.tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    y.backward(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64))
    assert x.grad.tolist() == [[2.0, 4.0], [3 * 1.75, 4 * 1.75]]
    assert quantiser.bias.grad.tolist() == [2 + 3 * 1.75, 4 + 4 * 1.75]


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.5, 0.25), (2.0, -0.75), (-0.5, 0.25)])
@pytest.mark.parametrize("x", [-3.0, -0.5, 0.25, 0.375, 1.0])
def test_adabin_values_and_gradients(alpha, beta, x):
    quantiser = adabin(alpha, beta)
    point = column(x).requires_grad_()
    y = quantiser(point)
    y.backward(torch.full_like(y, 3.0))
    u = (x - beta) / alpha
    sign = 1 if u >= 0 else -1
    assert y.item() == pytest.approx(alpha * (sign + beta))
    assert point.grad.item() == pytest.approx(3 * slope(u))
    assert quantiser.alpha.grad.item() == pytest.approx(3 * (sign + beta - u * slope(u)))
    assert quantiser.beta.grad.item() == pytest.approx(3 * (alpha - slope(u)))


def test_adabin_starts_as_sign():
    x = column(-1.0, -0.25, 0.0, 2.0)
    assert torch.equal(AdaBinActivation().double()(x), Sign()(x))


def test_adabin_centre_sits_on_its_grid():
    quantiser = adabin(0.5, 0.3, fraction=4)  # 0.3 · 16 = 4.8
    assert quantiser(column(0.3125, 0.3124)).flatten().tolist() == [
        0.5 * (1 + 5 / 16),
        0.5 * (-1 + 5 / 16),
    ]
    assert quantiser.levels().thresholds == (Fraction(5, 16),)


def test_adabin_without_a_scale_has_no_levels():
    message = "^an AdaBin activation has the scale 0, so its levels coincide$"
    with pytest.raises(LoweringError, match=message):
        adabin(0.0, 0.5).levels()


@pytest.mark.parametrize("level", [-30.0, -0.3, 0.0, 0.7, 30.0])
def test_input_threshold_is_an_integer(level):
    quantiser = InputThreshold().double()
    with torch.no_grad():
        quantiser.level.fill_(level)
    pixels = torch.arange(256, dtype=torch.float64)[:, None]
    (threshold,) = quantiser.levels().thresholds
    assert threshold.denominator == 1
    assert torch.equal(quantiser(pixels) > 0, pixels >= float(threshold))
    assert threshold == math.ceil(255 / (1 + math.exp(-level)))
    assert 1 <= threshold <= 255


def test_input_threshold_learns():
    quantiser = InputThreshold().double()
    pixels = column(0.0, 128.0, 230.0).requires_grad_()
    quantiser(pixels).sum().backward()
    slopes = [slope((pixel - 128) / 255) for pixel in (0.0, 128.0, 230.0)]
    assert (pixels.grad.flatten() * 255).tolist() == pytest.approx(slopes)
    assert quantiser.level.grad.item() == pytest.approx(-sum(slopes) / 4)  # σ′(0) = ¼


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
def test_levels_say_exactly_what_is_computed(quantiser):
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
