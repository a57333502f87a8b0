"""A fixed-point grid in the forward pass, so that training sees what the hardware does.

A stream value is an integer X that stands for X · 2^−fraction. Each step of a residual network
computes its value twice: smoothly, which is what gradients flow through, and on the grid, which is
what goes on. In float64 the second is exact, and so lowering has only to read the integers.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from xnorflow.errors import NetworkError
from xnorflow.ir import Rounding


__all__ = ["Grid", "hardtanh", "mean_shift", "place"]


@dataclass(frozen=True)
class Grid:
    """Which fixed-point numbers a residual network computes with.

    Attributes
    ----------
    bits, fraction : int
        Of the residual stream: its values are ``bits`` wide in all, and a multiple of 2^−fraction.
    slope_fraction : int
        Fractional bits of the two slopes of an activation function.
    score_bits : int
        Width of the classifier's weights.
    narrow : bool
        Whether the stream is clipped to a symmetric range, from −2^(bits − 1) + 1 on.

    Raises
    ------
    NetworkError
        If a value is out of range.

    Examples
    --------
    >>> grid = xnorflow.Grid(bits=16, fraction=8)  # multiples of 1/256
    >>> grid.clip(torch.tensor([-200.0, 0.5, 200.0])).tolist()
    [-128.0, 0.5, 127.99609375]
    """

    bits: int = 16
    fraction: int = 8
    slope_fraction: int = 10
    score_bits: int = 7
    narrow: bool = False

    def __post_init__(self) -> None:
        for what, value, low, high in (
            ("bits of the residual stream", self.bits, 2, 24),
            ("fractional bits of the residual stream", self.fraction, 0, 16),
            ("fractional bits of slopes", self.slope_fraction, 0, 12),
            ("bits of the classifier's weights", self.score_bits, 2, 16),
        ):
            if not low <= value <= high:
                raise NetworkError(f"the {what} must be from {low} to {high}, not {value}")

    def rounding(self, shift: int) -> Rounding:
        """How sums with ``shift`` more fractional bits get onto the stream."""
        return Rounding(shift, self.bits, self.fraction, self.narrow)

    def within_one(self) -> "Grid":
        """The same numbers up to ±1: from −1 to 1 − 2^−fraction, which is all that fit."""
        return replace(self, bits=min(self.bits, self.fraction + 1))

    def clip(self, x: Tensor) -> Tensor:
        """``x`` within the range of the stream."""
        ends, unit = self.rounding(0), 2.0**-self.fraction
        return x.clamp(ends.low * unit, ends.high * unit)

    def round_to_grid(self, x: Tensor) -> Tensor:
        """Nearest value of the stream, in units of 1, of ``x`` in units of 2^−fraction.

        ``x`` is overwritten.
        """
        ends = self.rounding(0)
        return x.add_(0.5).floor_().clamp_(ends.low, ends.high).mul_(2.0**-self.fraction)


def mean_shift(pixels: int) -> int:
    """Bits by which a sum over so many pixels is shifted, so that it fits the stream."""
    return (pixels - 1).bit_length()


def hardtanh(x: Tensor, grid: Grid | None) -> Tensor:
    """``x`` within ±1; on the grid, within `Grid.within_one`."""
    return x.clamp(-1, 1) if grid is None else grid.within_one().clip(x)


def place(smooth: Tensor, exact: Tensor) -> Tensor:
    """The value of ``exact``, with the gradient of ``smooth``; both have the same shape."""
    return _Place.apply(smooth, exact)


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, _smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.view_as(exact)

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
