"""Larger values of two words."""

from amaranth import *
from amaranth.lib import data


__all__ = ["largest"]


def largest(word, other, inverted, shape):
    """Larger values of two words, or the smaller ones where ``inverted`` has a bit, if it is one.

    A value of a word is of a ``shape``.
    """
    if shape.width == 1:
        return _largest_bits(word, other, inverted)
    lanes = data.ArrayLayout(shape, len(word) // shape.width)
    if inverted is None:
        inverted = Const(0, lanes.length)
    pairs = zip(lanes(word), lanes(other), inverted, strict=True)
    return Cat(Mux((a > b) ^ smallest, a, b) for a, b, smallest in pairs)


def _largest_bits(word, other, inverted):
    if inverted is None:
        return word | other
    return (word | other) & ~inverted | word & other & inverted
