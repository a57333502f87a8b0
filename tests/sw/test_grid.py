"""The fixed-point grid of residual networks, and its layers."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from xnorflow.errors import NetworkError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.nn.grid import Grid, hardtanh, place
from xnorflow.sw.nn.prelu import Maxout, RPReLU


def test_grid_rounds_ties_up_and_clips():
    grid = Grid(bits=4, fraction=2)
    values = torch.tensor([-1.5, -0.5, 0.49, 0.5, 1.5, 100.0, -100.0])
    assert grid.round_to_grid(values.clone()).tolist() == [-0.25, 0, 0, 0.25, 0.5, 1.75, -2]


def test_place_has_the_value_of_one_and_the_gradient_of_the_other():
    smooth = torch.tensor([1.0, 2.0], requires_grad=True)
    placed = place(3 * smooth, torch.tensor([5.0, 6.0]))
    placed.sum().backward()
    assert placed.tolist() == [5.0, 6.0]
    assert smooth.grad.tolist() == [3.0, 3.0]


def test_hardtanh_takes_all_values_of_few_bits():
    x = torch.arange(-80, 80, dtype=torch.float64, requires_grad=True)
    y = hardtanh(x / 16, Grid(bits=8, fraction=4))
    assert (y * 16).tolist() == [min(max(n, -16), 15) for n in range(-80, 80)]
    y.sum().backward()
    assert (x.grad != 0).tolist() == [-16 <= n <= 15 for n in range(-80, 80)]
    # A stream that is narrower anyway stays as it is.
    assert Grid(bits=3, fraction=4).within_one() == Grid(bits=3, fraction=4)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"bits": 1}, "the bits of the residual stream must be from 2 to 24, not 1"),
        ({"fraction": 17}, "the fractional bits of the residual stream must be from 0 to 16"),
        ({"slope_fraction": -1}, "the fractional bits of slopes must be from 0 to 12, not -1"),
        ({"score_bits": 17}, "the bits of the classifier's weights must be from 2 to 16, not 17"),
    ],
)
def test_refuses_a_grid_out_of_range(values, text):
    with pytest.raises(NetworkError, match=rf"^{re.escape(text)}"):
        Grid(**values)


def _maxout(x, module):
    p, n = module.positive[:, None, None], module.negative[:, None, None]
    return torch.where(x >= 0, p, n) * x


def _rprelu(x, module):
    t = x + module.before[:, None, None]
    return functional.prelu(t, module.weight) + module.after[:, None, None]


@pytest.mark.parametrize(("kind", "written"), [(Maxout, _maxout), (RPReLU, _rprelu)])
def test_slopes_are_what_they_are_called(kind, written):
    """Values and all gradients are those of PyTorch's own operators."""
    torch.manual_seed(0)
    module = kind(3).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    leaves = [x, *module.parameters()]
    factors = torch.randn_like(x)
    found, expected = module(x), written(x, module)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((y * factors).sum(), leaves) for y in (found, expected)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_slopes_on_a_grid_are_integers():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1), Maxout(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    grid = Grid(bits=8, fraction=3, slope_fraction=2)
    prepared = prepare(model.double(), grid, FeatureMap(1, 1, 1, UInt(8)))
    function = prepared.get_submodule("1")
    with torch.no_grad():
        function.positive.copy_(torch.tensor([0.6, -1.4]))
        function.negative.copy_(torch.tensor([1.9, 0.13]))
    x = torch.arange(-128, 128, dtype=torch.float64).expand(1, 2, 1, 256) / 8
    y = (function(x) * 8).to(torch.int64)[0, :, 0]
    for channel, (p, n) in enumerate(((2, 8), (-6, 1))):
        for value, found in zip(range(-128, 128), y[channel].tolist(), strict=True):
            product = (p if value >= 0 else n) * value
            assert found == min(max((product + 2) >> 2, -128), 127)
