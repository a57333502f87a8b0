"""Sums of a layer that are still to be rounded to the grid, and the layers that make them.

On the grid, filter k delivers ``(A·s + A'·p + K + 2^(shift − 1)) >> shift`` in integers, clipped to
the stream's bits. Here s is the convolution of the activations' signs with the weights' codes, p
the sum of a window's signs, and A, A' and K are scale, ρ·scale and everything constant, rounded;
K depends on the border class. ``shift`` is the width of s, so that rounding A moves no value by
more than half a unit of the stream, and neither does rounding A'.

A convolution delivers `Sums`, batch norms change what they stand for, and a `Round` rounds once.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.grid import Grid, mean_shift, place
from xnorflow.sw.nn.optional import affine_of, bias_of


__all__ = [
    "Combine",
    "Folded",
    "GridNorm1d",
    "GridNorm2d",
    "GridScores",
    "Round",
    "StreamSums",
    "Sums",
    "VectorSums",
    "scale_sums",
]


class Sums(NamedTuple):
    """``slope·(sums + ρ·popcounts + constant)/divisor + shift`` of each filter.

    Attributes
    ----------
    smooth : (N, filters, H, W), or (N, features)
        The value, through which gradients flow.
    sums : of the same shape
        Multiples of 2^−fraction.
    slope : (filters,)
    shift, rho : (filters,), or None
    popcounts : (N, 1, H, W), or None
        Integers.
    constant : (filters, H, W) or (filters, 1, 1), or None
    width, fraction : int
        Bits that the slope's rounding needs, and fractional bits of the sums.
    divisor : float
    """

    smooth: Tensor
    sums: Tensor
    slope: Tensor
    shift: Tensor | None = None
    rho: Tensor | None = None
    popcounts: Tensor | None = None
    constant: Tensor | None = None
    width: int = 0
    fraction: int = 0
    divisor: float = 1.0


@dataclass(frozen=True, eq=False)
class Folded:
    """The integers of a layer on its grid: see the module.

    Attributes
    ----------
    scale : (filters,)
        A.
    popcount_scale : (filters,), or None
        A'.
    offset : (filters, height, width), or (filters, 1, 1) where all windows are alike
        K.
    shift : int
    """

    scale: Tensor
    popcount_scale: Tensor | None
    offset: Tensor
    shift: int

    def apply(self, sums: Tensor, popcounts: Tensor | None, grid: Grid) -> Tensor:
        """Stream values of ``sums`` (N, filters, H, W) and ``popcounts`` (N, 1, H, W)."""
        unit = 2.0**-self.shift
        y = torch.addcmul(self.offset * unit, sums, (self.scale * unit)[:, None, None])
        if self.popcount_scale is not None and popcounts is not None:
            y.addcmul_(popcounts, (self.popcount_scale * unit)[:, None, None])
        return grid.round_to_grid(y)


class Combine(torch.autograd.Function):
    """``(s + ρ·p + c)·scale`` of each filter, in as few passes over memory as there can be."""

    @staticmethod
    def forward(
        ctx: Any,
        sums: Tensor,
        popcounts: Tensor | None,
        rho: Tensor | None,
        constant: Tensor | None,
        scale: Tensor,
    ) -> Tensor:
        """Combine the terms."""
        ctx.save_for_backward(popcounts, rho, scale)
        factor = scale[:, None, None]
        y = sums * factor if constant is None else torch.addcmul(constant * factor, sums, factor)
        if popcounts is not None and rho is not None:
            y.addcmul_(popcounts, rho[:, None, None] * factor)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of all terms but the scale."""
        popcounts, rho, scale = ctx.saved_tensors
        scaled = grads[0] * scale[:, None, None]
        of_popcounts = of_rho = of_constant = None
        if ctx.needs_input_grad[1]:
            of_popcounts = torch.einsum("nchw,c->nhw", scaled, rho)[:, None]
        if ctx.needs_input_grad[2]:
            of_rho = torch.einsum("nchw,nhw->c", scaled, popcounts[:, 0])
        if ctx.needs_input_grad[3]:
            of_constant = scaled.sum(dim=0)
        return scaled, of_popcounts, of_rho, of_constant, None


# -- what makes sums of a stream -------------------------------------------------------------------


class StreamSums(nn.Module):
    """Values of a stream themselves, in front of a batch norm."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Sums:
        """Map ``x + bias`` (N, channels, H, W)."""
        smooth = x if bias is None else x + bias[:, None, None]
        ones = x.new_ones(x.shape[1])
        return Sums(smooth, x, ones, bias, width=self.grid.bits, fraction=self.grid.fraction)


class VectorSums(nn.Module):
    """All values of a stream in front of a dense layer, or their means over all pixels.

    On the grid, means are sums over all pixels, divided by the next power of two and rounded to the
    stream; what is missing of the division is left to the dense layer's weights.
    """

    def __init__(self, grid: Grid, *, average: bool) -> None:
        super().__init__()
        self.grid = grid
        self.average = average

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Sums:
        """Map ``x + bias`` (N, channels, H, W)."""
        pixels = 1 if self.average else x[0, 0].numel()
        shift = None if bias is None else bias.repeat_interleave(pixels)
        smooth, divisor = x.mean(dim=(2, 3)) if self.average else x.flatten(1), 1.0
        if shift is not None:
            smooth = smooth + shift
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            sums = x.flatten(1)
            if self.average:
                pixels = x.shape[2] * x.shape[3]
                share = 2.0 ** -mean_shift(pixels)
                sums = self.grid.round_to_grid(
                    x.sum(dim=(2, 3)) * (2.0**self.grid.fraction * share)
                )
                divisor = pixels * share
        ones = x.new_ones(sums.shape[1])
        return Sums(smooth, sums, ones, shift, fraction=self.grid.fraction, divisor=divisor)


# -- what changes them ----------------------------------------------------------------------------


class _GridNorm:
    """Batch normalisation of sums that are not rounded yet."""

    training: bool

    def forward(self, x: Sums) -> Sums:
        """Normalise ``x``."""
        norm: Any = self
        y = x.smooth
        weight, bias = affine_of(norm, y)
        mean, variance = norm.running_mean, norm.running_var
        if self.training:
            out, mean, inverse = torch.native_batch_norm(
                y, weight, bias, mean, variance, True, self._momentum(), norm.eps
            )
        else:
            inverse = (variance + norm.eps).rsqrt()
            out = functional.batch_norm(y, mean, variance, weight, bias, eps=norm.eps)
        with torch.no_grad():
            gain = weight * inverse
            shift = bias - gain * (mean if x.shift is None else mean - x.shift)
            return x._replace(smooth=out, slope=gain * x.slope, shift=shift)

    def _momentum(self) -> float:
        """Share of this batch in the running statistics."""
        norm: Any = self
        norm.num_batches_tracked.add_(1)
        # Without a momentum, they are the mean of all batches.
        return 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum


class GridNorm2d(_GridNorm, nn.BatchNorm2d):  # type: ignore[misc]
    """PyTorch's `BatchNorm2d` of sums."""


class GridNorm1d(_GridNorm, nn.BatchNorm1d):  # type: ignore[misc]
    """PyTorch's `BatchNorm1d` of sums."""


def scale_sums(x: Sums, factor: float | Tensor) -> Sums:
    """``factor`` times ``x``: a number, or (filters,)."""
    shift = None if x.shift is None else factor * x.shift
    wide = factor
    if isinstance(factor, Tensor) and x.smooth.dim() == 4:
        wide = factor[:, None, None]
    return x._replace(smooth=wide * x.smooth, slope=factor * x.slope, shift=shift)


# -- what rounds them -----------------------------------------------------------------------------


class Round(nn.Module):
    """Sums, rounded to the stream."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Sums, offset: Tensor | None = None) -> Tensor:
        """Map ``x + offset``, the offset being (filters,)."""
        out = x.smooth if offset is None else x.smooth + offset[:, None, None]
        with torch.no_grad():
            sums = x.sums * 2.0**x.fraction if x.fraction else x.sums
            exact = self.fold(x, offset).apply(sums, x.popcounts, self.grid)
        return place(out, exact)

    @torch.no_grad()
    def fold(self, x: Sums, offset: Tensor | None) -> Folded:
        """Integers that do this."""
        shift = x.slope.new_zeros(x.slope.shape) if x.shift is None else x.shift
        if offset is not None:
            shift = shift + offset
        constant = shift[:, None, None]
        if x.constant is not None:
            constant = constant + x.slope[:, None, None] * x.constant
        unit = 2.0 ** (self.grid.fraction + x.width)
        slope_unit = unit * 2.0**-x.fraction
        return Folded(
            (x.slope * slope_unit).round(),
            None if x.rho is None else (x.slope * x.rho * slope_unit).round(),
            (constant * unit).round(),
            x.width,
        )


class GridScores(nn.Linear):
    """The dense layer behind which nothing comes.

    On the grid, scores are ``Σ q·x + o`` with integers q and o: one scale for all classes, so that
    the largest score is the largest logit.
    """

    grid: Grid

    def forward(self, x: Sums) -> Tensor:  # type: ignore[override]
        """Logits (N, classes)."""
        logits = functional.linear(x.smooth, self.weight, self.bias)
        unit = 2.0**self.grid.fraction
        with torch.no_grad(), torch.autocast(x.sums.device.type, enabled=False):
            q, o, scale = self.fold(x)
            exact = functional.linear(x.sums * unit, q, o) * (scale / unit)
        return place(logits, exact)

    @torch.no_grad()
    def fold(self, x: Sums) -> tuple[Tensor, Tensor, Tensor]:
        """Integers q (classes, features) and o (classes,), and the scale of the logits."""
        weight = self.weight * x.slope / x.divisor
        scale = weight.abs().max() / (2 ** (self.grid.score_bits - 1) - 1)
        offset = bias_of(self)
        if x.shift is not None:
            offset = self.weight @ x.shift + offset
        return (weight / scale).round(), (offset / scale * 2.0**self.grid.fraction).round(), scale
