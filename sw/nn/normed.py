"""Convolutions with the batch normalisation behind them, on a grid or off it.

On the grid, filter k delivers ``(A·s + A'·p + K + 2^(shift − 1)) >> shift`` in integers, clipped to
the stream's bits. Here s is the convolution of the activations' signs with the weights' codes, p
the sum of a window's signs, and A, A' and K are scale, ρ·scale and everything constant, rounded;
K depends on the border class. ``shift`` is the width of s, so that rounding A moves no value by
more than half a unit of the stream, and neither does rounding A'.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.grid import Grid, place
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.optional import affine_of
from xnorflow.sw.nn.sums import Combine, Folded


__all__ = ["Folded", "NormedBinaryConv", "NormedPixelConv", "NormedPointwise", "Quantised"]


class Quantised(NamedTuple):
    """Weights as the hardware has them: ``(code + rho)·scale``.

    Attributes
    ----------
    code : (filters, channels, kernel, kernel)
        Of two levels.
    rho : (filters,), or None
        Centre of the two levels, where it is apart.
    scale : (filters,)
    """

    code: Tensor
    rho: Tensor | None
    scale: Tensor


class _Normed(nn.Module):
    """What the convolutions share: batch normalisation of sums that come with a scale."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(filters)

    def _normalise(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``y`` normalised, and the gain and the shift that did it, for each filter."""
        norm = self.norm
        weight, bias = affine_of(norm, y)
        mean, variance = norm.running_mean, norm.running_var
        if self.training or mean is None or variance is None:
            out, mean, inverse = torch.native_batch_norm(
                y, weight, bias, mean, variance, True, self._momentum(), norm.eps
            )
        else:
            inverse = (variance + norm.eps).rsqrt()
            out = functional.batch_norm(y, mean, variance, weight, bias, eps=norm.eps)
        gain = weight * inverse
        return out, gain, bias - gain * mean

    def _momentum(self) -> float:
        """Share of this batch in the running statistics."""
        norm = self.norm
        if norm.momentum is not None:
            return norm.momentum
        # They are the mean of all batches.
        if norm.num_batches_tracked is None:
            return 0.0
        return 1 / int(norm.num_batches_tracked.add_(1))


class NormedBinaryConv(_Normed):
    """`BinaryConv2d`, zero-padded, and batch normalisation."""

    def __init__(self, conv: BinaryConv2d) -> None:
        super().__init__(conv.weight.shape[0])
        self.conv = conv

    def quantise(self) -> Quantised:
        """Weights of this moment."""
        weight = self.conv.weight
        code, rho, scale = self.conv.weight_quantiser.split(weight.flatten(1))
        return Quantised(code.reshape(weight.shape), rho, scale)

    def forward(
        self,
        x: Tensor,
        weights: Quantised,
        bias: Tensor | None,
        offset: Tensor | None,
        grid: Grid | None,
    ) -> Tensor:
        """Map ``x + bias`` to normalised sums plus ``offset``: see `fold`."""
        return self._compute(x, weights, bias, offset, grid)[0]

    def fold(self, x: Tensor, bias: Tensor | None, offset: Tensor | None, grid: Grid) -> Folded:
        """Integers of this layer, in evaluation mode.

        Parameters
        ----------
        x : (N, channels, H, W)
            Any stream of the right shape.
        bias, offset : (channels,) and (filters,), optional
            What is added to ``x``, and to the result.
        grid : Grid
            Where the integers belong.
        """
        _, folded = self._compute(x, self.quantise(), bias, offset, grid)
        assert folded is not None
        return folded

    def _compute(
        self,
        x: Tensor,
        weights: Quantised,
        bias: Tensor | None,
        offset: Tensor | None,
        grid: Grid | None,
    ) -> tuple[Tensor, Folded | None]:
        conv = self.conv
        stride, padding = conv.stride, conv.padding
        if bias is not None:
            x = x + bias[:, None, None]
        signs = conv.activation_quantiser.signs(x.movedim(1, -1)).movedim(-1, 1)
        weight, rho, weight_scale = weights
        sums = functional.conv2d(signs, weight, stride=stride, padding=padding).to(x.dtype)
        popcounts = None
        if rho is not None:
            # Signs of a window, added up: apart, so that neither sum is rounded.
            popcounts = functional.avg_pool2d(
                signs.sum(dim=1, keepdim=True),
                weight.shape[2:],
                stride,
                padding,
                divisor_override=1,
            )
        constant = self._constant(x, weight, rho)
        # Batch normalisation undoes whatever factor all of a filter's terms share, so no gradient
        # flows through this one; it is here for the little number that is added to the variance.
        scale = (conv.activation_quantiser.scale() * weight_scale).detach()
        y = Combine.apply(sums, popcounts, rho, constant, scale)
        out, gain, shift = self._normalise(y)
        if offset is not None:
            out, shift = out + offset[:, None, None], shift + offset
        if grid is None:
            return out, None
        with torch.no_grad():
            width = (weight[0].numel() + 1).bit_length()
            unit = 2.0 ** (grid.fraction + width)
            slope = gain * scale
            folded = Folded(
                (slope * unit).round(),
                None if rho is None else (slope * rho * unit).round(),
                (
                    (shift[:, None, None] + slope[:, None, None] * constant) * unit
                    if constant is not None
                    else (shift * unit)[:, None, None]
                ).round(),
                width,
            )
            exact = folded.apply(sums, popcounts, grid)
        return place(out, exact), folded

    def _constant(self, x: Tensor, weight: Tensor, rho: Tensor | None) -> Tensor | None:
        """What the centre of the activations adds to each window: (filters, H, W)."""
        centre = self.conv.activation_quantiser.centre()
        if centre is None:
            return None
        windows = {"stride": self.conv.stride, "padding": self.conv.padding}
        with torch.autocast(x.device.type, enabled=False):
            inside = torch.ones_like(x[:1])
            constant: Tensor = functional.conv2d(inside, weight.to(x.dtype), **windows)[0]  # type: ignore[call-overload]
            if rho is not None:
                ones = torch.ones_like(weight[:1], dtype=x.dtype)
                taps = functional.conv2d(inside, ones, **windows)[0]  # type: ignore[call-overload]
                constant = constant + rho[:, None, None] * taps
        return constant * centre


class NormedPixelConv(_Normed):
    """`IntegerConv2d` on raw pixels, and batch normalisation: a first layer."""

    def __init__(self, conv: IntegerConv2d) -> None:
        super().__init__(conv.weight.shape[0])
        self.conv = conv

    def forward(self, x: Tensor, grid: Grid | None) -> Tensor:
        """Map pixels ``x`` in 0…255 to normalised sums."""
        return self._compute(x, grid)[0]

    def fold(self, x: Tensor, grid: Grid) -> Folded:
        """Integers of this layer, in evaluation mode: as for `NormedBinaryConv`."""
        _, folded = self._compute(x, grid)
        assert folded is not None
        return folded

    def _compute(self, x: Tensor, grid: Grid | None) -> tuple[Tensor, Folded | None]:
        sums, constant, scale = self.conv.sums(x)
        out, gain, shift = self._normalise((sums + constant) * scale[:, None, None])
        if grid is None:
            return out, None
        with torch.no_grad():
            largest = (
                255 * (2 ** (self.conv.weight_quantiser.bits - 1)) * self.conv.weight[0].numel()
            )
            width = largest.bit_length()
            unit = 2.0 ** (grid.fraction + width)
            slope = gain * scale
            folded = Folded(
                (slope * unit).round(),
                None,
                ((shift[:, None, None] + slope[:, None, None] * constant[0]) * unit).round(),
                width,
            )
            exact = folded.apply(sums, None, grid)
        return place(out, exact), folded


class NormedPointwise(_Normed):
    """1×1 convolution of a stream with integer weights, and batch normalisation: a shortcut.

    Parameters
    ----------
    channels, filters : int
    bits : int
        Width of the weights.

    Attributes
    ----------
    weight : (filters, channels)
        Latent real weights.
    """

    def __init__(self, channels: int, filters: int, bits: int = 8) -> None:
        super().__init__(filters)
        self.weight = nn.Parameter(torch.empty(filters, channels))
        nn.init.uniform_(self.weight, -(channels**-0.5), channels**-0.5)
        self.weight_quantiser = IntegerWeight(bits)

    def forward(self, x: Tensor, bias: Tensor | None, grid: Grid | None) -> Tensor:
        """Map ``x + bias`` (N, channels, H, W) to (N, filters, H, W)."""
        return self._compute(x, bias, grid)[0]

    def fold(self, x: Tensor, bias: Tensor | None, grid: Grid) -> Folded:
        """Integers of this layer, in evaluation mode; its sums are of the stream's integers."""
        _, folded = self._compute(x, bias, grid)
        assert folded is not None
        return folded

    def _compute(
        self, x: Tensor, bias: Tensor | None, grid: Grid | None
    ) -> tuple[Tensor, Folded | None]:
        code, scale = self.weight_quantiser.encode(self.weight)
        with torch.autocast(x.device.type, enabled=False):
            sums = functional.conv2d(x, code[:, :, None, None])
            constant = torch.zeros_like(scale) if bias is None else code @ bias
        y = (sums + constant[:, None, None]) * scale[:, None, None]
        out, gain, shift = self._normalise(y)
        if grid is None:
            return out, None
        with torch.no_grad():
            # The sums' integers have the stream's fractional bits, as the result: the units cancel.
            # What is left is about 1/Σ|q|, which this writes with eight significant bits and more.
            width = self.weight_quantiser.bits + self.weight.shape[1].bit_length() + 8
            unit = 2.0**width
            slope = gain * scale
            folded = Folded(
                (slope * unit).round(),
                None,
                ((shift + slope * constant) * unit * 2.0**grid.fraction).round()[:, None, None],
                width,
            )
            exact = folded.apply(sums * 2.0**grid.fraction, None, grid)
        return place(out, exact), folded
