"""Pools of tensors, tap by tap."""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from xnorflow.ir import MaxPool, SumPool


__all__ = ["max_pool", "sum_pool"]

_Join = Callable[..., Tensor]


def max_pool(node: MaxPool, x: Tensor) -> Tensor:
    """Largest values of windows of ``x`` (n, height, width, channels), of bools or integers."""
    bits = x.dtype == torch.bool
    largest: _Join = torch.bitwise_or if bits else torch.maximum
    smallest: _Join = torch.bitwise_and if bits else torch.minimum
    low, high = _beyond(x.dtype)
    found = _pooled(node, x, largest, low)
    if node.inverted is None:
        return found
    return torch.where(torch.tensor(node.inverted), _pooled(node, x, smallest, high), found)


def sum_pool(node: SumPool, x: Tensor) -> Tensor:
    """Sums of windows of ``x`` (n, height, width, channels), integers that hold them."""
    return _pooled(node, x, torch.add, 0)


def _beyond(dtype: torch.dtype) -> tuple[int, int]:
    """No value of a map is less than the first, or more than the second."""
    if dtype == torch.bool:
        return 0, 1
    reach = 1 << (31 if dtype == torch.int32 else 40)
    return -reach, reach - 1


def _pooled(node: MaxPool | SumPool, x: Tensor, join: _Join, outside: int) -> Tensor:
    rows, columns = node.axes
    if node.padding:
        sides = 0, 0, columns.before, columns.after, rows.before, rows.after
        x = functional.pad(x, sides, value=outside)
    for axis, taps in enumerate((rows, columns), 1):
        span = x.shape[axis] - taps.taps + 1
        parts = (x.narrow(axis, i, span) for i in range(taps.taps))
        step = (slice(None),) * axis + (slice(None, None, taps.stride),)
        x = reduce(join, (part[step] for part in parts))
    return x.contiguous()  # a window of one pixel only skips others
