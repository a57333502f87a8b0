"""Quantisers: of constants, to integers and a scale; of activations, to two levels.

Activations of more levels are to be read here, where `_of_quant` and `_of_thresholds` refuse them.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.sw.frontend.graph import Binarise
from xnorflow.sw.frontend.qonnx.values import (
    Call,
    Constant,
    Levels,
    Tensor,
    one,
    per_channel,
)
from xnorflow.sw.nn.quantiser import ActivationLevels


__all__ = ["ACTIVATION_QUANTISERS", "WEIGHT_QUANTISERS"]

_MOST_BITS = 32

_ROUNDINGS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[Any]], Fraction, bool]] = {
    "ROUND": (np.round, Fraction(1, 2), True),
    "HALF_EVEN": (np.round, Fraction(1, 2), True),
    "CEIL": (np.ceil, Fraction(0), True),
    "FLOOR": (np.floor, Fraction(1), False),
    "UP": (lambda x: np.sign(x) * np.ceil(np.abs(x)), Fraction(0), True),
    "DOWN": (np.fix, Fraction(1), False),
    "HALF_UP": (lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5), Fraction(1, 2), False),
    "HALF_DOWN": (lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5), Fraction(1, 2), True),
}
"""Each mode as a function, where it goes from 0 to 1, and whether that number itself gives 0."""


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
        code = _rounding(call)[0](np.clip(steps, low, high)).astype(np.int64)
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


def _of_bipolar(call: Call, _x: Tensor) -> Binarise:
    scale = one(call.needed(1), call, "scale")
    return _two(call, -scale, scale, [Fraction(0)])


def _of_quant(call: Call, _x: Tensor) -> Binarise:
    scale, zero = one(call.needed(1), call, "scale"), one(call.needed(2), call, "zero point")
    bits = _bits(call)
    if not scale:
        raise call.error("has a scale of 0")
    if bits == 1 and call.integer("signed", 1):
        low, high, border, strict = -1, 1, Fraction(0), False
    elif _range(call, bits) == (0, 1):
        low, high = 0, 1
        _, border, strict = _rounding(call)
    else:
        raise call.error(f"quantises an activation to {bits} bits: accepted is 1 bit so far")
    # x / scale + zero ≥ border, or > border; a scale below 0 inverts that.
    threshold = (border - zero) * scale
    below, above = (low - zero) * scale, (high - zero) * scale
    return _two(call, below, above, [threshold], inverted=scale < 0, strict=strict)


def _of_thresholds(call: Call, x: Tensor) -> Binarise:
    constant = call.needed(1)
    if len(constant.shape) != 2 or constant.shape[1] != 1:
        raise call.error(
            f"has thresholds {constant.shape}: accepted so far are (channels, 1) or (1, 1)"
        )
    rank = x.order.ndim
    layout = call.text("data_layout", "") or {2: "NC", 3: "NWC"}.get(rank, "NCHW")
    axis = layout.find("C") if "C" in layout else 1
    shape = [1] * rank
    shape[axis] = -1
    assert not isinstance(constant, Levels)
    spread = per_channel(constant.reshape(shape), x, call)
    low = call.number("out_bias", 0.0)
    return _two(call, low, low + call.number("out_scale", 1.0), spread)


def _of_sign(call: Call, _x: Tensor) -> Binarise:
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


def _bits(call: Call) -> int:
    bits = one(call.needed(3), call, "bit width")
    if bits.denominator != 1 or not 1 <= bits <= _MOST_BITS:
        raise call.error(f"has a bit width of {bits}: it must be a whole number, 1 to {_MOST_BITS}")
    return int(bits)


def _range(call: Call, bits: int) -> tuple[int, int]:
    narrow = bool(call.integer("narrow", 0))
    if call.integer("signed", 1):
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def _rounding(
    call: Call,
) -> tuple[Callable[[NDArray[np.float64]], NDArray[Any]], Fraction, bool]:
    mode = call.text("rounding_mode", "ROUND").upper()
    if mode not in _ROUNDINGS:
        raise call.error(f"has the rounding mode {mode!r}: accepted are {', '.join(_ROUNDINGS)}")
    return _ROUNDINGS[mode]


WEIGHT_QUANTISERS: dict[str, Callable[[Call], Constant]] = {
    "BipolarQuant": _weights_of_bipolar,
    "IntQuant": _weights_of_quant,
    "Quant": _weights_of_quant,
}
ACTIVATION_QUANTISERS: dict[str, Callable[[Call, Tensor], Binarise]] = {
    "BipolarQuant": _of_bipolar,
    "IntQuant": _of_quant,
    "MultiThreshold": _of_thresholds,
    "Quant": _of_quant,
    "Sign": _of_sign,
}
