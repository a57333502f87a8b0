from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xnorflow.sw.roots import first_above, sign_of_difference, signed_square


fractions = st.fractions(-100, 100, max_denominator=50)


def root(x):
    """Signed root, to 60 digits."""
    with localcontext(prec=60):
        magnitude = (Decimal(abs(x.numerator)) / Decimal(x.denominator)).sqrt()
        return magnitude if x >= 0 else -magnitude


def sign(x):
    return (x > 0) - (x < 0)


@given(fractions)
def test_signed_square(x):
    assert sign(signed_square(x)) == sign(x)
    assert abs(signed_square(x)) == x * x


@given(fractions, fractions, fractions)
def test_rational_roots_are_exact(p, q, r):
    u, v = signed_square(p), signed_square(q)
    assert sign_of_difference(u, v, r) == sign(p + q - r)
    assert sign_of_difference(u, v, p + q) == 0
    assert sign_of_difference(u, 0, p) == 0


@given(fractions, fractions, fractions)
@example(Fraction(2), Fraction(-2), Fraction(0))
@example(Fraction(8), Fraction(-2), Fraction(1))
def test_irrational_roots(u, v, r):
    with localcontext(prec=60):
        difference = root(u) + root(v) - Decimal(r.numerator) / Decimal(r.denominator)
    # Roots of such small numbers do not come closer than this without being equal.
    expected = 0 if abs(difference) < Decimal("1e-40") else sign(difference)
    assert sign_of_difference(u, v, r) == expected


@pytest.mark.parametrize("digits", [20, 200])
def test_closer_than_any_float(digits):
    """√2 against its first digits, rounded down and up."""
    scale = 10**digits
    with localcontext(prec=digits + 10):
        below = Fraction(int(Decimal(2).sqrt() * scale), scale)
    assert sign_of_difference(2, 0, below) == 1
    assert sign_of_difference(2, 0, below + Fraction(1, scale)) == -1
    assert sign_of_difference(-2, 0, -below) == -1
    assert sign_of_difference(8, -2, below) == 1
    assert sign_of_difference(8, -2, below + Fraction(1, scale)) == -1


@given(
    st.integers(-60, 60), st.integers(0, 40), fractions.filter(lambda x: x > 0), fractions,
    fractions, fractions,
)  # fmt: skip
def test_first_above(start, length, slope, offset, u, v):
    candidates = range(start, start + length)

    found = first_above(candidates, slope, offset, u, v)

    reached = [n for n in candidates if sign_of_difference(u, v, slope * n + offset) <= 0]
    assert found == min(reached, default=candidates.stop)


@given(
    st.integers(-60, 60), st.integers(0, 40), fractions.filter(lambda x: x > 0), fractions,
    fractions,
)  # fmt: skip
def test_first_above_may_be_equal(start, index, slope, offset, p):
    candidates = range(start, start + 41)
    q = slope * candidates[index] + offset - p
    u, v = signed_square(p), signed_square(q)
    assert first_above(candidates, slope, offset, u, v) == candidates[index]
