"""Windows of a convolution or a pool: where their taps lie, along rows and along columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.values import MAX_SIDE, check_range


__all__ = [
    "Axis",
    "Padding",
    "Pair",
    "axes_of",
    "check_padding",
    "check_pair",
    "four",
    "pair",
    "shortest",
]

Pair = int | tuple[int, int]
"""A number for both directions, or one for rows and one for columns."""

Padding = int | tuple[int, int] | tuple[int, int, int, int]
"""A `Pair`, or one number each for top, bottom, left and right."""

_SIDES = "top", "bottom", "left", "right"


@dataclass(frozen=True)
class Axis:
    """Windows along the rows of a map, or along its columns.

    Tap t of window w is at ``w · stride + t · dilation − before``.

    Parameters
    ----------
    taps : int
        Of a window.
    stride : int
        From one window to the next.
    before, after : int
        Places outside the frame that windows may reach, on each side.
    dilation : int
        From one tap to the next.
    """

    taps: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """Places from the first tap of a window to its last one, both included."""
        return (self.taps - 1) * self.dilation + 1

    def count(self, side: int) -> int:
        """Windows on a ``side`` of so many pixels, less than 1 if not even one fits."""
        return (side + self.before + self.after - self.span) // self.stride + 1

    def places(self, side: int) -> NDArray[np.int64]:
        """Where the taps lie on a ``side``: (windows, taps)."""
        first = np.arange(self.count(side)) * self.stride - self.before
        return first[:, np.newaxis] + np.arange(self.taps) * self.dilation


def axes_of(
    kernel: Sequence[int], stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1
) -> tuple[Axis, Axis]:
    """Rows and columns of the windows of a ``kernel`` (rows, columns, …)."""
    top, bottom, left, right = four(padding)
    strides, dilations = pair(stride), pair(dilation)
    return (
        Axis(kernel[0], strides[0], top, bottom, dilations[0]),
        Axis(kernel[1], strides[1], left, right, dilations[1]),
    )


def pair(value: Pair) -> tuple[int, int]:
    """Numbers for rows and for columns."""
    return (value, value) if isinstance(value, int) else value


def four(padding: Padding) -> tuple[int, int, int, int]:
    """Padding at the top, the bottom, the left and the right."""
    if isinstance(padding, int) or len(padding) == 2:
        rows, columns = pair(padding)
        return rows, rows, columns, columns
    return padding


def shortest(sides: tuple[int, ...]) -> Any:
    """Shortest form of numbers (rows, columns) or (top, bottom, left, right)."""
    if len(set(sides)) == 1:
        return sides[0]
    if len(sides) == 4 and sides[0] == sides[1] and sides[2] == sides[3]:
        return sides[0], sides[2]
    return sides


def check_pair(what: str, value: object, low: int = 1, high: int = MAX_SIDE) -> Pair:
    """Shortest form of a `Pair` of integers from ``low`` to ``high``.

    Raises
    ------
    NetworkError
        If ``value`` is none.
    """
    if not isinstance(value, tuple | list):
        check_range(what, value, low, high)
        return value  # type: ignore[return-value]
    if len(value) != 2:
        raise NetworkError(f"{what} must be an integer or (rows, columns), not {value!r}")
    for name, each in zip(("rows", "columns"), value, strict=True):
        check_range(f"{what} of {name}", each, low, high)
    return shortest(tuple(value))


def check_padding(what: str, value: object, spans: tuple[int, int]) -> Padding:
    """Shortest form of a `Padding` that is less than the ``spans`` of a kernel (rows, columns).

    Raises
    ------
    NetworkError
        If ``value`` is none.
    """
    if not isinstance(value, tuple | list):
        check_range(what, value, 0, min(spans) - 1)
        return value  # type: ignore[return-value]
    if len(value) not in (2, 4):
        raise NetworkError(
            f"{what} must be an integer, (rows, columns) or ({', '.join(_SIDES)}), not {value!r}"
        )
    sides = four(tuple(value))
    for name, each, span in zip(_SIDES, sides, np.repeat(spans, 2).tolist(), strict=True):
        check_range(f"{what} at the {name}", each, 0, span - 1)
    return shortest(sides)
