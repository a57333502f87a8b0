"""Convolutions whose sums are still to be rounded to a grid."""

from abc import ABCMeta, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.integer_activation import ScaledActivation
from xnorflow.sw.nn.quantiser import Delivered
from xnorflow.sw.nn.shortcuts import IntegerPointwise
from xnorflow.sw.nn.sums import Combine, Sums
from xnorflow.sw.nn.windows import convolve, pad, window_sums


__all__ = ["GridBinaryConv", "GridConv", "GridPixelConv", "GridPointwise", "off_grid"]

_CONV_BITS = 8
"""Width that the weights of PyTorch's own layers get."""


def off_grid(conv: BinaryConv2d) -> str | None:
    """Why a binary convolution has no place on a grid, if it has none."""
    if isinstance(conv.activation_quantiser, Delivered):
        return "must have its own activation quantiser on a grid"
    integers = isinstance(conv.weight_quantiser, IntegerWeight)
    if integers or isinstance(conv.activation_quantiser, ScaledActivation):
        return "must have quantisers of two levels on a grid"
    if conv.groups > 1 and conv.has_centres:
        return "has weight levels that are not ±: groups must have others"
    return None


class GridBinaryConv(BinaryConv2d):
    """`BinaryConv2d` of a stream."""

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Sums:  # type: ignore[override]
        """Map ``x + bias`` (N, channels, H, W)."""
        if bias is not None:
            x = x + bias[:, None, None]
        quantiser = self.activation_quantiser
        signs = quantiser.signs(x.movedim(1, -1)).movedim(-1, 1)
        inside = torch.ones_like(x[:1])
        padded = bool(self.padding) and self.border is Border.LOWER
        if padded:
            signs, inside = pad(signs, self.padding, -1.0), pad(inside, self.padding, 1.0)
        code, rho, weight_scale = self.weight_quantiser.split(self.weight.flatten(1))
        weight = code.reshape(self.weight.shape)
        sums = convolve(signs, weight, self, padded=padded).to(x.dtype)
        popcounts = None
        if rho is not None:
            # Signs of a window, added up separately, so that neither sum is rounded.
            popcounts = window_sums(signs.sum(dim=1, keepdim=True), self, padded=padded)
        constant = self._constant(inside, weight, rho, padded=padded)
        # Batch normalisation undoes whatever factor all of a filter's terms share, so no gradient
        # flows through this one; it is here for the little number that is added to the variance.
        scale = (quantiser.scale() * weight_scale).detach()
        smooth = Combine.apply(sums, popcounts, rho, constant, scale)
        if self.bias is not None:
            smooth = smooth + self.bias[:, None, None]
        width = (weight[0].numel() + 1).bit_length()
        return Sums(smooth, sums, scale, self.bias, rho, popcounts, constant, width)

    def _constant(
        self, inside: Tensor, weight: Tensor, rho: Tensor | None, *, padded: bool
    ) -> Tensor | None:
        """Contribution of the centre of the activations to each window: (filters, H, W)."""
        centre = self.activation_quantiser.centre()
        if centre is None:
            return None
        with torch.autocast(inside.device.type, enabled=False):
            constant = convolve(inside, weight.to(inside.dtype), self, padded=padded)[0]
            if rho is not None:
                ones = torch.ones_like(weight[:1], dtype=inside.dtype)
                taps = convolve(inside, ones, self, padded=padded)[0]
                constant = constant + rho[:, None, None] * taps
        return constant * centre


class GridPixelConv(IntegerConv2d):
    """`IntegerConv2d` of raw pixels."""

    def forward(self, x: Tensor) -> Sums:  # type: ignore[override]
        """Map pixels ``x`` in 0…255."""
        sums, constant, scale = self.sums(x)
        smooth = (sums + constant) * scale[:, None, None]
        largest = 255 * 2 ** (self.weight_quantiser.bits - 1) * self.weight[0].numel()
        return Sums(smooth, sums, scale, constant=constant[0], width=largest.bit_length())


class _IntegerWeights(metaclass=ABCMeta):
    """Convolution of a stream, or of pixels, with integer weights."""

    grid: Grid
    pixels: bool
    weight: Tensor
    stride: Any
    padding: Any
    dilation: Any
    groups: Any

    @abstractmethod
    def encode(self) -> tuple[Tensor, Tensor]:
        """Integers, of the shape of ``weight``, and their scales (filters,)."""

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Sums:
        """Map ``x + bias`` (N, channels, H, W)."""
        code, scale = self.encode()
        constant, shift = None, getattr(self, "bias", None)
        with torch.autocast(x.device.type, enabled=False):
            sums = convolve(x, code, self)
            if bias is not None and self.padding in (0, (0, 0)) and self.groups == 1:
                constant = (code.sum(dim=(2, 3)) @ bias)[:, None, None]
            elif bias is not None:
                map_ = bias[:, None, None].expand(x.shape[1:])[None]
                constant = convolve(map_, code, self)[0]
        y = sums if constant is None else sums + constant
        smooth = y * scale[:, None, None]
        if shift is not None:
            smooth = smooth + shift[:, None, None]
        synapses = self.weight[0].numel()
        if self.pixels:
            width, fraction = (255 * 2 ** (_CONV_BITS - 1) * synapses).bit_length(), 0
        else:
            # The sums' integers have the stream's fractional bits, as the result: the units cancel.
            # What is left is about 1/Σ|q|, which this writes with eight significant bits and more.
            width = self._bits() + synapses.bit_length() + 8
            fraction = self.grid.fraction
        return Sums(smooth, sums, scale, shift, constant=constant, width=width, fraction=fraction)

    def _bits(self) -> int:
        return _CONV_BITS


class GridPointwise(_IntegerWeights, IntegerPointwise):  # type: ignore[misc]
    """`IntegerPointwise` of a stream."""

    stride, padding, dilation, groups = 1, 0, 1, 1

    def encode(self) -> tuple[Tensor, Tensor]:
        """Integers, of the shape of ``weight``, and their scales (filters,)."""
        return IntegerPointwise.encode(self)

    def _bits(self) -> int:
        return self.weight_quantiser.bits


class GridConv(_IntegerWeights, nn.Conv2d):  # type: ignore[misc]
    """PyTorch's convolution of a stream or of pixels, its weights rounded to 8 bits."""

    def encode(self) -> tuple[Tensor, Tensor]:
        """Integers, of the shape of ``weight``, and their scales (filters,)."""
        code, scale = IntegerWeight(_CONV_BITS).encode(self.weight.flatten(1))
        return code.reshape(self.weight.shape), scale
