"""Signs: weights with a scale, and activations with a threshold or without."""

import torch

from tests.sw.quantising import column, matrix, rsign
from xnorflow.sw.nn.sign import Sign, SignWeight


def test_sign_weight():
    weight = matrix([0.5, -0.25, 0.0, 1.25], [-2.0, 1.0, 1.0, 0.0])
    y = SignWeight()(weight)
    assert y.tolist() == [[0.5, -0.5, 0.5, 0.5], [-1.0, 1.0, 1.0, 1.0]]
    y.backward(matrix([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]).detach())
    # The scale passes no gradient, and beyond ±1 nothing does.
    assert weight.grad.tolist() == [[0.5, 1.0, 1.5, 0.0], [0.0, 2.0, 3.0, 4.0]]


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
