"""Exact arithmetic with sums of square roots.

Scales and standard deviations are roots of rational numbers, so a threshold is a sum of a few of
them. Whether such a sum is an integer decides on ties, which no number of digits could.
"""

import math
from dataclasses import dataclass
from fractions import Fraction


__all__ = ["ONE", "ZERO", "Root", "RootSum"]

_FIRST_PRECISION = 96


@dataclass(frozen=True)
class Root:
    """``factor · √radicand``.

    Attributes
    ----------
    factor : Fraction
    radicand : Fraction
        Positive.
    """

    factor: Fraction
    radicand: Fraction = Fraction(1)

    def __mul__(self, other: "Root") -> "Root":
        return Root(self.factor * other.factor, self.radicand * other.radicand)

    @property
    def inverse(self) -> "Root":
        """1 divided by this, which must not be 0."""
        return Root(1 / (self.factor * self.radicand), self.radicand)

    @property
    def sign(self) -> int:
        """−1, 0 or 1."""
        return (self.factor > 0) - (self.factor < 0)


ONE = Root(Fraction(1))


@dataclass(frozen=True)
class RootSum:
    """Σ factor · √radicand, exactly.

    Attributes
    ----------
    roots : tuple of Root
        None of them 0, and no two with the same radicand.
    """

    roots: tuple[Root, ...] = ()

    @classmethod
    def of(cls, *roots: Root) -> "RootSum":
        """Sum of any ``roots``."""
        factors: dict[Fraction, Fraction] = {}
        for root in roots:
            factors[root.radicand] = factors.get(root.radicand, Fraction()) + root.factor
        return cls(tuple(Root(factor, radicand) for radicand, factor in factors.items() if factor))

    @classmethod
    def rational(cls, value: Fraction | float) -> "RootSum":
        """A rational number; a float stands for exactly the number that it is."""
        return cls.of(Root(Fraction(value)))

    def __add__(self, other: "RootSum") -> "RootSum":
        return RootSum.of(*self.roots, *other.roots)

    def __neg__(self) -> "RootSum":
        return RootSum(tuple(Root(-root.factor, root.radicand) for root in self.roots))

    def __sub__(self, other: "RootSum") -> "RootSum":
        return self + -other

    def __mul__(self, root: Root) -> "RootSum":
        return RootSum.of(*(each * root for each in self.roots))

    @property
    def sign(self) -> int:
        """−1, 0 or 1."""
        low, high = self._bracket(_FIRST_PRECISION)
        precision = _FIRST_PRECISION
        while low <= 0 <= high:
            if self._is_zero():
                return 0
            precision *= 2
            low, high = self._bracket(precision)
        return 1 if low > 0 else -1

    def floor(self) -> int:
        """Largest integer that is not above the sum."""
        precision = _FIRST_PRECISION
        while True:
            low, high = (bound >> precision for bound in self._bracket(precision))
            if low == high:
                return low
            if high == low + 1 and (self - RootSum.rational(high))._is_zero():
                return high
            precision *= 2

    def ceil(self) -> int:
        """Smallest integer that is not below the sum."""
        return -(-self).floor()

    def as_rational(self) -> Fraction | None:
        """The sum, if it is rational."""
        kinds = self._square_classes()
        if any(radicand != 1 for radicand in kinds):
            return None
        return kinds.get(Fraction(1), Fraction())

    def _bracket(self, precision: int) -> tuple[int, int]:
        """Bounds in units of 2^−precision."""
        low = high = 0
        for root in self.roots:
            square = root.factor**2 * root.radicand
            floor = math.isqrt((square.numerator << 2 * precision) // square.denominator)
            # The root lies in floor … floor + 1.
            low += floor if root.factor > 0 else -floor - 1
            high += floor + 1 if root.factor > 0 else -floor
        return low, high

    def _is_zero(self) -> bool:
        return not self._square_classes()

    def _square_classes(self) -> dict[Fraction, Fraction]:
        """Sum of factors for radicands of which no two have a rational root as their ratio.

        Roots of such radicands are linearly independent over the rational numbers. Classes whose
        sum is 0 are left out; the class of 1 has the radicand 1.
        """
        sums: dict[Fraction, Fraction] = {Fraction(1): Fraction()}
        for root in self.roots:
            for radicand in sums:
                ratio = _rational_root(root.radicand / radicand)
                if ratio is not None:
                    sums[radicand] += root.factor * ratio
                    break
            else:
                sums[root.radicand] = root.factor
        return {radicand: factor for radicand, factor in sums.items() if factor}


ZERO = RootSum()


def _rational_root(square: Fraction) -> Fraction | None:
    """Root of a positive rational number, if it is rational itself."""
    numerator, denominator = math.isqrt(square.numerator), math.isqrt(square.denominator)
    if numerator**2 != square.numerator or denominator**2 != square.denominator:
        return None
    return Fraction(numerator, denominator)
