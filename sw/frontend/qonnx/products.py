"""Convolutions of integers as files have them: sums of products, and thresholds of these.

A node's convolution is ``y = Σ w·u + k``, u = 0 outside the frame. A file may have ``u + c`` for
u, with zeros outside: then ``Σ w·(u + c)`` is ``Σ w·u + c·W``, where W is the sum of the weights
inside the frame. With the right c, the same for a whole map, thresholds of y that depend on how
much of a window is inside are the same ones for all pixels.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir import BinaryConv, FeatureMap, Gate, IntegerConv, MultiThreshold, Threshold
from xnorflow.sw.lowering.borders import find_borders


__all__ = [
    "EXACT",
    "Products",
    "Range",
    "compared",
    "products_of",
    "range_of",
    "simplest",
    "steps_of",
    "uniform",
]

EXACT = 1 << 24
"""Integers up to here are exact in float32."""

_Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Products:
    """A convolution ``Σ weights·u + constant`` of a map.

    Attributes
    ----------
    node : BinaryConv or IntegerConv
    x : FeatureMap
        What it gets.
    weights : int array, (filters, rows, columns, channels)
    constant : int array, (filters,)
    """

    node: BinaryConv | IntegerConv
    x: FeatureMap
    weights: _Ints
    constant: _Ints

    @property
    def padded(self) -> bool:
        """Whether windows reach outside the frame."""
        return any(axis.before or axis.after for axis in self.node.axes)

    def reach(self, shift: Fraction) -> _Ints:
        """Largest magnitude of ``Σ weights·(u + shift)`` in steps of the shift's denominator."""
        most = max(abs(end + shift) for end in (self.x.type.low, self.x.type.high, -shift))
        return np.abs(self.weights).sum(axis=(1, 2, 3)) * int(most * shift.denominator)


def products_of(
    node: BinaryConv | IntegerConv,
    x: FeatureMap,
    factor: _Ints | None = None,
    popcount: _Ints | None = None,
) -> Products:
    """Products of ``factor·y + popcount·P``, of a ``node`` that delivers y and P."""
    weights = node.weights.astype(np.int64)
    constant = np.zeros(node.filters, np.int64)
    if isinstance(node, BinaryConv) and node.gate is Gate.XNOR:
        counted = np.ones_like(weights) if node.mask is None else node.mask.astype(np.int64)
        constant = (2**node.bits - 1) * (counted - weights).sum(axis=(1, 2, 3))
        weights = 2 * weights - counted
    if factor is not None:
        weights, constant = factor.reshape(-1, 1, 1, 1) * weights, factor * constant
    if popcount is not None:
        weights = weights + popcount.reshape(-1, 1, 1, 1)
    return Products(node, x, weights, constant)


def compared(
    node: Threshold | MultiThreshold, conv: BinaryConv | IntegerConv, x: FeatureMap
) -> Products:
    """Products that a ``node`` behind a convolution of ``x`` compares with its thresholds."""
    if not isinstance(node, Threshold) or node.popcount_weights is None:
        return products_of(conv, x)
    factor = np.full(conv.filters, 1 << node.fraction, np.int64)
    return products_of(conv, x, factor, node.popcount_weights)


def steps_of(node: Threshold | MultiThreshold) -> _Ints:
    """Thresholds of each step, of what `compared` gives: (steps, channels), or by class, too."""
    if isinstance(node, MultiThreshold):
        return node.repeated()
    # Of integers, 2ⁿ·y ≥ t is y ≥ ⌈t / 2ⁿ⌉; with P, the products are 2ⁿ·y + ρ·P themselves.
    fraction = 0 if node.popcount_weights is not None else node.fraction
    return -(-node.thresholds[np.newaxis] >> fraction)


@dataclass(frozen=True)
class Range:
    """Numbers between two others, either of which may be missing."""

    low: Fraction | None = None
    high: Fraction | None = None

    def __and__(self, other: "Range") -> "Range":
        lows = [each for each in (self.low, other.low) if each is not None]
        highs = [each for each in (self.high, other.high) if each is not None]
        return Range(max(lows, default=None), min(highs, default=None))

    def __contains__(self, value: Fraction) -> bool:
        above = self.low is None or value > self.low
        return above and (self.high is None or value < self.high)


@dataclass(frozen=True, eq=False)
class _Classes:
    """Thresholds of ``Σ w·u`` by class of pixels; all (classes, filters), the first by step, too.

    Attributes
    ----------
    thresholds : int array, (steps, classes, filters)
    inside : int array
        Sum of the weights inside the frame.
    low, high : int array
        Smallest and largest sum.
    """

    thresholds: _Ints
    inside: _Ints
    low: _Ints
    high: _Ints


def range_of(layer: Products, node: Threshold | MultiThreshold) -> Range | None:
    """Shifts c with which thresholds are the same for all pixels, if there are any."""
    classes = _classes(layer, node)
    always, never = classes.thresholds <= classes.low, classes.thresholds > classes.high
    found = Range()
    for row, reached, missed in zip(classes.thresholds, always, never, strict=True):
        for p in range(row.shape[0]):
            # t[p] − 1 + c·W[p] < t[q] + c·W[q], unless one of them is never in between.
            gaps = row[p] - 1 - row
            slopes = classes.inside[p] - classes.inside
            matters = ~(reached[p] | missed)
            if (matters & (slopes == 0) & (gaps >= 0)).any():
                return None
            highest = _least(-gaps[matters & (slopes > 0)], slopes[matters & (slopes > 0)])
            lowest = _least(-gaps[matters & (slopes < 0)], -slopes[matters & (slopes < 0)])
            found &= Range(None if lowest is None else -lowest, highest)
    return found


def _least(numerators: _Ints, denominators: _Ints) -> Fraction | None:
    """Smallest fraction of all."""
    if not numerators.size:
        return None
    floats = numerators / denominators
    near = floats <= floats.min() + 1e-9 * max(1.0, abs(floats.min()))
    pairs = zip(numerators[near].tolist(), denominators[near].tolist(), strict=True)
    return min(Fraction(n, d) for n, d in pairs)


def uniform(layer: Products, node: Threshold | MultiThreshold, shift: Fraction) -> _Ints | None:
    """Thresholds (steps, filters) of the sum of products with ``u + shift``, or None.

    The sum is in steps of the shift's denominator.
    """
    classes = _classes(layer, node)
    steps = shift.denominator
    offsets = int(shift * steps) * classes.inside
    first = steps * classes.thresholds + offsets
    before = np.where(classes.thresholds <= classes.low, np.iinfo(np.int64).min, first - steps)
    never = classes.thresholds > classes.high
    after = np.where(never & ~never.all(axis=1, keepdims=True), np.iinfo(np.int64).max, first)
    found = np.where(never.all(axis=1), after.max(axis=1), after.min(axis=1))
    return found if (before.max(axis=1) < found).all() else None


def _classes(layer: Products, node: Threshold | MultiThreshold) -> _Classes:
    thresholds = steps_of(node)
    if node.classes is None:
        thresholds = thresholds[:, np.newaxis]
    conv = layer.node
    borders = find_borders(
        (layer.x.height, layer.x.width),
        (conv.kernel[0], conv.kernel[1]),
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
    )
    count = thresholds.shape[1]
    pixels = borders.classes * count + (0 if node.classes is None else node.classes)
    border, own = np.divmod(np.unique(pixels), count)
    inside = borders.inside[border].astype(np.int64)

    def summed(weights: _Ints) -> _Ints:
        return np.einsum("cij,fij->cf", inside, weights.sum(axis=3))

    positive, negative = (
        summed(np.maximum(layer.weights, 0)),
        summed(np.minimum(layer.weights, 0)),
    )
    low, high = layer.x.type.low, layer.x.type.high
    ends = low * positive + high * negative, high * positive + low * negative
    found = np.clip(thresholds[:, own] - layer.constant, ends[0], ends[1] + 1)
    return _Classes(found, positive + negative, *ends)


def simplest(within: Range, denominators: Iterable[int]) -> Fraction | None:
    """Number with the first of the ``denominators`` that has one within a range."""
    for each in denominators:
        if within.low is not None:
            found = Fraction(math.floor(within.low * each) + 1, each)
        else:
            found = Fraction(0 if within.high is None else math.ceil(within.high * each) - 1, each)
        if found in within:
            return found
    return None
