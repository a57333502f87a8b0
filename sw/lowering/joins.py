"""Maps whose channels are put behind each other, in a unit that they have in common."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from xnorflow.errors import LoweringError
from xnorflow.ir import (
    MAX_LEVEL_BITS,
    Affine,
    Concat,
    FeatureMap,
    MultiThreshold,
    Node,
    Rounding,
    int_bits,
)
from xnorflow.sw.lowering.edges import Joined, Levels, Sums, scaled
from xnorflow.sw.lowering.roots import Root, RootSum


__all__ = ["join_levels", "join_scores", "join_sums"]

_WIDEST = 16
"""Bits of a factor that brings sums to a common unit."""


def join_levels(parts: Sequence[Levels], name: str, origin: str) -> tuple[list[Node], Levels]:
    """Nodes that join bits or codes, the last one called ``name``, and what it delivers.

    Where they stand for different levels, they become codes of the steps between all levels.

    Raises
    ------
    LoweringError
        If there are too many such steps.
    """
    if len({(part.low, part.step, part.map.type) for part in parts}) == 1:
        low, unit = parts[0].low, parts[0].step
        joined = Concat.of(name, [part.node for part in parts])
        map_ = joined.infer(*(part.map for part in parts))
        return [joined], Levels(name, map_, low, unit)
    low, unit, steps = _common_levels(parts, origin)
    names = [f"{name}_codes{n}" for n in range(len(parts))]
    nodes = [_recoded(*each, low, unit, steps) for each in zip(parts, names, strict=True)]
    joined = Concat.of(name, names)
    maps = [node.infer(part.map) for node, part in zip(nodes, parts, strict=True)]
    return [*nodes, joined], Levels(name, joined.infer(*maps), low, unit)


def _common_levels(parts: Sequence[Levels], origin: str) -> tuple[Fraction, Fraction, int]:
    """Lowest of all levels, the step to which all are multiples above it, and the largest one."""
    levels = {part.low + part.step * u for part in parts for u in range(part.map.type.high + 1)}
    above = [level - min(levels) for level in levels]
    share = math.lcm(*(each.denominator for each in above))
    unit = Fraction(math.gcd(*(int(each * share) for each in above)), share)
    steps = max(above) / unit
    if not 2 <= steps < 1 << MAX_LEVEL_BITS:
        raise LoweringError(
            f"{origin} joins activations whose levels are no codes of 2 to {MAX_LEVEL_BITS} bits "
            "together: accepted are the same levels, or such with a common step"
        )
    return min(levels), unit, int(steps)


def _recoded(part: Levels, name: str, low: Fraction, unit: Fraction, steps: int) -> MultiThreshold:
    """Codes of other levels: each is reached by those that stand for it or more."""
    codes = [(part.low + part.step * u - low) / unit for u in range(part.map.type.high + 1)]
    falling = part.step < 0
    # Where codes fall, they are what is missing to the highest one.
    reached = [steps - code if falling else code for code in codes]
    least = [sum(each < step for each in reached) for step in range(1, steps + 1)]
    channels = part.map.channels
    thresholds = np.tile(np.array(least)[:, None], channels)
    inverted = np.ones(channels, np.bool_) if falling else None
    return MultiThreshold(name, part.node, thresholds, inverted)


def _same_type(nodes: Sequence[Affine], maps: Sequence[FeatureMap]) -> list[Affine]:
    """The same ``nodes`` on ``maps``, whose results are as wide as the widest of them."""
    types = [node.infer(map_).type for node, map_ in zip(nodes, maps, strict=True)]
    bits = max(int_bits(type_.low, type_.high) for type_ in types)
    return [replace(node, rounding=Rounding(0, bits)) for node in nodes]


def join_scores(nodes: Sequence[Affine], maps: Sequence[FeatureMap]) -> list[Node]:
    """The same ``nodes`` on ``maps``, and all of their scores, called ``scores``."""
    if len(nodes) == 1:
        return [replace(nodes[0], name="scores")]
    return [*_same_type(nodes, maps), Concat.of("scores", [node.name for node in nodes])]


def join_sums(joined: Joined, name: str, origin: str) -> tuple[list[Node], Sums]:
    """Nodes that join sums as integers in one unit, the last one called ``name``.

    Raises
    ------
    LoweringError
        If their scales have no common unit.
    """
    parts = [scaled(part, origin) for part in joined.parts]
    gains = [gain for part in parts for gain in part.gains]
    first = next((gain for gain in gains if gain.sign), None)
    ratios = [RootSum.of(gain * first.inverse).as_rational() if first else None for gain in gains]
    known = [ratio for ratio in ratios if ratio is not None]
    share = math.lcm(*(ratio.denominator for ratio in known))
    scales = [int(ratio * share) for ratio in known]
    mixed = any(any(part.centres) or len(part.offsets) > 1 for part in parts)
    if first is None or mixed or len(known) < len(ratios) or max(map(abs, scales)) >> _WIDEST:
        raise LoweringError(
            f"{origin} takes sums whose scales have no common unit: binarise them first, or put "
            "the model on a fixed-point grid with prepare(model, grid)"
        )
    nodes: list[Affine] = []
    start = 0
    for n, part in enumerate(parts):
        scale = np.array(scales[start : start + part.map.channels])
        nodes.append(Affine(f"{name}_{n}", part.node, scale, 0 * scale))
        start += part.map.channels
    alike = _same_type(nodes, [part.map for part in parts])
    last = Concat.of(name, [node.name for node in nodes])
    map_ = last.infer(*(n.infer(part.map) for n, part in zip(alike, parts, strict=True)))
    bounds = [bound for part in parts for bound in part.bounds]
    sums = Sums(
        name,
        map_,
        (first * Root(Fraction(1, share)),) * len(scales),
        (tuple(offset for part in parts for offset in part.offsets[0]),),
        np.zeros((map_.height, map_.width), np.int64),
        tuple(
            (min(low * scale, high * scale), max(low * scale, high * scale))
            for (low, high), scale in zip(bounds, scales, strict=True)
        ),
    )
    return [*alike, last], sums
