"""Windows of a convolution, and the zeros around a map, as the attributes of nodes say them."""

from collections.abc import Sequence

import numpy as np

from xnorflow.ir.windows import Axis, Padding, axes_of, four, shortest
from xnorflow.sw.frontend.qonnx.values import Call, Tensor, fractions


__all__ = ["padded", "windows_of"]

_Sides = tuple[int, int, int, int]
"""Top, bottom, left and right."""


def padded(call: Call, x: Tensor) -> Padding:
    """Zeros around ``x`` behind a Pad."""
    rank = x.order.ndim
    pads = call.integers("pads", 1) or []
    value = call.constant(2)
    shift = call.number("value", 0.0) if value is None else fractions(value, np.zeros(1, int), call)
    if call.text("mode", "constant") != "constant" or shift not in (0, [0]):
        raise call.error("must pad with zeros")
    if call.constant(3) is not None or len(pads) != 2 * rank or any((*pads[:2], *pads[rank:][:2])):
        raise call.error("must pad rows and columns, nothing else, and name all axes")
    return _more(call, x, _sides([*pads[2:rank], *pads[rank + 2 :]]))


def windows_of(call: Call, x: Tensor, kernel: Sequence[int]) -> tuple[Axis, Axis]:
    """Rows and columns of the windows of a ``kernel`` on ``x``, the zeros around it included.

    Raises
    ------
    LoweringError
        If there is not one window, or an attribute is of another rank.
    """
    strides, dilations = (_both(call, name, len(kernel)) for name in ("strides", "dilations"))
    taps = kernel if len(kernel) == 2 else (1, *kernel)
    axes = axes_of(taps, strides, 0, dilations)
    axes = axes_of(taps, strides, _more(call, x, _padding(call, x, axes)), dilations)
    rows, columns = (axis.span for axis in axes)
    if min(axis.count(side) for axis, side in zip(axes, x.map[1:], strict=True)) < 1:
        raise call.error(
            f"takes maps of at least {rows}×{columns} pixels, padding included, but it gets {x.map}"
        )
    return axes


def _both(call: Call, name: str, rank: int) -> tuple[int, int]:
    """Values for rows and for columns of an attribute that has one for each direction."""
    values = call.integers(name) or [1] * rank
    if len(values) != rank or min(values) < 1:
        raise call.error(f"has {name} {values}: accepted are {rank}, none of them below 1")
    return (1, values[0]) if rank == 1 else (values[0], values[1])


def _padding(call: Call, x: Tensor, axes: tuple[Axis, Axis]) -> _Sides:
    mode = call.text("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = call.integers("pads") if mode == "NOTSET" else None
        rank = x.order.ndim - 2
        if pads is not None and len(pads) != 2 * rank:
            raise call.error(f"has pads {pads}: accepted are {2 * rank}")
        return _sides(pads or [0] * (2 * rank))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise call.error(f"has the padding {mode!r}, which is not known")
    halves = []
    for axis, side in zip(axes, x.map[1:], strict=True):
        whole = max(0, (-(-side // axis.stride) - 1) * axis.stride + axis.span - side)
        less, more = whole // 2, whole - whole // 2
        halves += [less, more] if mode == "SAME_UPPER" else [more, less]
    top, bottom, left, right = halves
    return top, bottom, left, right


def _sides(pads: Sequence[int]) -> _Sides:
    """From ONNX's order, all beginnings and then all ends."""
    if len(pads) == 2:
        return 0, 0, pads[0], pads[1]
    top, left, bottom, right = pads
    return top, bottom, left, right


def _more(call: Call, x: Tensor, sides: _Sides) -> Padding:
    if min(sides) < 0:
        raise call.error(f"must not cut off the sides of its map: its padding is {list(sides)}")
    top, bottom, left, right = (
        each + side for each, side in zip(four(x.padding), sides, strict=True)
    )
    padding: Padding = shortest((top, bottom, left, right))
    return padding
