"""Words: what flows between components.

A *vector* is what one neuron sees: the pixel's channels, or for a dense layer the whole frame. It
travels as ``ceil(length / lanes)`` words of `lanes` consecutive values, lowest index in lane 0.
Where the lanes do not divide the length, the last word's spare lanes are undefined, and whoever
reads them masks them. Words are counted; nothing inside an accelerator marks first or last.
"""

from functools import cache

from amaranth import *
from amaranth.lib import data

from xnorflow.ir import Bit, Counts, FeatureMap, Int, UInt


__all__ = [
    "check_lanes",
    "lane_layout",
    "map_layout",
    "value_bits",
    "value_shape",
    "vector_of",
    "words_of",
]


def lane_layout(shape, lanes, *, popcount=None):
    """Payload of a word: ``lanes`` values of ``shape``, and where one goes along the popcount P.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        One value.
    lanes : :class:`int`
        Values a word.
    popcount : :class:`ShapeLike`, optional
        Shape of P, if words carry it.
    """
    members = {"lanes": data.ArrayLayout(shape, lanes)}
    if popcount is not None:
        members["popcount"] = popcount
    return data.StructLayout(members)


def value_shape(value_type):
    """Shape of one value of a :class:`xnorflow.ir.ValueType`."""
    match value_type:
        case Bit():
            return unsigned(1)
        case UInt(bits):
            return unsigned(bits)
        case Int(bits):
            return signed(bits)
        case Counts(taps):
            return Shape.cast(range(taps + 1))


def value_bits(feature_map):
    """Bits of a value of a map."""
    return _width(feature_map.type)


_width = cache(lambda value_type: value_shape(value_type).width)


def map_layout(feature_map, lanes):
    """Payload of a word of :class:`xnorflow.ir.FeatureMap` ``feature_map``."""
    shape = value_shape(feature_map.type)
    popcount = isinstance(feature_map.type, Counts) and feature_map.type.popcount
    return lane_layout(shape, lanes, popcount=shape if popcount else None)


def check_lanes(source, lanes):
    """Check that words of ``lanes`` values do not cut pixels of a feature map ``source``.

    Raises
    ------
    :exc:`ValueError`
        If the lanes do not divide the channels.
    """
    if lanes < 1 or source.channels % lanes:
        raise ValueError(f"Lanes must divide the {source.channels} channels, not {lanes!r}")


def vector_of(source: FeatureMap, lanes: int) -> int:
    """Values after which words of ``lanes`` repeat: a pixel, or the frame if it cuts pixels."""
    return source.size if source.channels % lanes else source.channels


def words_of(source: FeatureMap, lanes: int) -> int:
    """Words of ``lanes`` values in a frame."""
    vector = vector_of(source, lanes)
    return source.size // vector * -(-vector // lanes)
