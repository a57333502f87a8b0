"""SiMaN's weights."""

import math

import pytest
import torch

from tests.sw.quantising import matrix, random_matrix, rows
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.sign import Sign
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


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


def test_linear_starts_siman_from_its_weights():
    quantiser = SiManWeight(6)
    layer = BinaryLinear(33, 6, quantiser, Sign())
    assert torch.allclose(quantiser.log_scale.exp(), layer.weight.abs().mean(dim=1))


def test_a_single_weight_is_not_clipped():
    layer = BinaryLinear(1, 1, SiManWeight(1), Sign()).train()
    before = layer.weight.clone()
    layer(torch.ones(1, 1))
    assert torch.equal(layer.weight, before)
