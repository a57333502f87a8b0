"""Scales of the channels of bits and codes, which the weights of the layer behind them absorb."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.sw.frontend.graph import Operation, Scale, WeightedSum
from xnorflow.sw.lowering.edges import Levels, spread
from xnorflow.sw.lowering.roots import ONE, Root, RootSum


__all__ = ["absorbed", "rescaled"]

_WIDEST = 15
"""Bits of a weight that has absorbed a scale, without its sign."""


def rescaled(x: Levels, scale: Scale, origin: str) -> Levels:
    """Bits or codes whose channels are multiplied with constants.

    Raises
    ------
    LoweringError
        If they are shifted, too.
    """
    channels = x.map.channels
    if any(shift.sign for shift in scale.shift):
        raise LoweringError(
            f"{origin} shifts what an activation quantiser delivers: accepted are scales"
        )
    gains = spread(scale.gain, channels, origin)
    before = x.scales or (ONE,) * channels
    return replace(x, scales=tuple(a * b for a, b in zip(before, gains, strict=True)))


def absorbed(operation: Operation, layer: WeightedSum, x: Levels) -> tuple[WeightedSum, Levels]:
    """The same layer of bits without scales: exactly, or not at all.

    Each filter takes the scale that all channels of its group share; where they differ by whole
    factors, these go into weights, which are integers then.

    Raises
    ------
    LoweringError
        If channels of one sum have scales that are no small multiples of one number.
    """
    if not x.scales:
        return layer, x
    weights, groups = layer.weights, layer.groups
    each = x.map.height * x.map.width if layer.dense else 1
    scales = [scale for scale in x.scales for _ in range(each)]
    count, filters = len(scales) // groups, len(weights.code) // groups
    code, gains = weights.code.copy(), list(weights.scales)
    for group in range(groups):
        unit, factors = _unit(scales[group * count : (group + 1) * count], operation.origin)
        where = slice(group * filters, (group + 1) * filters)
        code[where] *= factors
        gains[where] = [gain * unit for gain in gains[where]]
    same = np.array_equal(code, weights.code)
    if not same and (any(weights.centres) or np.abs(code).max() >> _WIDEST):
        raise _refusal(operation.origin)
    plain = replace(weights, code=code, scales=tuple(gains), binary=weights.binary and same)
    return replace(layer, weights=plain), replace(x, scales=())


def _unit(scales: list[Root], origin: str) -> tuple[Root, NDArray[np.int64]]:
    """Number of which all ``scales`` are multiples, and the factors."""
    first = next((scale for scale in scales if scale.sign), None)
    if first is None:
        raise _refusal(origin)
    ratios = [RootSum.of(scale * first.inverse).as_rational() for scale in scales]
    known = [ratio for ratio in ratios if ratio is not None]
    share = math.lcm(*(ratio.denominator for ratio in known))
    factors = [int(ratio * share) for ratio in known]
    if len(known) < len(ratios) or max(map(abs, factors)) >> _WIDEST:
        raise _refusal(origin)
    return first * Root(Fraction(1, share)), np.array(factors)


def _refusal(origin: str) -> LoweringError:
    return LoweringError(
        f"{origin} adds channels of activations with different scales: accepted are one scale for "
        "each group, or scales that are small multiples of one number and weights without centres"
    )
