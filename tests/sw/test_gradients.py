import math

import pytest
import torch

from xnorflow.sw.nn.gradients import (
    ceil_through,
    ede_sharpness,
    round_through,
    sign_bireal,
    sign_clipped,
    sign_ede,
    upper_half,
)


POINTS = [-2.0, -1.0, -0.75, -0.25, 0.0, 0.25, 0.75, 1.0, 2.0]
SIGNS = [-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def derivative(function, points):
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = function(x)
    # A different factor for each point: the backward pass must multiply by what comes in.
    factors = torch.arange(1.0, 1.0 + x.numel(), dtype=torch.float64).reshape(x.shape)
    y.backward(factors)
    return y.tolist(), (x.grad / factors).tolist()


def test_bireal_derivative_is_a_triangle():
    values, slopes = derivative(sign_bireal, POINTS)
    assert values == SIGNS
    assert slopes == [0.0, 0.0, 0.5, 1.5, 2.0, 1.5, 0.5, 0.0, 0.0]


def test_clipped_derivative_is_one_up_to_one():
    values, slopes = derivative(sign_clipped, POINTS)
    assert values == SIGNS
    assert slopes == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("sharpness", "peak"),
    [(0.001, 1.0), (0.1, 1.0), (1.0, 1.0), (10.0, 10.0)],  # k·t with k = max(1/t, 1)
)
def test_ede_derivative_is_that_of_a_hyperbolic_tangent(sharpness, peak):
    values, slopes = derivative(lambda x: sign_ede(x, sharpness), POINTS)
    assert values == SIGNS
    expected = [peak / math.cosh(sharpness * x) ** 2 for x in POINTS]
    assert slopes == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_ede_sharpens_geometrically():
    sharpness = [ede_sharpness(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert sharpness == pytest.approx([1e-3, 1e-2, 1e-1, 1e1])


def test_sign_of_negative_zero_is_one():
    zero = torch.tensor([-0.0])
    assert [sign(zero).item() for sign in (sign_bireal, sign_clipped)] == [1.0, 1.0]
    assert sign_ede(zero, 1.0).item() == 1.0


def test_upper_half_marks_the_larger_magnitudes_of_each_row():
    rows = [[0.1, -0.4, 0.2, 0.3], [-8.0, 1.0, 0.0, -2.0]]
    values, slopes = derivative(upper_half, rows)
    assert values == [[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]]
    assert slopes == [[1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, 1.0, -1.0]]


@pytest.mark.parametrize("count", [1, 2, 7, 64, 65])
def test_upper_half_marks_half(count):
    rows = torch.randn(5, count, generator=torch.Generator().manual_seed(count))
    assert upper_half(rows).sum(dim=1).tolist() == [count // 2] * 5


def test_rounding_passes_the_gradient():
    points = [-1.5, -0.25, 0.5, 1.5, 2.25, 1e-9]
    assert derivative(round_through, points) == ([-2.0, -0.0, 0.0, 2.0, 2.0, 0.0], [1.0] * 6)
    assert derivative(ceil_through, points) == ([-1.0, -0.0, 1.0, 2.0, 3.0, 1.0], [1.0] * 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types_are_kept(dtype):
    x = torch.randn(3, 4, dtype=dtype)
    for function in (sign_bireal, sign_clipped, upper_half, round_through, ceil_through):
        assert function(x).dtype == dtype
    assert sign_ede(x, 1.0).dtype == dtype
