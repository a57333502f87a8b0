"""Pools of maps, and more pixels of them."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from xnorflow.ir.windows import Axis, Padding, axes_of, four, pair
from xnorflow.sw.frontend.graph import AveragePool, Function, MaxPool, Upsample
from xnorflow.sw.frontend.pools import ceiled
from xnorflow.sw.frontend.qonnx.layers import Read, map_of, ordered
from xnorflow.sw.frontend.qonnx.values import Call, Tensor, arrange, fractions
from xnorflow.sw.frontend.qonnx.windows import windows_of


__all__ = ["POOLS"]


def _max_pool(call: Call) -> Read:
    x, rows, columns = _windows(call)
    stride = rows.stride, columns.stride
    return _pooled(call, x, MaxPool((rows.taps, columns.taps), stride, _padding(rows, columns)))


def _average(call: Call) -> Read:
    if call.op == "GlobalAveragePool":
        return _averaged(call, keep=True)
    x, rows, columns = _windows(call)
    counted = _padding(*windows_of(call, x, _kernel(call)))
    pool = AveragePool(
        (rows.taps, columns.taps),
        (rows.stride, columns.stride),
        _padding(rows, columns),
        counted if call.integer("count_include_pad", 0) else 0,
    )
    return _pooled(call, x, pool)


def _upsample(call: Call) -> Read:
    x = map_of(call)
    transform = call.text("coordinate_transformation_mode", "half_pixel")
    rounding = call.text("nearest_mode", "round_prefer_floor")
    if call.op == "Upsample":
        transform, rounding = "asymmetric", "floor"
    if call.text("mode", "nearest") != "nearest" or (transform, rounding) not in _NEAREST:
        raise call.error(
            "must repeat pixels: mode nearest, with the coordinates and the rounding "
            f"{' or '.join(map(str, _NEAREST))}, not {(transform, rounding)}"
        )
    if x.padding:
        raise call.error("must not repeat the pixels of a map with zeros around it")
    rows, columns = _factors(call, x)
    channels, height, width = x.map
    shape = channels, rows * height, columns * width
    functions: list[tuple[str, Function]] = [("", Upsample((rows, columns)))]
    return functions, replace(x, map=shape, order=ordered(call, 1, *shape))


def _factors(call: Call, x: Tensor) -> tuple[int, int]:
    """How often rows and columns are there."""
    sizes = call.integers("sizes", 3) if call.op == "Resize" else None
    whole = 1, *x.map
    if sizes:
        found = [Fraction(n, side) for n, side in zip(sizes, whole, strict=False)]
    else:
        scales = call.attributes.get("scales")
        if scales is None:
            scales = call.needed(2 if call.op == "Resize" else 1)
        values = np.asarray(scales) if isinstance(scales, list | tuple) else scales
        found = fractions(values, np.arange(np.prod(values.shape, dtype=int)), call)
    if len(found) != 4 or found[:2] != [1, 1] or any(n != int(n) or n < 1 for n in found):
        raise call.error("must repeat rows and columns by whole factors, and nothing else")
    return int(found[2]), int(found[3])


_NEAREST = (
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
)
"""Coordinates and rounding that repeat every pixel as often, for whole factors."""


def _windows(call: Call) -> tuple[Tensor, Axis, Axis]:
    """The map, and the rows and columns of windows of it."""
    x = map_of(call, sequence=True)
    if x.padding:
        raise call.error("must not pool a map with zeros around it")
    rows, columns = windows_of(call, x, _kernel(call))
    if (rows.dilation, columns.dilation) != (1, 1):
        raise call.error("must have windows without dilation")
    if call.integer("ceil_mode", 0):
        after = ceiled(
            x.map[1:],
            (rows.taps, columns.taps),
            (rows.stride, columns.stride),
            (rows.before, columns.before),
            (rows.after, columns.after),
        )
        rows, columns = (
            replace(axis, after=n) for axis, n in zip((rows, columns), after, strict=True)
        )
    if any(max(axis.before, axis.after) >= axis.taps for axis in (rows, columns)):
        raise call.error(f"has windows that may lie beside its map {x.map}")
    return x, rows, columns


def _kernel(call: Call) -> list[int]:
    kernel = call.integers("kernel_shape") or []
    rank = call.tensor().order.ndim - 2
    if len(kernel) != rank or min(kernel, default=0) < 1:
        raise call.error(f"has windows {kernel}: accepted are {rank} positive numbers")
    return kernel


def _padding(rows: Axis, columns: Axis) -> Padding:
    return rows.before, rows.after, columns.before, columns.after


def _pooled(call: Call, x: Tensor, pool: MaxPool | AveragePool) -> Read:
    axes = axes_of(pair(pool.size), pool.stride or pool.size, pool.padding)
    rows, columns = (axis.count(side) for axis, side in zip(axes, x.map[1:], strict=True))
    shape = x.map[0], rows, columns
    order = ordered(call, 1, x.map[0], *(rows, columns)[4 - x.order.ndim :])
    bits = x.bits and isinstance(pool, MaxPool)
    alone = pool.size == (1, 1) and pool.stride == (1, 1) and not any(four(pool.padding))
    return ([], x) if alone else ([("", pool)], replace(x, map=shape, order=order, bits=bits))


def _reduced(call: Call) -> Read:
    """Mean or sum over all pixels."""
    axes = call.integers("axes", 1) or []
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise call.error("must take the whole map, which is axes 2 and 3")
    divisor = 1 if call.op == "ReduceSum" else None
    return _averaged(call, keep=bool(call.integer("keepdims", 1)), divisor=divisor)


def _averaged(call: Call, *, keep: bool, divisor: int | None = None) -> Read:
    x = map_of(call)
    if x.padding:
        raise call.error("must not average a map with zeros around it")
    channels = x.map[0]
    order = arrange(1, channels, 1, 1) if keep else arrange(1, channels)
    if x.map[1:] == (1, 1):
        return [], replace(x, order=order)
    pool = AveragePool(x.map[1:], divisor=divisor)
    return [("", pool)], Tensor("", (channels, 1, 1), order)


POOLS: dict[str, Callable[[Call], Read]] = {
    "AveragePool": _average,
    "GlobalAveragePool": _average,
    "MaxPool": _max_pool,
    "ReduceMean": _reduced,
    "ReduceSum": _reduced,
    "Resize": _upsample,
    "Upsample": _upsample,
}
