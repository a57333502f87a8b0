"""Exact comparison of square roots with rational numbers.

Scales and deviations are roots of rational numbers. Comparing squares decides on which side of a
threshold a value lies, even if it lies on it, which no number of digits could.
"""

import math
from bisect import bisect_left
from fractions import Fraction
from typing import TypeVar


__all__ = ["first_above", "sign_of_difference", "signed_square"]

_Number = TypeVar("_Number", int, Fraction)


def signed_square(x: Fraction) -> Fraction:
    """x·|x|, of which x is the signed root."""
    return x * abs(x)


def sign_of_difference(u: _Number, v: _Number, r: _Number) -> int:
    """Sign of √u + √v − r, where the root of a negative number u is −√|u|.

    Two numbers of the same sign compare as their squares do, and (√u + √v)² − r² has but one root.
    """
    left, right = _sign(u + v), _sign(r)
    if left != right:
        return _sign(left - right)
    # (√u + √v)² = |u| + |v| + √(4uv)
    rest = abs(u) + abs(v) - r * r
    return left * _sign(rest * abs(rest) + 4 * u * v)


def first_above(
    candidates: range, slope: Fraction, offset: Fraction, u: Fraction, v: Fraction
) -> int:
    """Smallest n with slope·n + offset ≥ √u + √v, for a positive slope.

    Roots are as in `sign_of_difference`. If no candidate is large enough, the end of the range.
    """
    # Integers throughout, because reducing fractions in every step would take most of the time.
    unit = math.lcm(u.denominator, v.denominator, slope.denominator, offset.denominator)
    a, b = int(slope * unit), int(offset * unit)
    square_u, square_v = int(u * unit**2), int(v * unit**2)

    def reached(n: int) -> bool:
        return sign_of_difference(square_u, square_v, a * n + b) <= 0

    return candidates.start + bisect_left(candidates, True, key=reached)


def _sign(x: _Number) -> int:
    return (x > 0) - (x < 0)
