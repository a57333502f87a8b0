"""Windows of layers: their sizes, and sums over them."""

from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional

from xnorflow.errors import NetworkError
from xnorflow.ir.windows import Padding, Pair, axes_of, four, pair, shortest
from xnorflow.sw.nn.arguments import check_sizes


__all__ = ["Windows", "convolve", "pad", "place", "sides_of", "window_sums", "windows_of"]


class Windows(Protocol):
    """A layer that convolves: ``weight`` is (filters, channels of a group, rows, columns)."""

    weight: Any
    stride: Any
    padding: Any
    dilation: Any
    groups: Any


def place(
    layer: Any,
    channels: tuple[int, int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> None:
    """Check the windows of a ``layer`` with channels (in, out), and note them in shortest form.

    Raises
    ------
    NetworkError
        If they are out of range, or the groups do not divide the channels.
    """
    check_sizes(groups=groups)
    for what, number in zip(("in_channels", "out_channels"), channels, strict=True):
        if number % groups:
            raise NetworkError(f"the {groups} groups must divide {what}, not {number}")
    layer.stride = _sizes("stride", stride)
    layer.padding = _sizes("padding", padding, least=0, by_side=True)
    layer.dilation = _sizes("dilation", dilation)
    layer.groups = groups


def sides_of(kernel: Pair) -> tuple[int, int]:
    """Rows and columns of a kernel.

    Raises
    ------
    NetworkError
        If it has not at least one of each.
    """
    return pair(_sizes("kernel", kernel))


def _sizes(name: str, value: Any, *, least: int = 1, by_side: bool = False) -> Any:
    """Shortest form of a number, or of one for each direction or side."""
    if not isinstance(value, tuple | list):
        check_sizes(least=least, **{name: value})
        return value
    if len(value) != 2 and not (by_side and len(value) == 4):
        many = "1, 2 or 4" if by_side else "1 or 2"
        raise NetworkError(f"{name} must have {many} numbers, not {value!r}")
    for each in value:
        check_sizes(least=least, **{name: each})
    return shortest(tuple(value))


def windows_of(layer: Windows | nn.Conv2d) -> dict[str, Any]:
    """Stride, padding, dilation and groups of a layer, as nodes have them."""
    padding = layer.padding
    if isinstance(padding, str):
        assert isinstance(layer, nn.Conv2d)
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        padding = top, bottom, left, right
    return {
        "stride": layer.stride,
        "padding": padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
    }


def pad(x: Tensor, padding: Padding, value: float = 0.0) -> Tensor:
    """Map ``x`` (N, channels, H, W) with a border of ``value``."""
    top, bottom, left, right = four(padding)
    return functional.pad(x, (left, right, top, bottom), value=value)


def convolve(x: Tensor, weight: Tensor, layer: Windows, *, padded: bool = False) -> Tensor:
    """Convolve ``x`` in the windows of a ``layer``; it may be ``padded`` already."""
    padding = 0 if padded else windows_of(layer)["padding"]
    if isinstance(padding, tuple) and len(padding) == 4:
        # PyTorch's own padding is the same on both sides, or comes with a warning.
        x, padding = pad(x, padding), 0
    return functional.conv2d(x, weight, None, layer.stride, padding, layer.dilation, layer.groups)


def window_sums(x: Tensor, layer: Windows, *, padded: bool = False) -> Tensor:
    """Sums of every window of each channel of ``x`` (N, channels, H, W); none is rounded."""
    x = x if padded else pad(x, layer.padding)
    sides = layer.weight.shape[2:]
    if layer.dilation == 1:
        return functional.avg_pool2d(x, sides, layer.stride, divisor_override=1)
    for side, axis in enumerate(axes_of(sides, layer.stride, 0, layer.dilation), 2):
        x = x.unfold(side, axis.span, axis.stride)[..., :: axis.dilation]
    return x.sum(dim=(4, 5))
