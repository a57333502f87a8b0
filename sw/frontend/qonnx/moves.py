"""Operators that only rename or reorder values."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.sw.frontend.qonnx.values import Call


__all__ = ["MOVES"]

_Array = NDArray[Any]


def _same(_call: Call, values: _Array) -> _Array:
    return values


def _flatten(call: Call, values: _Array) -> _Array:
    axis = call.integer("axis", 1)
    return values.reshape(int(np.prod(values.shape[:axis], dtype=np.int64)), -1)


def _reshape(call: Call, values: _Array) -> _Array:
    shape = call.integers("shape", 1) or []
    if not call.integer("allowzero", 0):
        shape = [values.shape[n] if size == 0 else size for n, size in enumerate(shape)]
    if shape.count(-1) > 1 or min(shape, default=0) < -1:
        raise call.error(f"has a shape {shape} that is not known")
    return values.reshape(shape)


def _transpose(call: Call, values: _Array) -> _Array:
    return values.transpose(call.integers("perm"))


def _squeeze(call: Call, values: _Array) -> _Array:
    axes = call.integers("axes", 1)
    return values.squeeze(None if axes is None else tuple(axes))


def _unsqueeze(call: Call, values: _Array) -> _Array:
    axes = call.integers("axes", 1)
    if axes is None:
        raise call.error("lacks its axes")
    return np.expand_dims(values, tuple(axes))


MOVES: dict[str, Callable[[Call, _Array], _Array]] = {
    "Dropout": _same,
    "Flatten": _flatten,
    "Identity": _same,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""By the operator's name: from an array, such as `Tensor.order`, to one of the same values."""
