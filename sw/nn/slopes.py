"""Two slopes: what PReLU, RPReLU, Maxout and ReLU have in common, on a grid or off it."""

from typing import Any

import torch
from torch import Tensor

from xnorflow.sw.nn.grid import Grid


__all__ = ["bend"]


def bend(x: Tensor, p: Tensor, n: Tensor, grid: Grid | None) -> Tensor:
    """Map ``x`` (N, channels, H, W) to ``p·max(x, 0) + n·min(x, 0)``, and onto the grid."""
    return _TwoSlope.apply(x, p, n, grid)


class _TwoSlope(torch.autograd.Function):
    """Two slopes and a grid, in as few passes over memory as there can be."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: Tensor, n: Tensor, grid: Grid | None) -> Tensor:
        ctx.save_for_backward(x, p, n)
        unit = 1.0 if grid is None else 2.0**grid.fraction
        # p·x + (n − p)·min(x, 0); the factors are binary fractions, so this is exact on a grid.
        y = x * (p * unit)[:, None, None]
        y.addcmul_(x.clamp_max(0), ((n - p) * unit)[:, None, None])
        return y if grid is None else grid.round_to_grid(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, p, n = ctx.saved_tensors
        (g,) = grads
        signs = torch.copysign(x.new_ones(()), x)
        halves = (p - n)[:, None, None] / 2, (p + n)[:, None, None] / 2
        of_x = torch.addcmul(halves[1], signs, halves[0]).mul_(g)
        # Σ g·x and Σ g·|x| are the sum and the difference of what the two slopes get.
        products = g * x
        total = products.sum(dim=(0, 2, 3))
        absolute = products.mul_(signs).sum(dim=(0, 2, 3))
        return of_x, (total + absolute) / 2, (total - absolute) / 2, None
