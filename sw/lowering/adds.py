"""Residual sums of two maps, without rounding: both are brought to a common unit."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.ir import Add, Affine, BinaryConv, Gate, Node, UInt
from xnorflow.ir.values import MAX_BITS, int_bits
from xnorflow.sw.lowering.averages import level_sums
from xnorflow.sw.lowering.edges import Edge, Joined, Sums, scaled
from xnorflow.sw.lowering.roots import ONE, Root, RootSum


__all__ = ["add_maps"]

_MOST_STEPS = 1 << 16
"""Of the common unit in a step of a map."""


def add_maps(x: Edge, other: Edge, name: str, origin: str) -> tuple[list[Node], Sums]:
    """Nodes that add two maps, the last one called ``name``, and what it delivers.

    Raises
    ------
    LoweringError
        If they are neither bits, codes nor scaled sums, or if their scales have no common unit.
    """
    nodes: list[Node] = []
    parts = [
        _sums(edge, f"{name}_counts{n}", nodes, origin) for n, edge in enumerate((x, other), 1)
    ]
    units, factors = _common(parts, origin)
    maps = []
    for n, (part, factor) in enumerate(zip(parts, factors, strict=True), 1):
        affine = Affine(f"{name}_part{n}", part.node, factor, 0 * factor)
        maps.append(affine.infer(part.map))
        nodes.append(affine)
    low, high = (sum(ends) for ends in zip(*((m.type.low, m.type.high) for m in maps), strict=True))
    bits = int_bits(low, high)
    if bits > MAX_BITS:
        raise LoweringError(f"{origin} has sums of {bits} bits: accepted are {MAX_BITS}")
    add = Add(name, f"{name}_part1", f"{name}_part2", bits)
    nodes.append(add)
    classes, offsets = _offsets(*parts)
    return nodes, Sums(name, add.infer(*maps), units, offsets, classes, _bounds(parts, factors))


def _sums(edge: Edge, name: str, nodes: list[Node], origin: str) -> Sums:
    """Sums without steps; those of bits and codes are the counts of a convolution of one tap."""
    if isinstance(edge, Joined):
        raise LoweringError(f"{origin} adds channels of several maps: add them before they join")
    if isinstance(edge, Sums):
        if any(edge.centres):
            raise LoweringError(f"{origin} adds sums of weights that have centres of their own")
        return scaled(edge, origin)
    channels = edge.map.channels
    planes = edge.map.type.bits if isinstance(edge.map.type, UInt) else 1
    ones = np.ones((channels, 1, 1, 1), np.bool_)
    count = BinaryConv(name, edge.node, ones, groups=channels, gate=Gate.AND, bits=planes)
    nodes.append(count)
    return replace(level_sums(edge), node=name, map=count.infer(edge.map))


def _common(
    parts: list[Sums], origin: str
) -> tuple[tuple[Root, ...], tuple[NDArray[np.int64], ...]]:
    """A unit for each channel, and how many of it a step of each map is."""
    units, rows = [], []
    for gains in zip(*(part.gains for part in parts), strict=True):
        first = next((gain for gain in gains if gain.sign), ONE)
        ratios = [RootSum.of(gain * first.inverse).as_rational() for gain in gains]
        known = [ratio for ratio in ratios if ratio is not None]
        whole = math.lcm(*(ratio.denominator for ratio in known))
        steps = [int(ratio * whole) for ratio in known]
        if len(known) < len(ratios) or max(map(abs, steps)) > _MOST_STEPS:
            raise LoweringError(
                f"{origin} adds maps whose scales have nothing in common: give both the same scale "
                "and no batch normalisation of their own, quantise both before they are added, or "
                "put the model on a fixed-point grid with prepare(model, grid)"
            )
        units.append(first * Root(Fraction(1, whole)))
        rows.append(steps)
    return tuple(units), tuple(np.array(row, np.int64) for row in zip(*rows, strict=True))


def _offsets(x: Sums, other: Sums) -> tuple[NDArray[np.int64], tuple[tuple[RootSum, ...], ...]]:
    """Classes of pixels that are of the same class in both maps, and their offsets."""
    count = len(other.offsets)
    pairs, classes = np.unique(x.classes * count + other.classes, return_inverse=True)
    offsets = tuple(
        tuple(a + b for a, b in zip(x.offsets[p // count], other.offsets[p % count], strict=True))
        for p in pairs.tolist()
    )
    return classes.reshape(x.classes.shape), offsets


def _bounds(
    parts: list[Sums], factors: tuple[NDArray[np.int64], ...]
) -> tuple[tuple[int, int], ...]:
    ends = [
        np.sort(np.array(part.bounds, object) * factor[:, np.newaxis], axis=1)
        for part, factor in zip(parts, factors, strict=True)
    ]
    return tuple((int(low), int(high)) for low, high in sum(ends[1:], ends[0]))
