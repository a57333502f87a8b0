"""Pools of maps, and more pixels of them."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from xnorflow.ir.windows import Padding
from xnorflow.sw.frontend.graph import AveragePool, Function, MaxPool, Upsample
from xnorflow.sw.frontend.pools import ceiled
from xnorflow.sw.frontend.qonnx.layers import Read, map_of, ordered
from xnorflow.sw.frontend.qonnx.values import Call, Tensor, arrange, fractions


__all__ = ["POOLS"]


def _max_pool(call: Call) -> Read:
    x, windows = _windows(call)
    size, stride, before, after, sides = windows
    if x.padding:
        raise call.error("must not pool a map with zeros around it")
    pool = MaxPool(size, stride, _padding(before, after))
    return _pooled(call, x, pool, sides)


def _average(call: Call) -> Read:
    if call.op == "GlobalAveragePool":
        return _averaged(call, map_of(call), keep=True)
    x, windows = _windows(call)
    size, stride, before, after, sides = windows
    if x.padding:
        raise call.error("must not average a map with zeros around it")
    counted = _padding(before, _pads(call)[1]) if call.integer("count_include_pad", 0) else 0
    return _pooled(call, x, AveragePool(size, stride, _padding(before, after), counted), sides)


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

_Pair = tuple[int, int]


def _windows(call: Call) -> tuple[Tensor, tuple[_Pair, _Pair, _Pair, _Pair, _Pair]]:
    """The map, and size, stride, padding before and after of windows, and how many there are."""
    x = map_of(call)
    size, stride = _two(call, "kernel_shape"), _two(call, "strides")
    if {*(call.integers("dilations") or [1])} != {1}:
        raise call.error("must have windows without dilation")
    before, after = _pads(call)
    if call.integer("ceil_mode", 0):
        after = ceiled(x.map[1:], size, stride, before, after)
    beyond = [pad >= taps for pads in (before, after) for pad, taps in zip(pads, size, strict=True)]
    sides = [
        (side + first + last - taps) // step + 1
        for side, first, last, taps, step in zip(
            x.map[1:], before, after, size, stride, strict=True
        )
    ]
    if min(sides) < 1 or any(beyond):
        raise call.error(f"has windows that do not fit its map {x.map}")
    return x, (size, stride, before, after, (sides[0], sides[1]))


def _two(call: Call, name: str) -> _Pair:
    """Positive numbers for rows and columns."""
    values = call.integers(name) or [1, 1]
    if len(values) != 2 or min(values) < 1:
        raise call.error(f"must have two positive {name}, not {values}")
    return values[0], values[1]


def _pads(call: Call) -> tuple[_Pair, _Pair]:
    """Padding before and behind rows and columns."""
    mode = call.text("auto_pad", "NOTSET")
    pads = (call.integers("pads") or [0] * 4) if mode == "NOTSET" else [0] * 4
    if mode not in ("NOTSET", "VALID") or len(pads) != 4 or min(pads) < 0:
        raise call.error(f"has the padding {pads} with auto_pad {mode}, which is not known")
    return (pads[0], pads[1]), (pads[2], pads[3])


def _padding(before: _Pair, after: _Pair) -> Padding:
    return before[0], after[0], before[1], after[1]


def _pooled(call: Call, x: Tensor, pool: MaxPool | AveragePool, sides: _Pair) -> Read:
    shape = x.map[0], *sides
    bits = x.bits and isinstance(pool, MaxPool)
    tensor = replace(x, map=shape, order=ordered(call, 1, *shape), bits=bits)
    alone = pool.size == (1, 1) and pool.stride == (1, 1)
    return ([], x) if alone else ([("", pool)], tensor)


def _mean(call: Call) -> Read:
    x = map_of(call)
    axes = call.integers("axes", 1) or []
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise call.error("must average the whole map, which is axes 2 and 3")
    return _averaged(call, x, keep=bool(call.integer("keepdims", 1)))


def _averaged(call: Call, x: Tensor, *, keep: bool) -> Read:
    if x.padding:
        raise call.error("must not average a map with zeros around it")
    channels = x.map[0]
    order = arrange(1, channels, 1, 1) if keep else arrange(1, channels)
    if x.map[1:] == (1, 1):
        return [], replace(x, order=order)
    return [("", AveragePool(x.map[1:]))], Tensor("", (channels, 1, 1), order)


POOLS: dict[str, Callable[[Call], Read]] = {
    "AveragePool": _average,
    "GlobalAveragePool": _average,
    "MaxPool": _max_pool,
    "ReduceMean": _mean,
    "Resize": _upsample,
    "Upsample": _upsample,
}
