"""Thresholds and shifts that follow from the frame: DySign, DyPReLU, and the mean of a frame.

A hyper function maps the means g of a frame's channels to one number for each channel::

    τ = W₂·ReLU(W₁·g + b₁)

which is added to the static threshold, or shift, of ReActNet. W₂ starts at 0, and so training
starts exactly where ReActNet is. Source: DyBNN (ICASSP 2022); its authors say what depends on what,
not the reduction ratio or where the functions are shared.

On the grid, means are sums over all pixels, divided by the next power of two and rounded to the
stream; what is missing of the division is part of W₁. Both weights are integers in units of
2^−`HyperFunction.fraction`, and whatever is a sum of products is rounded to the stream, ties up.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.errors import NetworkError
from xnorflow.ir import Rounding
from xnorflow.sw.nn.grid import Grid, mean_shift, place
from xnorflow.sw.nn.optional import bias_of


__all__ = [
    "FrameMean",
    "HyperConfig",
    "HyperFunction",
    "HyperIntegers",
    "clip_shifts",
    "shift_rounding",
]

_LEAST_HIDDEN = 4
_WHOLE_BITS = 3


def shift_rounding(grid: Grid, shift: int) -> Rounding:
    """How thresholds and shifts get onto the stream's grid, which they may exceed by a bit."""
    return Rounding(shift, grid.bits + 1, grid.fraction)


def clip_shifts(x: Tensor, grid: Grid) -> Tensor:
    """``x`` within the range of thresholds and shifts."""
    type_, unit = shift_rounding(grid, 0).type, 2.0**-grid.fraction
    return x.clamp(type_.low * unit, type_.high * unit)


class HyperIntegers(NamedTuple):
    """Integer parameters of a hyper function on a grid: see `HyperFunction.integers`.

    Attributes
    ----------
    squeeze : (hidden, channels)
        W₁, with what is missing of the division by the number of pixels.
    offset : (hidden,)
        b₁, with as many more fractional bits than the stream as W₁ has.
    excite : (outputs, hidden)
        W₂.
    """

    squeeze: Tensor
    offset: Tensor
    excite: Tensor


@dataclass(frozen=True)
class HyperConfig:
    """How large hyper functions are.

    Attributes
    ----------
    ratio : int
        How many times fewer hidden units than channels there are, but not fewer than 4.
    bits : int
        Width of the weights on a grid, 4 to 12; three of them are in front of the binary point.

    Raises
    ------
    NetworkError
        If the ratio or the width is out of range.
    """

    ratio: int = 16
    bits: int = 12

    def __post_init__(self) -> None:
        if self.ratio < 1:
            raise NetworkError(
                f"the ratio of a hyper function must be at least 1, not {self.ratio}"
            )
        if not 4 <= self.bits <= 12:
            raise NetworkError(
                f"the bits of a hyper function's weights must be from 4 to 12, not {self.bits}"
            )


_DEFAULT = HyperConfig()


class HyperFunction(nn.Module):
    """A few numbers for each frame, from the means of its channels: two small dense layers.

    Parameters
    ----------
    channels, outputs : int
    config : HyperConfig
    """

    def __init__(self, channels: int, outputs: int, config: HyperConfig = _DEFAULT) -> None:
        super().__init__()
        self.bits = config.bits
        self.squeeze = nn.Linear(channels, max(_LEAST_HIDDEN, channels // config.ratio))
        self.excite = nn.Linear(self.squeeze.out_features, outputs, bias=False)
        nn.init.zeros_(self.excite.weight)
        # Of few hidden units, all might be below 0 for every frame, and would never learn anything.
        nn.init.constant_(self.squeeze.bias, 0.5)

    @property
    def fraction(self) -> int:
        """Fractional bits of the weights."""
        return self.bits - _WHOLE_BITS

    def integers(self, grid: Grid, pixels: int, bias: Tensor | None = None) -> HyperIntegers:
        """Both layers as integers, for frames of so many ``pixels``, to which ``bias`` is added."""
        unit = 2.0**self.fraction
        return HyperIntegers(
            self._code(self._missing(pixels) * self.squeeze.weight),
            (self._offset(bias) * (unit * 2.0**grid.fraction)).round(),
            self._code(self.excite.weight),
        )

    def forward(self, x: Tensor, grid: Grid | None = None, bias: Tensor | None = None) -> Tensor:
        """Map ``x`` (N, channels, H, W), plus ``bias`` (channels,), to (N, outputs, 1, 1)."""
        with torch.autocast(x.device.type, enabled=False):
            pixels = x.shape[2] * x.shape[3]
            weight = self._missing(pixels) * self.squeeze.weight
            excite: Tensor = self.excite.weight
            g = x.sum(dim=(2, 3)) * 2.0 ** -mean_shift(pixels)
            if grid is None:
                h = functional.linear(g, weight, self._offset(bias)).relu()
                return functional.linear(h, excite)[:, :, None, None]
            unit, codes = 2.0**-self.fraction, self.integers(grid, pixels, bias)
            weight = place(weight, codes.squeeze.detach() * unit)
            excite = place(excite, codes.excite.detach() * unit)
            scale = 2.0**grid.fraction
            sums = functional.linear(place(g, grid.round_to_grid(g.detach() * scale)), weight)
            exact = grid.round_to_grid(sums.detach() * scale + codes.offset.detach() * unit)
            y = functional.linear(place(sums + self._offset(bias), exact).relu(), excite)
            y = place(y, (y.detach() * scale + 0.5).floor() / scale)
            return y[:, :, None, None]

    def _offset(self, bias: Tensor | None) -> Tensor:
        offset = bias_of(self.squeeze)
        return offset if bias is None else offset + self.squeeze.weight @ bias

    def _missing(self, pixels: int) -> float:
        return 2.0 ** mean_shift(pixels) / pixels

    def _code(self, weight: Tensor) -> Tensor:
        most = 2 ** (self.bits - 1)
        return (weight * 2.0**self.fraction).round().clamp(-most, most - 1)


class FrameMean(nn.Module):
    """Every frame standardised over all its values: SiMaN's and RBNN's, in front of a sign.

    The result is ≥ 0 exactly where ``x·n ≥ Σx``, n being the number of values of a frame: so no
    grid is needed. Source: SiMaN, arXiv 2102.07981.
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W); same shape."""
        values = x[0].numel()
        above = x * values - x.sum(dim=(1, 2, 3), keepdim=True)
        variance = x.var(dim=(1, 2, 3), correction=0, keepdim=True)
        return above * ((variance + self.eps).rsqrt() / values)
