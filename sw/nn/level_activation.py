"""Activations of a few levels that are not evenly spaced, with a learned scale."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor

from xnorflow.errors import NetworkError
from xnorflow.ir import MAX_LEVEL_BITS
from xnorflow.sw.nn.integer_activation import ScaledActivation
from xnorflow.sw.nn.quantiser import ActivationSteps


__all__ = ["LevelActivation"]

_MOST = 2**MAX_LEVEL_BITS - 1


class LevelActivation(ScaledActivation):
    """``s`` times the nearest of given levels to ``x / s``, with a learned s; ties are rounded up.

    Gradients are those of `IntegerActivation`.

    Parameters
    ----------
    levels : sequence of int, float or Fraction
        At least three, rising, and multiples of one step above the lowest, up to 15 of them: powers
        of two, such as (0, 1, 2, 4, 8), or (−1, −0.5, 0, 0.5, 1.5).
    scale : float
        First s.

    Attributes
    ----------
    log_scale : scalar
        Natural logarithm of s.

    Examples
    --------
    >>> nn.LevelActivation((0, 1, 2, 4, 8))(torch.tensor([[-1.0, 1.4, 3.5, 9.0]])).tolist()
    [[0.0, 1.0, 4.0, 8.0]]
    """

    def __init__(self, levels: Sequence[int | float | Fraction], *, scale: float = 1.0) -> None:
        self._levels = _exact(levels)
        super().__init__(float(self._levels[0]), float(self._levels[-1]), scale)
        self._step, self._codes = _codes(self._levels)
        self._middles = tuple((a + b) / 2 for a, b in pairwise(self._levels))

    def _reached(self, x: Tensor) -> Tensor:
        return torch.bucketize((x / self.scale()).contiguous(), _like(x, self._middles), right=True)

    def nearest(self, x: Tensor) -> Tensor:
        """Level of ``x``, without the scale; same shape."""
        return _like(x, self._levels)[self._reached(x)]

    def observed(self, x: Tensor) -> Tensor:
        """Codes of ``x``: levels in steps above the lowest; same shape."""
        return _like(x, self._codes)[self._reached(x)]

    def steps(self) -> ActivationSteps:
        """Exact codes and thresholds, of the scale in float64."""
        scale = Fraction(self.scale().item())
        rows = tuple((scale * middle,) for middle in self._middles)
        low, unit = self._levels[0] / self._step, scale * self._step
        return ActivationSteps(low, unit, rows, (False,) * len(rows), self._codes)


def _exact(levels: Sequence[int | float | Fraction]) -> tuple[Fraction, ...]:
    """The same levels as fractions."""
    try:
        exact = tuple(Fraction(each) for each in levels)
    except (TypeError, ValueError, OverflowError):
        raise NetworkError(f"levels must be numbers, not {levels!r}") from None
    if len(exact) < 3 or any(a >= b for a, b in pairwise(exact)):
        raise NetworkError(f"levels must be three rising numbers or more, not {levels!r}")
    if max(_codes(exact)[1]) > _MOST:
        raise NetworkError(
            f"levels must be multiples of one step up to {_MOST} above the lowest, not {levels!r}"
        )
    return exact


def _codes(levels: Sequence[Fraction]) -> tuple[Fraction, tuple[int, ...]]:
    """Largest step of which all levels are multiples above the lowest, and these multiples."""
    above = [level - levels[0] for level in levels]
    share = math.lcm(*(each.denominator for each in above))
    step = Fraction(math.gcd(*(int(each * share) for each in above)), share)
    return step, tuple(int(each / step) for each in above)


def _like(x: Tensor, values: Sequence[Fraction | int]) -> Tensor:
    return torch.tensor([float(each) for each in values], dtype=x.dtype, device=x.device)
