"""Activation functions of two slopes: PReLU, RPReLU, Maxout and ReLU, on a grid or off it."""

from typing import Any

import torch
from torch import Tensor, nn

from xnorflow.sw.nn.grid import Grid, place


__all__ = ["TwoSlope", "bend", "maxout", "prelu", "relu", "rprelu"]


class TwoSlope(nn.Module):
    """``p_c·max(x, 0) + n_c·min(x, 0)`` of each channel, between two shifts that others carry out.

    ``forward`` leaves the shifts out: what ``before`` adds belongs to the convolution's constant,
    and what ``after`` adds is deferred to whatever comes next, so that RPReLU costs no more than
    PReLU.

    Parameters
    ----------
    channels : int
    negative : float
        Slope n at first; p starts at 1.
    positive_learned, negative_learned, shifted : bool
        What is learned.

    Attributes
    ----------
    positive, negative : (channels,)
        Slopes p and n.
    before, after : (channels,), or None
        RPReLU's shifts of input and output.
    """

    def __init__(
        self,
        channels: int,
        negative: float,
        *,
        positive_learned: bool = False,
        negative_learned: bool = True,
        shifted: bool = False,
    ) -> None:
        super().__init__()
        # A slope that is not learned is a parameter too, so that all kinds have the same state.
        self.positive = nn.Parameter(torch.ones(channels), requires_grad=positive_learned)
        self.negative = nn.Parameter(
            torch.full((channels,), negative), requires_grad=negative_learned
        )
        self.before = nn.Parameter(torch.zeros(channels)) if shifted else None
        self.after = nn.Parameter(torch.zeros(channels)) if shifted else None

    def codes(self, grid: Grid) -> tuple[Tensor, Tensor]:
        """Integers that stand for p and n, in units of 2^−slope_fraction: (channels,) each."""
        unit = 2.0**grid.slope_fraction
        return (self.positive * unit).round(), (self.negative * unit).round()

    def forward(self, x: Tensor, grid: Grid | None) -> Tensor:
        """Map ``x`` (N, channels, H, W), without the shifts; same shape."""
        return bend(x, *self.slopes(grid), grid)

    def slopes(self, grid: Grid | None) -> tuple[Tensor, Tensor]:
        """Both slopes p and n, on the grid where there is one: (channels,) each."""
        if grid is None:
            return self.positive, self.negative
        unit = 2.0**-grid.slope_fraction
        p, n = self.codes(grid)
        return place(self.positive, p.detach() * unit), place(self.negative, n.detach() * unit)


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


def maxout(channels: int) -> TwoSlope:
    """AdaBin's Maxout: both slopes are learned, at first 1 and 0.25."""
    return TwoSlope(channels, 0.25, positive_learned=True)


def prelu(channels: int) -> TwoSlope:
    """PReLU: the negative slope is learned, at first 0.25."""
    return TwoSlope(channels, 0.25)


def rprelu(channels: int) -> TwoSlope:
    """ReActNet's RPReLU: PReLU between two learned shifts, at first 0."""
    return TwoSlope(channels, 0.25, shifted=True)


def relu(channels: int) -> TwoSlope:
    """ReLU: nothing is learned."""
    return TwoSlope(channels, 0.0, negative_learned=False)
