"""Step functions with surrogate gradients.

The forward pass of each is exact and ``x >= 0`` gives +1, so sign(0) = +1. Their true derivative is
zero almost everywhere; the backward pass uses the derivative of something smoother instead.
"""

from typing import Any

import torch
from torch import Tensor


__all__ = [
    "ceil_through",
    "ede_sharpness",
    "round_through",
    "sign_bireal",
    "sign_clipped",
    "sign_ede",
    "upper_half",
]

_EDE_SHARPNESS = 1e-3, 10.0


def sign_bireal(x: Tensor) -> Tensor:
    """Sign with the derivative of Bi-Real Net's piecewise quadratic: for activations.

    Forward: +1 where x ≥ 0, else −1. Gradient: 2 + 2x on [−1, 0), 2 − 2x on [0, 1), 0 elsewhere.
    Source: Bi-Real Net, arXiv 1808.00278; ReActNet and AdaBin use it too.
    """
    return _SignBiReal.apply(x)


def sign_clipped(x: Tensor) -> Tensor:
    """Sign with the derivative of a clipped identity: for weights.

    Forward: +1 where x ≥ 0, else −1. Gradient: 1 on |x| ≤ 1, 0 elsewhere.
    Source: BinaryNet, arXiv 1602.02830; ReActNet's weights, arXiv 2003.03488.
    """
    return _SignClipped.apply(x)


def sign_ede(x: Tensor, sharpness: Tensor | float) -> Tensor:
    """Sign with the derivative of a hyperbolic tangent that sharpens as training goes on.

    Forward: +1 where x ≥ 0, else −1. Gradient, for the sharpness t: k·t·(1 − tanh²(t·x)) with
    k = max(1/t, 1): the identity at first, a step at last.
    Source: IR-Net's error decay estimator, arXiv 1909.10788; AdaBin's weights, arXiv 2208.08084.
    """
    return _SignEDE.apply(x, torch.as_tensor(sharpness, dtype=torch.float64))


def ede_sharpness(progress: Tensor) -> Tensor:
    """Sharpness t after a fraction ``progress`` of training: from 0.001 to 10, geometrically."""
    first, last = _EDE_SHARPNESS
    return first * (last / first) ** progress


def upper_half(x: Tensor) -> Tensor:
    """1 where |x| is above its row's median, else 0, for ``x`` (rows, n): SiMaN's weights.

    Of the n entries of a row, ⌊n/2⌋ become 1 (fewer only if entries tie with the median, which is
    the lower one when n is even). Gradient: that of |x|, +1 where x ≥ 0, else −1.
    Source: SiMaN, arXiv 2102.07981.
    """
    return _UpperHalf.apply(x)


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest integer, ties to even. Gradient: that of the identity."""
    return _Round.apply(x)


def ceil_through(x: Tensor) -> Tensor:
    """Round up to an integer. Gradient: that of the identity."""
    return _Ceil.apply(x)


def _sign(x: Tensor) -> Tensor:
    # Never torch.sign: its sign(0) is 0. Adding 0 turns -0 into +0, whose sign is copied; this is
    # ten times faster than torch.where.
    return torch.copysign(x.new_ones(()), x + 0.0)


class _SignBiReal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        # In place, because what takes time here is memory.
        return x.abs().mul_(-2).add_(2).clamp_min_(0).mul_(grads[0])


class _SignClipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1).to(x.dtype)


class _SignEDE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sharpness: Tensor) -> Tensor:
        ctx.save_for_backward(x, sharpness)
        return _sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, t = ctx.saved_tensors
        return grads[0] * t.clamp_min(1) * (1 - torch.tanh(t * x) ** 2), None


class _UpperHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        magnitude = x.abs()
        return (magnitude > magnitude.median(dim=1, keepdim=True).values).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * _sign(x)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Ceil(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.ceil()

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]
