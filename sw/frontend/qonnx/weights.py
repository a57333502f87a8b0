"""Weights of a layer: integers and a scale for each filter, from constants of any form."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir.checks import MAX_WEIGHT_BITS
from xnorflow.sw.frontend.graph import Weights
from xnorflow.sw.frontend.qonnx.values import Call, Constant, Levels
from xnorflow.sw.lowering.roots import Root


__all__ = ["weights_of"]

_LARGEST = 1 << MAX_WEIGHT_BITS - 1


def weights_of(
    call: Call, constant: Constant, *, bits: bool, factor: Fraction = Fraction(1)
) -> Weights:
    """Weights (filters, …) as a matrix: binary ones if the layer gets ``bits`` and they have two
    levels that a binary layer can have, otherwise integers.

    Raises
    ------
    LoweringError
        If they are no integers times a scale for each filter.
    """
    levels = constant if isinstance(constant, Levels) else _from_floats(call, constant)
    filters = len(levels.code)
    code, spread = levels.code.reshape(filters, -1), levels.scale.reshape(filters, -1)
    if not code.size:
        raise call.error("has no weights")
    if (spread != spread[:, :1]).any():
        raise call.error("has weights whose scale is not the same all over a filter")
    # The greatest common divisor of all, so that equal scales stay equal.
    divisor = int(np.gcd.reduce(np.abs(code), axis=None)) or 1
    code = code // divisor
    scales = [Fraction(value) * divisor * factor for value in spread[:, 0].tolist()]
    if not bits or not _is_binary(code):
        if np.abs(code).max() > _LARGEST:
            raise call.error(f"has weights of more than {MAX_WEIGHT_BITS} bits")
        return Weights(code, False, tuple(map(Root, scales)), (0,) * filters)
    unipolar = not code.all()
    if unipolar:
        scales = [scale / 2 for scale in scales]
    signs = np.where(code > 0, 1, -1)
    return Weights(signs, True, tuple(map(Root, scales)), (int(unipolar),) * filters)


def _is_binary(code: NDArray[np.int64]) -> bool:
    """Whether all weights are ±1, or all of them 0 and 1."""
    return bool((np.abs(code) == 1).all() or ((code == 0) | (code == 1)).all())


def _from_floats(call: Call, constant: NDArray[Any]) -> Levels:
    """Integers that a file has as floating-point numbers, times a unit: one for all if possible."""
    if constant.dtype.kind not in "fiu" or not np.isfinite(constant).all():
        raise call.error("has weights that are not finite numbers")
    values = np.asarray(constant, np.float64)
    unit = _unit(values)
    units = [unit] * len(values) if unit else [_unit(each) for each in values]
    if not all(units):
        raise call.error("has weights of floating point: quantise them with Quant or BipolarQuant")
    scale = np.array(list(map(float, units))).reshape(-1, *[1] * (values.ndim - 1))
    scale = np.broadcast_to(scale, values.shape)
    return Levels(np.round(values / scale).astype(np.int64), scale)


def _unit(values: NDArray[np.float64]) -> Fraction:
    """Largest number of which all ``values`` are small multiples, exactly; 0 if there is none."""
    levels = np.unique(np.abs(values))
    if not levels.any():
        return Fraction(1)
    if len(levels) > _LARGEST + 1:
        return Fraction(0)
    ratios = [value.as_integer_ratio() for value in levels.tolist()]
    whole = max(denominator for _, denominator in ratios)
    unit = Fraction(math.gcd(*(n * (whole // denominator) for n, denominator in ratios)), whole)
    return unit if Fraction(levels.max()) <= _LARGEST * unit else Fraction(0)
