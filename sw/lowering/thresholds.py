"""Thresholds in integers: a comparison, taken back through everything that was done to a sum.

That is done with rational numbers and their roots, without rounding: the bits are those of the
model as it is written, not those of its rounding errors.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from xnorflow.ir import MaxPool as MaxPoolNode
from xnorflow.ir import Threshold
from xnorflow.sw.frontend.graph import Clip, MaxPool, Scale, TwoSlope
from xnorflow.sw.lowering.borders import merge_classes
from xnorflow.sw.lowering.edges import Sums, spread
from xnorflow.sw.lowering.roots import ZERO, Root, RootSum
from xnorflow.sw.nn.quantiser import ActivationLevels


__all__ = ["thresholds"]


@dataclass(frozen=True)
class _Comparison:
    """``x ≥ limit`` where rising, otherwise ``x ≤ limit``; without a limit, always or never."""

    rising: bool
    limit: RootSum | None
    always: bool = False


def thresholds(
    sums: Sums, levels: ActivationLevels, name: str, origin: str
) -> list[Threshold | MaxPoolNode]:
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
    pools: list[tuple[int, list[bool]]] = []
    for step in reversed(sums.steps):
        if isinstance(step, MaxPool):
            pools.append((step.size, [not each.rising for each in comparisons]))
        else:
            comparisons = _before(step, comparisons, origin)
    threshold = _integers(sums, comparisons, f"{name}_threshold" if pools else name)
    nodes: list[Threshold | MaxPoolNode] = [threshold]
    for number, (size, falling) in enumerate(reversed(pools), 1):
        pool = f"{name}_pool{number}" if number < len(pools) else name
        inverted = np.array(falling, np.bool_)
        nodes.append(MaxPoolNode(pool, nodes[-1].name, size, inverted if inverted.any() else None))
    return nodes


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


def _integers(sums: Sums, comparisons: list[_Comparison], name: str) -> Threshold:
    """Threshold of what the node of ``sums`` delivers."""
    unit = Root(Fraction(1, 1 << sums.fraction))
    # The comparison with the inner side of the gain does not depend on the border class.
    inner = [
        each if each.limit is None else _unscale(each, gain * unit, ZERO)
        for each, gain in zip(comparisons, sums.gains, strict=True)
    ]
    inverses = [(gain * unit).inverse if gain.sign else None for gain in sums.gains]
    falling = np.array([not each.rising for each in inner], np.bool_)
    rows = []
    for offsets in sums.offsets:
        row = []
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
                limit = each.limit - offset * inverse
                # For integers, x ≤ t is the opposite of x ≥ floor(t) + 1.
                least = limit.ceil() if each.rising else limit.floor() + 1
                row.append(min(max(least, low), high + 1))
        rows.append(row)
    classes, values = merge_classes(sums.classes, np.array(rows, np.int64))
    several = len(values) > 1
    return Threshold(
        name,
        sums.node,
        values if several else values[0],
        np.array(sums.centres, np.int64) if any(sums.centres) else None,
        sums.fraction,
        falling if falling.any() else None,
        classes if several else None,
    )


def _reach(sums: Sums, channel: int) -> tuple[int, int]:
    """Smallest and largest ``2^fraction · x + centre · P`` of a channel."""
    low, high = sums.bounds[channel]
    low, high = low << sums.fraction, high << sums.fraction
    if any(sums.centres):
        popcount = sums.centres[channel] * sums.bounds[channel][1]
        low, high = low + min(0, popcount), high + max(0, popcount)
    return low, high
