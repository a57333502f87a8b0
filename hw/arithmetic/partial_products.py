"""Products that are too wide for one hard multiplier, as sums."""

from amaranth import *


__all__ = ["partial_products"]


def partial_products(a, b, bits):
    """Terms whose sum is ``a * b``, each a product of signed operands of ``bits`` at most.

    With a register behind each term, no adder comes behind a multiplier in the same cycle.
    """
    return [(x * y) << (low + shift) for x, low in _parts(a, bits) for y, shift in _parts(b, bits)]


def _parts(value, bits):
    """Parts of an operand, and by how many bits each is to be shifted."""
    shape = value.shape()
    if shape.width + (not shape.signed) <= bits:
        return [(value, 0)]
    low, high = value[: bits - 1], value[bits - 1 :]
    if shape.signed:
        high = high.as_signed()
    return [(low, 0), *((part, bits - 1 + shift) for part, shift in _parts(high, bits))]
