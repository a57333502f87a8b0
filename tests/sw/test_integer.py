"""Integer weights."""

import pytest
import torch

from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.sign import SignWeight


def test_integer_weights_of_zero():
    code, scale = IntegerWeight()(torch.zeros(2, 3)), IntegerWeight().encode(torch.zeros(2, 3))[1]
    assert code.tolist() == [[0.0] * 3] * 2
    assert (scale > 0).all()


@pytest.mark.parametrize("shared", [False, True])
def test_integer_weights_of_one_bit_are_signs(shared):
    torch.manual_seed(0)
    latent = torch.randn(3, 5)
    latent[0, 0] = 0.0
    weight, signs = (latent.clone().requires_grad_() for _ in range(2))
    code, scale = IntegerWeight(1, shared_scale=shared).encode(weight)
    expected, expected_scale = SignWeight(shared_scale=shared).encode(signs)
    assert code.tolist() == expected.tolist()
    torch.testing.assert_close(scale, expected_scale)
    code.sum().backward()
    expected.sum().backward()
    assert weight.grad.tolist() == signs.grad.tolist()
