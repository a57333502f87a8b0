"""Sums of square roots, exactly."""

from decimal import Decimal, getcontext, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorflow.sw.lowering.roots import Root, RootSum


fractions = st.fractions(-50, 50, max_denominator=40)
roots = st.builds(Root, fractions, st.fractions(Fraction(1, 30), 40, max_denominator=30))
sums = st.lists(roots, max_size=5).map(lambda terms: RootSum.of(*terms))


def decimal(value):
    getcontext().prec = 80

    def of(fraction):
        return Decimal(fraction.numerator) / Decimal(fraction.denominator)

    return sum((of(root.factor) * of(root.radicand).sqrt() for root in value.roots), Decimal(0))


@given(sums)
def test_floor_and_ceil_bracket_the_sum(value):
    exact = decimal(value)
    nearest = exact.to_integral_value()
    if abs(exact - nearest) < Decimal(10) ** -60:
        assert value.floor() == value.ceil() == nearest
    else:
        assert value.floor() < exact < value.ceil() == value.floor() + 1


@given(sums, sums, roots)
def test_arithmetic(a, b, root):
    close = Decimal(10) ** -60
    factor = decimal(RootSum.of(root))
    assert abs(decimal(a + b) - decimal(a) - decimal(b)) < close
    assert abs(decimal(a - b) - decimal(a) + decimal(b)) < close
    assert abs(decimal(a * root) - decimal(a) * factor) < close
    assert (a - a).sign == 0


@given(sums)
def test_sign(value):
    exact = decimal(value)
    assert value.sign == (0 if abs(exact) < Decimal(10) ** -60 else (exact > 0) - (exact < 0))


def test_roots_that_cancel():
    two, eight = Root(Fraction(2), Fraction(2)), Root(Fraction(-1), Fraction(8))
    assert RootSum.of(two, eight).sign == 0
    assert RootSum.of(two, eight, Root(Fraction(7))).floor() == 7
    assert RootSum.of(two, eight, Root(Fraction(7, 2))).as_rational() == Fraction(7, 2)
    assert RootSum.of(two).as_rational() is None


@pytest.mark.parametrize("factor", [Fraction(3), Fraction(-2, 7)])
def test_inverse(factor):
    root = Root(factor, Fraction(5, 3))
    assert RootSum.of(root * root.inverse).as_rational() == 1


@pytest.mark.parametrize("digits", [20, 200])
def test_closer_than_any_float(digits):
    """√2 against its first digits, rounded down and up."""
    scale = 10**digits
    with localcontext(prec=digits + 10):
        below = Fraction(int(Decimal(2).sqrt() * scale), scale)
    root, eight = Root(Fraction(1), Fraction(2)), Root(Fraction(1), Fraction(8))
    for value in (RootSum.of(root), RootSum.of(eight) - RootSum.of(root)):
        assert (value - RootSum.rational(below)).sign == 1
        assert (value - RootSum.rational(below + Fraction(1, scale))).sign == -1
        assert (-value + RootSum.rational(below)).sign == -1
