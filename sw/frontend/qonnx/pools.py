"""Pools of maps."""

from collections.abc import Callable
from dataclasses import replace

from xnorflow.sw.frontend.graph import Function, GlobalAverage, MaxPool
from xnorflow.sw.frontend.qonnx.layers import Read, map_of, ordered
from xnorflow.sw.frontend.qonnx.values import Call, Tensor, arrange


__all__ = ["POOLS"]


def _max_pool(call: Call) -> Read:
    x = map_of(call)
    kernel = call.integers("kernel_shape") or []
    sides = {*kernel, *(call.integers("strides") or [1])}
    (side,) = sides if len(sides) == 1 else (0,)
    same = call.text("auto_pad", "NOTSET").startswith("SAME")
    padding = same or any(call.integers("pads") or [0])
    ceil = call.integer("ceil_mode", 0) and any(size % max(side, 1) for size in x.map[1:])
    if side < 1 or padding or x.padding or ceil or {*(call.integers("dilations") or [1])} != {1}:
        raise call.error(
            "must have square windows side by side, without padding, dilation or ceil mode"
        )
    channels, height, width = x.map
    shape = (channels, height // side, width // side)
    if min(shape) < 1:
        raise call.error(f"has windows larger than its map {x.map}")
    functions: list[tuple[str, Function]] = [] if side == 1 else [("", MaxPool(side))]
    return functions, replace(x, map=shape, order=ordered(call, 1, *shape))


def _average(call: Call) -> Read:
    x = map_of(call)
    pads = call.integers("pads") or [0]
    if call.op == "AveragePool" and (call.integers("kernel_shape") != [*x.map[1:]] or any(pads)):
        raise call.error("must average the whole map")
    return _averaged(call, x, keep=True)


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
    return [("", GlobalAverage())], Tensor("", (channels, 1, 1), order)


POOLS: dict[str, Callable[[Call], Read]] = {
    "AveragePool": _average,
    "GlobalAveragePool": _average,
    "MaxPool": _max_pool,
    "ReduceMean": _mean,
}
