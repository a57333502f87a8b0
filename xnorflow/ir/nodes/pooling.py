"""Pooling: of bits, and of integers."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import check_int, freeze, spell, spell_shape, sum_type
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import MAX_SIDE, Bit, FeatureMap, Int, UInt, check_range, int_bits


__all__ = ["AveragePool", "GlobalSum", "HalvingMaxPool", "MaxPool"]


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """Largest value of every window, or the smallest one: bits or integers of few bits.

    ``y[r, c, k] = max(x[size·r + i, size·c + j, k])``, and ``min(…)`` on channels that are
    ``inverted``: those on which a larger x stands for a smaller value, because the comparison
    before it is inverted. Rows and columns that do not fill a window are left out.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    size : int
        Rows and columns of a window, at least 2; windows do not overlap.
    inverted : bool array, (channels,), optional
    """

    kind = "max_pool"
    header = ("size",)

    size: int
    inverted: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"{self.name}: size", self.size, 2, MAX_SIDE)
        if self.inverted is not None:
            freeze(self, "inverted", np.bool_, 1)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        if not isinstance(x.type, Bit | UInt | Int):
            raise NetworkError(
                f"{self.name}: the input must be bits or integers, not {spell(x.type)}"
            )
        if self.inverted is not None and self.inverted.size != x.channels:
            raise NetworkError(
                f"{self.name}: it has {self.inverted.size} channels, its source {x.channels}"
            )
        if self.size > min(x.height, x.width):
            raise NetworkError(
                f"{self.name}: a window of {self.size}×{self.size} does not fit a map of "
                f"{spell_shape(x)}"
            )
        return FeatureMap(x.height // self.size, x.width // self.size, x.channels, x.type)


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
class HalvingMaxPool(Node):
    """Largest of the 3 × 3 values around every other pixel: integers → integers.

    ``y[r, c, k] = max(x[2·r + i, 2·c + j, k])`` with i and j from −1 to 1; pixels outside the frame
    do not count. It is what ResNets for large images begin with.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    """

    kind = "halving_max_pool"

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_int(self.name, x)
        return replace(x, height=-(-x.height // 2), width=-(-x.width // 2))


@dataclass(frozen=True)
class GlobalSum(Node):
    """Sum over all pixels of each channel: integers → integers of a 1×1 map.

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
