"""AdaBin's weights and activations."""

import math
from fractions import Fraction

import pytest
import torch

from tests.sw.quantising import adabin, column, matrix, random_matrix, rows, slope
from xnorflow.errors import LoweringError
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.gradients import ede_sharpness
from xnorflow.sw.nn.sign import Sign


def test_adabin_weight_is_mean_and_deviation():
    weight = matrix([1.0, 2.0, 3.0, 6.0])  # mean 3, deviation √3.5
    deviation = math.sqrt(3.5)
    rho = round(3 / deviation * 256) / 256
    expected = [deviation * (sign + rho) for sign in (-1, -1, 1, 1)]
    assert AdaBinWeight()(weight).tolist()[0] == pytest.approx(expected)
    assert AdaBinWeight(fraction=1).levels(weight).centres.tolist() == [3]  # 1.60 → 3/2


def test_adabin_with_real_centres():
    """They are real in training, and no integers have them."""
    torch.manual_seed(0)
    weight = torch.randn(3, 50, dtype=torch.float64) + 0.4
    quantiser = AdaBinWeight(fraction=None)
    mean = weight.mean(dim=1)
    deviation = weight.std(dim=1, correction=0)
    _, centre, scale = quantiser.split(weight)
    torch.testing.assert_close(centre, mean / deviation)
    torch.testing.assert_close(scale, deviation)
    signs = torch.where(weight >= mean[:, None], 1.0, -1.0).double()
    torch.testing.assert_close(quantiser(weight), signs * deviation[:, None] + mean[:, None])
    text = "an AdaBin weight has a real centre, which no integers have"
    with pytest.raises(LoweringError, match=f"^{text}: .*fraction=8"):
        quantiser.levels(weight)


@pytest.mark.parametrize("progress", [0.0, 0.6, 1.0])
def test_adabin_weight_gradient_flows_through_mean_and_deviation(progress):
    weight = random_matrix(3, 7)
    factors = random_matrix(3, 7, seed=2).detach()
    quantiser = AdaBinWeight(fraction=20)
    quantiser.progress = progress
    quantiser(weight).backward(factors)

    t = ede_sharpness(progress)
    for row, grad, factor in rows(weight, weight.grad, factors):
        count = len(row)
        mean = sum(row) / count
        alpha = math.sqrt(sum((x - mean) ** 2 for x in row) / count)
        v = [(x - mean) / alpha for x in row]
        g = [max(1, t) / math.cosh(t * x) ** 2 for x in v]
        sign = [1 if x >= 0 else -1 for x in v]
        for j in range(count):
            # y_i = α·sign(v_i) + β with dβ/dw_j = 1/n, dα/dw_j = v_j/n and
            # dv_i/dw_j = (δ_ij − 1/n − v_i·v_j/n)/α
            expected = sum(
                factor[i]
                * (
                    sign[i] * v[j] / count
                    + g[i] * ((i == j) - 1 / count - v[i] * v[j] / count)
                    + 1 / count
                )
                for i in range(count)
            )
            assert grad[j] == pytest.approx(expected, rel=1e-4)


def test_adabin_weight_survives_a_constant_filter():
    weight = matrix([0.5, 0.5], [0.25, 0.75])
    y = AdaBinWeight()(weight)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(weight.grad).all()


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
