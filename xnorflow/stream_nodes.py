"""Nodes that join, cut and pool maps: streams of integers, and their shortcuts.

Everything is as in `xnorflow.nodes`.
"""

from dataclasses import dataclass, replace

from xnorflow.checks import check_int, spell_shape, sum_type
from xnorflow.errors import NetworkError
from xnorflow.values import MAX_SIDE, FeatureMap, Int, check_range, int_bits


__all__ = [
    "Add",
    "AveragePool",
    "Concat",
    "GlobalSum",
    "HalvingMaxPool",
    "PadChannels",
    "Subsample",
]


@dataclass(frozen=True)
class Add:
    """Add two maps of integers, value by value: the end of a shortcut.

    Parameters
    ----------
    name, source, other : str
        This node, and the two that feed it.
    bits : int
        Of the result; a sum that does not fit is clipped.
    """

    name: str
    source: str
    other: str
    bits: int

    def infer(self, x: FeatureMap, other: FeatureMap) -> FeatureMap:
        """Map that this node delivers for two maps."""
        fraction = check_int(self.name, x)
        if x.shape != other.shape or fraction != check_int(self.name, other):
            raise NetworkError(
                f"{self.name}: it cannot add maps of {spell_shape(x)} and {spell_shape(other)}, "
                "or with different fractional bits"
            )
        return replace(x, type=Int(self.bits, fraction))


@dataclass(frozen=True)
class Concat:
    """Put the channels of two maps of integers behind each other: first ``source``, then ``other``.

    Parameters
    ----------
    name, source, other : str
        This node, and the two that feed it.
    """

    name: str
    source: str
    other: str

    def infer(self, x: FeatureMap, other: FeatureMap) -> FeatureMap:
        """Map that this node delivers for two maps."""
        check_int(self.name, x)
        if (x.height, x.width, x.type) != (other.height, other.width, other.type):
            raise NetworkError(
                f"{self.name}: it cannot join maps of {spell_shape(x)} and {spell_shape(other)}, "
                "or of different types"
            )
        return replace(x, channels=x.channels + other.channels)


@dataclass(frozen=True)
class Subsample:
    """Every ``stride``-th row and column, from the first on: a shortcut without parameters.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    stride : int
        At least 2.
    """

    name: str
    source: str
    stride: int

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_range(f"{self.name}: stride", self.stride, 2, MAX_SIDE)
        check_int(self.name, x)
        return replace(x, height=-(-x.height // self.stride), width=-(-x.width // self.stride))


@dataclass(frozen=True)
class PadChannels:
    """Channels of zeros before and after those of a map of integers.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    before, after : int
        How many.
    """

    name: str
    source: str
    before: int
    after: int

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_range(f"{self.name}: channels before", self.before, 0, MAX_SIDE)
        check_range(f"{self.name}: channels after", self.after, 0, MAX_SIDE)
        check_int(self.name, x)
        return replace(x, channels=self.before + x.channels + self.after)


@dataclass(frozen=True)
class AveragePool:
    """Mean of every window of ``size`` × ``size`` pixels, ties rounded up: integers → integers.

    Rows and columns that do not fill a window are left out.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    size : int
        Rows and columns of a window, a power of two; windows do not overlap.
    """

    name: str
    source: str
    size: int

    @property
    def shift(self) -> int:
        """Bits by which a window's sum is shifted."""
        return 2 * (self.size.bit_length() - 1)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_range(f"{self.name}: size", self.size, 2, MAX_SIDE)
        if self.size & (self.size - 1):
            raise NetworkError(f"{self.name}: size must be a power of two, not {self.size}")
        check_int(self.name, x)
        if self.size > min(x.height, x.width):
            raise NetworkError(
                f"{self.name}: a window of {self.size}×{self.size} does not fit a map of "
                f"{spell_shape(x)}"
            )
        return replace(x, height=x.height // self.size, width=x.width // self.size)


@dataclass(frozen=True)
class HalvingMaxPool:
    """Largest of the 3 × 3 values around every other pixel: integers → integers.

    ``y[r, c, k] = max(x[2·r + i, 2·c + j, k])`` with i and j from −1 to 1; pixels outside the frame
    do not count. It is what ResNets for large pictures begin with.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    """

    name: str
    source: str

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_int(self.name, x)
        return replace(x, height=-(-x.height // 2), width=-(-x.width // 2))


@dataclass(frozen=True)
class GlobalSum:
    """Sum over all pixels of each channel: integers → integers of a 1×1 map.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    """

    name: str
    source: str

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``; its width is the narrowest that fits."""
        fraction = check_int(self.name, x)
        pixels = x.height * x.width
        type_ = sum_type(self.name, int_bits(pixels * x.type.low, pixels * x.type.high), fraction)
        return FeatureMap(1, 1, x.channels, type_)
