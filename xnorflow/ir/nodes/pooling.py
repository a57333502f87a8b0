"""Pooling: of bits, and of integers."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import check_int, freeze, spell, spell_shape, sum_type
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import (
    MAX_SIDE,
    Bit,
    FeatureMap,
    Int,
    UInt,
    ValueType,
    check_range,
    int_bits,
)
from xnorflow.ir.windows import Axis, Padding, Pair, axes_of, check_padding, check_pair, pair


__all__ = ["AveragePool", "GlobalSum", "MaxPool", "Pool", "SumPool"]


@dataclass(frozen=True, eq=False)
class Pool(Node):
    """Pool of windows of any form: `MaxPool` or `SumPool`.

    Its size, stride and padding have their shortest forms: a number where all directions and sides
    have the same one, and no stride where windows are side by side.
    """

    header: ClassVar[tuple[str, ...]] = ("size",)
    optional: ClassVar[tuple[str, ...]] = ("stride", "padding")

    size: Pair
    _: KW_ONLY
    stride: Pair | None = None
    padding: Padding = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        size = check_pair(f"{self.name}: size", self.size)
        stride = None if self.stride is None else check_pair(f"{self.name}: stride", self.stride)
        padding = check_padding(f"{self.name}: padding", self.padding, pair(size))
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "stride", None if stride == size else stride)
        object.__setattr__(self, "padding", padding)

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Rows and columns of the windows."""
        stride = self.size if self.stride is None else self.stride
        return axes_of(pair(self.size), stride, self.padding)

    def pooled(self, x: FeatureMap, type_: ValueType) -> FeatureMap:
        """Map of what is delivered for every window of ``x``."""
        rows, columns = self.axes
        height, width = rows.count(x.height), columns.count(x.width)
        if height < 1 or width < 1:
            raise NetworkError(
                f"{self.name}: a window of {rows.taps}×{columns.taps} does not fit a map of "
                f"{spell_shape(x)}"
            )
        return FeatureMap(height, width, x.channels, type_)

    def check_type(self, x: FeatureMap) -> Bit | UInt | Int:
        """Type of ``x``, which must be bits or integers."""
        if not isinstance(x.type, Bit | UInt | Int):
            raise NetworkError(
                f"{self.name}: the input must be bits or integers, not {spell(x.type)}"
            )
        return x.type


@dataclass(frozen=True, eq=False)
class MaxPool(Pool):
    """Largest value of every window, or the smallest one: bits or integers.

    ``y[r, c, k] = max(x[s·r + i − p, s·c + j − p, k])`` with the stride s and the padding p, and
    ``min(…)`` on channels that are ``inverted``: those on which a larger x stands for a smaller
    value, because the comparison before it is inverted. Pixels outside the frame do not count.
    Rows and columns that do not fill a window are left out.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    size : int or (rows, columns)
        Pixels of a window.
    inverted : bool array, (channels,), optional
    stride : int or (rows, columns), optional
        Pixels from one window to the next; those of a window, if not given.
    padding : int, (rows, columns) or (top, bottom, left, right)
        Pixels outside the frame that windows reach, less than those of a window.
    """

    kind = "max_pool"

    inverted: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inverted is not None:
            freeze(self, "inverted", np.bool_, 1)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        type_ = self.check_type(x)
        if self.inverted is not None and self.inverted.size != x.channels:
            raise NetworkError(
                f"{self.name}: it has {self.inverted.size} channels, its source {x.channels}"
            )
        return self.pooled(x, type_)


@dataclass(frozen=True, eq=False)
class SumPool(Pool):
    """Sum of every window: bits or integers → integers. What divides it comes behind it.

    ``y[r, c, k] = Σ x[s·r + i − p, s·c + j − p, k]`` with the stride s and the padding p; pixels
    outside the frame are 0. Rows and columns that do not fill a window are left out.

    Parameters
    ----------
    name, source, size, stride, padding
        As those of a `MaxPool`.
    """

    kind = "sum_pool"

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``; its width is the narrowest that fits."""
        type_ = self.check_type(x)
        rows, columns = self.axes
        pixels = min(rows.taps, x.height) * min(columns.taps, x.width)
        fraction = type_.fraction if isinstance(type_, Int) else 0
        bits = int_bits(pixels * type_.low, pixels * type_.high)
        return self.pooled(x, sum_type(self.name, bits, fraction))


@dataclass(frozen=True)
class AveragePool(Node):
    """Mean of every window of ``size`` × ``size`` pixels, ties rounded up: integers → integers.

    Rows and columns that do not fill a window are left out.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    size : int
        Rows and columns of a window, a power of two; windows do not overlap.
    """

    kind = "average_pool"
    header = ("size",)

    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"{self.name}: size", self.size, 2, MAX_SIDE)
        if self.size & (self.size - 1):
            raise NetworkError(f"{self.name}: size must be a power of two, not {self.size}")

    @property
    def shift(self) -> int:
        """Bits by which a window's sum is shifted."""
        return 2 * (self.size.bit_length() - 1)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_int(self.name, x)
        if self.size > min(x.height, x.width):
            raise NetworkError(
                f"{self.name}: a window of {self.size}×{self.size} does not fit a map of "
                f"{spell_shape(x)}"
            )
        return replace(x, height=x.height // self.size, width=x.width // self.size)


@dataclass(frozen=True)
class GlobalSum(Node):
    """Sum over all pixels of each channel: integers → integers of a 1×1 map.

    It is the `SumPool` whose window is the frame, whatever size that has.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    """

    kind = "global_sum"

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``; its width is the narrowest that fits."""
        fraction = check_int(self.name, x)
        pixels = x.height * x.width
        type_ = sum_type(self.name, int_bits(pixels * x.type.low, pixels * x.type.high), fraction)
        return FeatureMap(1, 1, x.channels, type_)
