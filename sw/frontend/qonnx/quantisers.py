"""Quantisers: of constants, to integers and a scale; of activations, to two levels or more."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir import MAX_LEVEL_BITS, Int, UInt
from xnorflow.sw.frontend.graph import Binarise, Function, Quantise, Scale
from xnorflow.sw.frontend.qonnx.values import (
    Call,
    Constant,
    Levels,
    Tensor,
    one,
    per_channel,
)
from xnorflow.sw.lowering.roots import ZERO, Root
from xnorflow.sw.nn.quantiser import ActivationLevels, ActivationSteps


__all__ = ["ACTIVATION_QUANTISERS", "WEIGHT_QUANTISERS", "Grid", "quantise", "recoded", "wide_grid"]

_MOST_BITS = 32
_WITH_SCALES = ("BipolarQuant", "IntQuant", "Quant")

_Rounding = Callable[[NDArray[np.float64]], NDArray[Any]]

_ROUNDINGS: dict[str, _Rounding] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.fix,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}


def _border(rounding: _Rounding, code: int) -> tuple[Fraction, bool]:
    """Number from which on a mode gives ``code``, and whether that number itself gives less."""
    for halves in (2 * code - 2, 2 * code - 1, 2 * code):
        below, above = rounding(np.array([halves / 2, halves / 2 + 0.25])).tolist()
        if above >= code:
            return Fraction(halves, 2), below < code
    raise AssertionError


# -- constants ----------------------------------------------------------------------------------


def _weights_of_quant(call: Call) -> Levels:
    values, scale = _numbers(call, 0), _spread(call, 1)
    zero, bits = _spread(call, 2), _bits(call)
    if not np.isin(zero, np.round(zero)).all():
        raise call.error("has a zero point that is no whole number")
    # float32 by float32: float64 has the digits to tell every tie from its neighbours.
    steps = values / scale + zero
    if bits == 1 and call.integer("signed", 1):
        code = np.where(steps >= 0, 1, -1)
    else:
        low, high = _range(call, bits)
        code = _rounding(call)(np.clip(steps, low, high)).astype(np.int64)
    return Levels(code - zero.astype(np.int64), scale)


def _weights_of_bipolar(call: Call) -> Levels:
    return Levels(np.where(_numbers(call, 0) >= 0, 1, -1), _spread(call, 1))


def _numbers(call: Call, n: int) -> NDArray[np.float64]:
    constant = call.needed(n)
    if isinstance(constant, Levels):
        raise call.error("quantises what is quantised already")
    values = np.asarray(constant, np.float64)
    if not np.isfinite(values).all():
        raise call.error("has a constant whose values are not finite numbers")
    return values


def _spread(call: Call, n: int) -> NDArray[np.float64]:
    """Scale or zero point, in the shape of the weights."""
    shape, values = call.needed(0).shape, _numbers(call, n)
    if n == 1 and not values.all():
        raise call.error("has a scale of 0")
    return np.broadcast_to(values, shape)


# -- activations --------------------------------------------------------------------------------


def quantise(call: Call, x: Tensor) -> list[tuple[str, Function]]:
    """Quantiser of an activation; and its scales, where channels have their own.

    ``s · q(x / s)`` compares x with s times the thresholds of q, and multiplies levels with s.
    """
    quantiser = ACTIVATION_QUANTISERS[call.op]
    scales = per_channel(call.needed(1), x, call) if call.op in _WITH_SCALES else []
    if len(set(scales)) < 2:
        return [("", quantiser(call, x))]
    if min(scales) <= 0:
        raise call.error("has scales of channels that are not all above 0")
    of_one = quantiser(replace(call, inputs=(x, np.ones(1), *call.inputs[2:])), x)
    gains = Scale(tuple(map(Root, scales)), (ZERO,))
    return [("", _stretched(of_one, scales)), ("_scaled", gains)]


def recoded(call: Call, x: Tensor, quantiser: Binarise | Quantise) -> Binarise | Quantise:
    """The same ``quantiser`` with the levels that another one makes of its own.

    Raises
    ------
    LoweringError
        If these are not as many, in steps of up to 15.
    """
    after = ACTIVATION_QUANTISERS[call.op](call, x)
    if isinstance(quantiser, Binarise):
        two = quantiser.levels
        low, high = (_value(call, after, level) for level in (two.low, two.low + two.step))
        if low == high:
            raise call.error("has two levels that are equal")
        return Binarise(replace(two, low=low, step=high - low))
    steps = quantiser.steps
    codes = steps.codes or range(len(steps.thresholds) + 1)
    first, *others = (_value(call, after, steps.unit * (steps.low + code)) for code in codes)
    above = [each - first for each in others]
    share = math.lcm(*(each.denominator for each in above))
    unit = Fraction(math.gcd(*(int(each * share) for each in above)), share)
    if above[-1] < 0:
        unit = -unit
    found = (0, *(int(each / unit) for each in above)) if unit else (0,)
    if len({*found}) <= len(above) or list(found) != sorted(found):
        raise call.error("quantises once more what has other levels then")
    _check_steps(call, found[-1])
    return Quantise(replace(steps, low=first / unit, unit=unit, codes=found))


def _value(call: Call, quantiser: Binarise | Quantise, x: Fraction) -> Fraction:
    """Level of the value ``x`` of any channel."""
    if isinstance(quantiser, Binarise):
        two = quantiser.levels
        bits = {
            (x <= t if inverted else x >= t)
            for t, inverted in zip(two.thresholds, two.inverted, strict=True)
        }
        if len(bits) > 1:
            raise call.error("quantises once more, with other thresholds for each channel")
        return two.low + two.step * bits.pop()
    steps = quantiser.steps
    counts = {
        sum(
            x > row[k % len(row)] if strict else x >= row[k % len(row)]
            for row, strict in zip(steps.thresholds, steps.strict, strict=True)
        )
        for k in range(max(map(len, steps.thresholds)))
    }
    if len(counts) > 1:
        raise call.error("quantises once more, with other thresholds for each channel")
    (count,) = counts
    return steps.unit * (steps.low + (steps.codes[count] if steps.codes else count))


def _stretched(quantiser: Binarise | Quantise, scales: list[Fraction]) -> Binarise | Quantise:
    """The same with one threshold for all channels times the scale of each."""

    def of_channels(thresholds: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        return tuple(scale * threshold for scale in scales for threshold in thresholds)

    if isinstance(quantiser, Quantise):
        rows = tuple(map(of_channels, quantiser.steps.thresholds))
        return Quantise(replace(quantiser.steps, thresholds=rows))
    levels = quantiser.levels
    inverted = levels.inverted * len(scales)
    thresholds = of_channels(levels.thresholds)
    return Binarise(replace(levels, thresholds=thresholds, inverted=inverted))


def _of_bipolar(call: Call, _x: Tensor) -> Binarise | Quantise:
    scale = one(call.needed(1), call, "scale")
    return _two(call, -scale, scale, [Fraction(0)])


def _of_quant(call: Call, _x: Tensor) -> Binarise | Quantise:
    scale, zero = one(call.needed(1), call, "scale"), one(call.needed(2), call, "zero point")
    bits = _bits(call)
    if not scale:
        raise call.error("has a scale of 0")
    if bits == 1 and call.integer("signed", 1):
        low, high, border, strict = -1, 1, Fraction(0), False
    else:
        low, high = _range(call, bits)
        if high - low > 1:
            return _several(call, low, high, scale, zero)
        border, strict = _border(_rounding(call), high)
    # x / scale + zero ≥ border, or > border; a scale below 0 inverts that.
    threshold = (border - zero) * scale
    below, above = (low - zero) * scale, (high - zero) * scale
    return _two(call, below, above, [threshold], inverted=scale < 0, strict=strict)


@dataclass(frozen=True)
class Grid:
    """Integers of a type, which stand for ``scale · (q − zero)``."""

    type: Int | UInt
    scale: Fraction
    zero: Fraction


def wide_grid(call: Call) -> Grid | None:
    """Grid of a Quant of more bits than an activation may have: that of an input."""
    if call.op not in ("IntQuant", "Quant"):
        return None
    bits = _bits(call)
    if bits <= MAX_LEVEL_BITS or call.integer("narrow", 0):
        return None
    scale, zero = one(call.needed(1), call, "scale"), one(call.needed(2), call, "zero point")
    if scale <= 0:
        raise call.error("has a scale that is not above 0")
    if call.text("rounding_mode", "ROUND").upper() not in ("ROUND", "HALF_EVEN"):
        raise call.error("quantises the input in another way than to the nearest, ties to even")
    return Grid(Int(bits) if call.integer("signed", 1) else UInt(bits), scale, zero)


def _several(
    call: Call, low: int, high: int, scale: Fraction, zero: Fraction
) -> Binarise | Quantise:
    """Codes ``low`` … ``high``, which stand for (code − zero) · scale."""
    _check_steps(call, high - low)
    if scale < 0:
        raise call.error("has a scale below 0")
    rounding = _rounding(call)
    borders = [_border(rounding, code) for code in range(low + 1, high + 1)]
    return Quantise(
        ActivationSteps(
            low - zero,
            scale,
            tuple(((border - zero) * scale,) for border, _ in borders),
            tuple(strict for _, strict in borders),
        )
    )


def _of_trunc(call: Call, _x: Tensor) -> Binarise | Quantise:
    """Codes of fewer bits: integers ``q`` of the nearest x / scale + zero, times 2^−k, rounded.

    With six inputs, the scale of the result says what k is, and codes are clipped to its bits; with
    five, as before, k is the difference of the bits, and either sign may come.
    """
    scale, zero = one(call.needed(1), call, "scale"), one(call.needed(2), call, "zero point")
    if len(call.inputs) > 5:
        unit, bits = one(call.needed(4), call, "output scale"), _bits(call, 5)
        factor = unit / scale if scale else Fraction(0)
        if scale <= 0 or not _is_power(factor):
            raise call.error("must have scales above 0, one of which is the other times 2^k")
        low, high = _range(call, bits)
        shift = zero / factor
    else:
        before, bits = _bits(call), _bits(call, 4)
        if scale <= 0 or before < bits:
            raise call.error("must have a scale above 0, and no more bits behind it than before")
        unit, factor, shift = scale, Fraction(1 << before - bits), zero
        low, high = -(1 << bits - 1), (1 << bits) - 1
    _check_steps(call, high - low)
    rounding = _rounding(call, "FLOOR")
    thresholds, stricts = [], []
    for code in range(low + 1, high + 1):
        border, strict = _border(rounding, code)
        least = border * factor
        # The smallest integer q that gives the code, and what is rounded to that.
        whole = math.floor(least) + 1 if strict else math.ceil(least)
        border, strict = _border(np.round, whole)
        thresholds.append(((border - zero) * scale,))
        stricts.append(strict)
    return Quantise(ActivationSteps(low - shift, unit, tuple(thresholds), tuple(stricts)))


def _is_power(factor: Fraction) -> bool:
    """Whether a number is a power of two."""
    return factor > 0 and factor.numerator.bit_count() == factor.denominator.bit_count() == 1


def _check_steps(call: Call, steps: int) -> None:
    if steps > 2**MAX_LEVEL_BITS - 1:
        raise call.error(f"has {steps + 1} levels: activations have at most {MAX_LEVEL_BITS} bits")


def _of_thresholds(call: Call, x: Tensor) -> Binarise | Quantise:
    constant = call.needed(1)
    if len(constant.shape) != 2:
        raise call.error(f"has thresholds {constant.shape}, which must be (channels, steps)")
    rank = x.order.ndim
    layout = call.text("data_layout", "") or {2: "NC", 3: "NWC"}.get(rank, "NCHW")
    axis = layout.find("C") if "C" in layout else 1
    shape = [1] * rank
    shape[axis] = -1
    assert not isinstance(constant, Levels)
    # How many are reached does not depend on their order.
    rows = [
        per_channel(np.asarray(row).reshape(shape), x, call) for row in np.sort(constant, axis=1).T
    ]
    low, unit = call.number("out_bias", 0.0), call.number("out_scale", 1.0)
    if len(rows) == 1:
        return _two(call, low, low + unit, rows[0])
    _check_steps(call, len(rows))
    if not unit:
        raise call.error("has an out_scale of 0")
    # Thresholds that all channels have several times are steps to levels further away.
    single = [row for row, behind in zip(rows, [*rows[1:], None], strict=True) if row != behind]
    if len(single) == 1:
        return _two(call, low, low + unit * len(rows), single[0])
    codes = () if len(single) == len(rows) else (0, *accumulate(map(rows.count, single)))
    steps = tuple(map(tuple, single))
    return Quantise(ActivationSteps(low / unit, unit, steps, (False,) * len(steps), codes))


def _of_sign(call: Call, _x: Tensor) -> Binarise | Quantise:
    return _two(call, Fraction(-1), Fraction(1), [Fraction(0)])


def _two(
    call: Call,
    low: Fraction,
    high: Fraction,
    thresholds: list[Fraction],
    *,
    inverted: bool = False,
    strict: bool = False,
) -> Binarise:
    """Levels: ``high`` where x ≥ threshold, or x > threshold if ``strict``; otherwise ``low``."""
    if low == high:
        raise call.error("has two levels that are equal")
    if strict:
        # x > t is where x ≤ t is not; so that comparison gives the lower level.
        low, high, inverted = high, low, not inverted
    many = len(thresholds)
    return Binarise(ActivationLevels(low, high - low, tuple(thresholds), (inverted,) * many))


def _bits(call: Call, n: int = 3) -> int:
    bits = one(call.needed(n), call, "bit width")
    if bits.denominator != 1 or not 1 <= bits <= _MOST_BITS:
        raise call.error(f"has a bit width of {bits}: it must be a whole number, 1 to {_MOST_BITS}")
    return int(bits)


def _range(call: Call, bits: int) -> tuple[int, int]:
    narrow = bool(call.integer("narrow", 0))
    if call.integer("signed", 1):
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def _rounding(call: Call, default: str = "ROUND") -> _Rounding:
    mode = call.text("rounding_mode", default).upper()
    if mode not in _ROUNDINGS:
        raise call.error(f"has the rounding mode {mode!r}: accepted are {', '.join(_ROUNDINGS)}")
    return _ROUNDINGS[mode]


WEIGHT_QUANTISERS: dict[str, Callable[[Call], Constant]] = {
    "BipolarQuant": _weights_of_bipolar,
    "IntQuant": _weights_of_quant,
    "Quant": _weights_of_quant,
}
ACTIVATION_QUANTISERS: dict[str, Callable[[Call, Tensor], Binarise | Quantise]] = {
    "BipolarQuant": _of_bipolar,
    "IntQuant": _of_quant,
    "MultiThreshold": _of_thresholds,
    "Quant": _of_quant,
    "Sign": _of_sign,
    "Trunc": _of_trunc,
}
