import math
from fractions import Fraction

import pytest
import torch

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.gradients import ede_sharpness
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.sign import Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def random_matrix(rows, columns, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, requires_grad=True)


def rows(*matrices):
    return zip(*(matrix.tolist() for matrix in matrices), strict=True)


def test_sign_weight():
    weight = matrix([0.5, -0.25, 0.0, 1.25], [-2.0, 1.0, 1.0, 0.0])
    y = SignWeight()(weight)
    assert y.tolist() == [[0.5, -0.5, 0.5, 0.5], [-1.0, 1.0, 1.0, 1.0]]
    y.backward(matrix([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]).detach())
    # The scale passes no gradient, and beyond ±1 nothing does.
    assert weight.grad.tolist() == [[0.5, 1.0, 1.5, 0.0], [0.0, 2.0, 3.0, 4.0]]


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


@pytest.mark.parametrize("form", SiManForm)
def test_siman_weight(form):
    quantiser = SiManWeight(2, form).double().eval()
    weight = matrix([1.0, 2.0, 3.0, 6.0], [0.1, -0.4, 0.2, 0.3])
    quantiser.reset(weight)
    assert quantiser.log_scale.tolist() == pytest.approx([math.log(3.0), math.log(0.25)])
    y = quantiser(weight)
    # The means are 3 and 0.05: deviations −2 −1 0 3 and 0.05 −0.45 0.15 0.25.
    bits = [[1, 0, 0, 1], [0, 1, 0, 1]]
    low = 0 if form is SiManForm.HALF else -1
    expected = [
        [s if bit else low * s for bit in row] for row, s in zip(bits, (3.0, 0.25), strict=True)
    ]
    assert y.tolist() == [pytest.approx(row) for row in expected]
    y.sum().backward()
    assert quantiser.log_scale.grad.tolist() == pytest.approx([sum(row) for row in expected])


@pytest.mark.parametrize("form", SiManForm)
def test_siman_weight_gradient_is_the_sign_of_the_deviation(form):
    quantiser = SiManWeight(3, form).double().eval()
    weight = random_matrix(3, 7)
    factors = random_matrix(3, 7, seed=2).detach()
    quantiser(weight).backward(factors)

    for row, grad, factor in rows(weight, weight.grad, factors):
        count = len(row)
        mean = sum(row) / count
        root = math.sqrt(sum((x - mean) ** 2 for x in row) / count + 1e-5)
        v = [(x - mean) / root for x in row]
        passed = [f if x >= 0 else -f for f, x in zip(factor, v, strict=True)]
        for j in range(count):
            expected = sum(
                passed[i] * ((i == j) - 1 / count - v[i] * v[j] / count) / root
                for i in range(count)
            )
            assert grad[j] == pytest.approx(expected)


def test_siman_weight_clips_percentiles_in_training_only():
    weight = torch.linspace(-1.0, 1.0, 201, dtype=torch.float64).reshape(1, -1).clone()
    before = weight.clone()
    quantiser = SiManWeight(1).double().eval()
    quantiser(weight)
    assert torch.equal(weight, before)
    quantiser.train()
    quantiser.progress = 1 / 3  # 10 %
    quantiser(weight)
    # Between 0.1 and 0.9, and then back to the former spread.
    expected = before.sign() * before.abs().clamp(0.1, 0.9)
    expected[before == 0] = 0.1
    expected *= before.std() / expected.std()
    assert torch.allclose(weight, expected, rtol=0, atol=1e-12)
    centred = weight - weight.mean()
    quantiser.progress = 1.0  # 0 %
    quantiser(weight)
    assert torch.allclose(weight, centred, rtol=0, atol=1e-12)


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
def test_levels_say_what_is_computed(index, shared_scale):
    weight = random_matrix(6, 33)
    with torch.no_grad():
        weight[0, :3] = torch.tensor([0.0, -0.0, 1e-300])
    quantiser = quantisers(6, shared_scale)[index].double().eval()
    if isinstance(quantiser, SiManWeight):
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


def test_linear_starts_siman_from_its_weights():
    quantiser = SiManWeight(6)
    layer = BinaryLinear(33, 6, quantiser, Sign())
    assert torch.allclose(quantiser.log_scale.exp(), layer.weight.abs().mean(dim=1))
