"""Thresholds in integers: a comparison, taken back through everything that was done to a sum.

That is done with rational numbers and their roots, without rounding: the bits are those of the
model as it is written, not those of its rounding errors.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir import MaxPool as MaxPoolNode
from xnorflow.ir import MultiThreshold, Threshold
from xnorflow.ir import Upsample as UpsampleNode
from xnorflow.sw.frontend.graph import Clip, MaxPool, Scale, TwoSlope, Upsample
from xnorflow.sw.lowering.borders import merge_classes
from xnorflow.sw.lowering.edges import Sums, spread
from xnorflow.sw.lowering.roots import ONE, ZERO, Root, RootSum
from xnorflow.sw.nn.quantiser import ActivationLevels, ActivationSteps


__all__ = ["PoolNode", "multi_thresholds", "pool_node", "thresholds"]

PoolNode = MaxPoolNode | UpsampleNode
"""Nodes that stand behind a threshold, although they come before it."""


@dataclass(frozen=True)
class _Comparison:
    """``x ≥ limit`` where rising, otherwise ``x ≤ limit``; without a limit, always or never."""

    rising: bool
    limit: RootSum | None
    always: bool = False


def thresholds(
    sums: Sums, levels: ActivationLevels, name: str, origin: str
) -> list[Threshold | PoolNode]:
    """Nodes that binarise ``sums``, the last one called ``name``: a threshold, and pools behind it.

    A pool takes the largest value, and so the threshold may come first: the largest one passes
    ``x ≥ t`` if any does, and ``x ≤ t`` if all do.
    """
    channels = sums.map.channels
    comparisons = [
        _Comparison(not inverted, RootSum.rational(threshold))
        for threshold, inverted in zip(
            spread(levels.thresholds, channels, origin),
            spread(levels.inverted, channels, origin),
            strict=True,
        )
    ]
    comparisons, pools = _back(sums, comparisons, origin)
    falling, rows = _integers(sums, comparisons)
    classes, values = merge_classes(sums.classes, rows)
    several = len(values) > 1
    threshold = Threshold(
        f"{name}_threshold" if pools else name,
        sums.node,
        values if several else values[0],
        np.array(sums.centres, np.int64) if any(sums.centres) else None,
        sums.fraction,
        falling if falling.any() else None,
        classes if several else None,
    )
    return [threshold, *_pools(threshold.name, name, pools)]


def multi_thresholds(
    sums: Sums, steps: ActivationSteps, name: str, origin: str
) -> list[MultiThreshold | PoolNode]:
    """Nodes that make codes of ``sums``: several thresholds, and pools behind them."""
    channels = sums.map.channels
    directions, constants, found = [], [], []
    for row, strict in zip(steps.thresholds, steps.strict, strict=True):
        # x > t is the opposite of x ≤ t.
        comparisons = [
            _Comparison(not strict, RootSum.rational(threshold))
            for threshold in spread(row, channels, origin)
        ]
        comparisons, _ = _back(sums, comparisons, origin)
        falling, rows = _integers(sums, comparisons)
        directions.append(falling ^ strict)
        constants.append([each.limit is None for each in comparisons])
        found.append(rows)
    # Steps that are always or never reached have no direction, but get that of the others.
    inverted = (np.array(directions) & ~np.array(constants)).any(axis=0)
    low, high = (np.array(ends) for ends in zip(*sums.bounds, strict=True))
    for rows, direction in zip(found, directions, strict=True):
        ends = np.where(rows == low, high + 1, low)
        rows[:] = np.where(direction == inverted, rows, ends)
    # (border classes, steps · channels)
    together = np.sort(np.array(found), axis=0).transpose(1, 0, 2).reshape(len(sums.offsets), -1)
    classes, values = merge_classes(sums.classes, together)
    pools = _monotonic_pools(sums, origin)
    thresholds_ = values.reshape(len(values), len(found), channels).transpose(1, 0, 2)
    several = len(values) > 1
    node = MultiThreshold(
        f"{name}_threshold" if pools else name,
        sums.node,
        thresholds_ if several else thresholds_[:, 0],
        inverted if inverted.any() else None,
        classes if several else None,
        steps.codes or None,
    )
    return [node, *_pools(node.name, name, pools)]


_Pool = tuple[MaxPool | Upsample, list[bool]]
"""What moves or pools pixels, and the channels on which the smallest value counts."""


def _back(
    sums: Sums, comparisons: list[_Comparison], origin: str
) -> tuple[list[_Comparison], list[_Pool]]:
    """Comparisons in front of all steps of ``sums``, and the pools among these, the last first."""
    pools: list[_Pool] = []
    for step in reversed(sums.steps):
        if isinstance(step, MaxPool | Upsample):
            pools.append((step, [not each.rising for each in comparisons]))
        else:
            comparisons = _before(step, comparisons, origin)
    return comparisons, pools


def _monotonic_pools(sums: Sums, origin: str) -> list[_Pool]:
    """The pools among the steps of ``sums``, the last first, where codes take the place of values.

    Codes rise with what is pooled, unless scales behind the pool are negative.
    """
    pools: list[_Pool] = []
    falling = [False] * sums.map.channels
    for step in reversed(sums.steps):
        if isinstance(step, MaxPool | Upsample):
            pools.append((step, falling))
        elif isinstance(step, Scale):
            gains = spread(step.gain, len(falling), origin)
            falling = [each != (gain.sign < 0) for each, gain in zip(falling, gains, strict=True)]
    return pools


def _pools(source: str, name: str, pools: list[_Pool]) -> list[PoolNode]:
    """Nodes of pools, the last one called ``name``."""
    nodes: list[PoolNode] = []
    for number, (pool, falling) in enumerate(reversed(pools), 1):
        each = f"{name}_pool{number}" if number < len(pools) else name
        before = nodes[-1].name if nodes else source
        nodes.append(pool_node(pool, each, before, np.array(falling, np.bool_)))
    return nodes


def pool_node(
    pool: MaxPool | Upsample, name: str, source: str, inverted: NDArray[np.bool_]
) -> PoolNode:
    """Node of a pool of bits or codes, which stand for smaller values where ``inverted``."""
    if isinstance(pool, Upsample):
        return UpsampleNode(name, source, pool.factor)
    smallest = inverted if inverted.any() else None
    return MaxPoolNode(name, source, pool.size, smallest, stride=pool.stride, padding=pool.padding)


def _before(
    step: Scale | TwoSlope | Clip, comparisons: list[_Comparison], origin: str
) -> list[_Comparison]:
    """Comparisons of what a ``step`` gets that are those of what it gives."""
    channels = len(comparisons)
    match step:
        case Scale():
            gains = spread(step.gain, channels, origin)
            shifts = spread(step.shift, channels, origin)
            return list(map(_unscale, comparisons, gains, shifts))
        case TwoSlope():
            positive = spread(step.positive, channels, origin)
            negative = spread(step.negative, channels, origin)
            return list(map(_unbend, comparisons, positive, negative))
        case Clip():
            return [_unclip(each, step) for each in comparisons]


def _unscale(comparison: _Comparison, gain: Root, shift: RootSum) -> _Comparison:
    """Comparison of x, from one of ``gain · x + shift``."""
    if comparison.limit is None:
        return comparison
    limit = comparison.limit - shift
    if not gain.sign:
        return _constant(limit.sign <= 0 if comparison.rising else limit.sign >= 0)
    return _Comparison(comparison.rising == (gain.sign > 0), limit * gain.inverse)


def _unbend(comparison: _Comparison, positive: Root, negative: Root) -> _Comparison:
    """Comparison of x, from one of ``positive · max(x, 0) + negative · min(x, 0)``."""
    limit = comparison.limit
    if limit is None:
        return comparison
    sign = limit.sign
    # Both sides of 0 rise, so 0 itself is on one side of the limit, and the limit on one of 0.
    slope = positive if sign > 0 or (sign == 0 and not comparison.rising) else negative
    if slope.sign:
        return _Comparison(comparison.rising, limit * slope.inverse)
    # A slope of 0 never reaches a limit but 0.
    passes = sign <= 0 if comparison.rising else sign >= 0
    return _constant(passes)


def _unclip(comparison: _Comparison, clip: Clip) -> _Comparison:
    """Comparison of x, from one of x within a range."""
    limit = comparison.limit
    if limit is None:
        return comparison
    below = 1 if clip.low is None else (limit - clip.low).sign
    above = -1 if clip.high is None else (limit - clip.high).sign
    if comparison.rising and (below <= 0 or above > 0):
        return _constant(below <= 0)
    if not comparison.rising and (above >= 0 or below < 0):
        return _constant(above >= 0)
    return comparison


def _constant(passes: bool) -> _Comparison:
    return _Comparison(True, None, passes)


def _integers(
    sums: Sums, comparisons: list[_Comparison]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Thresholds of what the node of ``sums`` delivers: (border classes, channels).

    Before them, (channels,): where ``x < threshold`` is meant.
    """
    unit = Root(Fraction(1, 1 << sums.fraction))
    # The comparison with the inner side of the gain does not depend on the border class.
    inner = [
        each if each.limit is None else _unscale(each, gain * unit, ZERO)
        for each, gain in zip(comparisons, sums.gains, strict=True)
    ]
    inverses = [(gain * unit).inverse if gain.sign else None for gain in sums.gains]
    falling = np.array([not each.rising for each in inner], np.bool_)
    rows = []
    for n, offsets in enumerate(sums.offsets):
        row = []
        divisor = Root(1 / sums.shares[n]) if sums.shares else ONE
        for k, (each, outer, offset) in enumerate(zip(inner, comparisons, offsets, strict=True)):
            low, high = _reach(sums, k)
            inverse = inverses[k]
            if outer.limit is None:
                row.append(low if outer.always else high + 1)
            elif inverse is None:
                passes = (offset - outer.limit).sign * (1 if outer.rising else -1) >= 0
                row.append(low if passes else high + 1)
            else:
                assert each.limit is not None
                limit = (each.limit - offset * inverse) * divisor
                # For integers, x ≤ t is the opposite of x ≥ floor(t) + 1.
                least = limit.ceil() if each.rising else limit.floor() + 1
                row.append(min(max(least, low), high + 1))
        rows.append(row)
    return falling, np.array(rows, np.int64)


def _reach(sums: Sums, channel: int) -> tuple[int, int]:
    """Smallest and largest ``2^fraction · x + centre · P`` of a channel."""
    low, high = sums.bounds[channel]
    low, high = low << sums.fraction, high << sums.fraction
    if any(sums.centres):
        popcount = sums.centres[channel] * sums.bounds[channel][1]
        low, high = low + min(0, popcount), high + max(0, popcount)
    return low, high
