"""Values that flow along the edges of a network: types, grids, and shapes."""

import math
from dataclasses import dataclass

from xnorflow.errors import NetworkError


__all__ = [
    "MAX_BITS",
    "MAX_FRACTION",
    "MAX_SIDE",
    "Bit",
    "Counts",
    "FeatureMap",
    "Int",
    "Quantisation",
    "Rounding",
    "UInt",
    "ValueType",
    "check_range",
    "int_bits",
]

MAX_BITS = 32
MAX_FRACTION = 16
MAX_SIDE = 1 << 16


@dataclass(frozen=True)
class Bit:
    """One of two levels: u ∈ {0, 1}."""

    low = 0
    high = 1


@dataclass(frozen=True)
class UInt:
    """An unsigned integer of ``bits`` bits.

    Examples
    --------
    >>> xnorflow.UInt(8).high
    255
    """

    bits: int

    def __post_init__(self) -> None:
        check_range("bits of an unsigned integer", self.bits, 1, MAX_BITS)

    @property
    def low(self) -> int:
        """Smallest value."""
        return 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << self.bits) - 1


@dataclass(frozen=True)
class Int:
    """A signed integer of ``bits`` bits, two's complement.

    ``fraction`` of them stand behind a binary point: x means x · 2^−fraction. Nothing that is
    computed depends on it, but what is added must agree.

    Examples
    --------
    >>> stream = xnorflow.Int(16, fraction=8)  # x means x / 256
    >>> stream.low, stream.high
    (-32768, 32767)
    """

    bits: int
    fraction: int = 0

    def __post_init__(self) -> None:
        check_range("bits of a signed integer", self.bits, 1, MAX_BITS)
        check_range("fractional bits of a signed integer", self.fraction, 0, MAX_FRACTION)

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << (self.bits - 1)) - 1


@dataclass(frozen=True)
class Counts:
    """Type of a binary convolution's counts: M or A, in 0…``taps``, for every filter.

    With ``popcount``, every pixel also carries P, in 0…``taps``, which its filters share.
    """

    taps: int
    popcount: bool = False

    def __post_init__(self) -> None:
        check_range("taps of a count", self.taps, 1, (1 << 24) - 1)
        if not isinstance(self.popcount, bool):
            raise NetworkError(f"whether counts carry P must be a bool, not {self.popcount!r}")

    @property
    def low(self) -> int:
        """Smallest value."""
        return 0

    @property
    def high(self) -> int:
        """Largest value."""
        return self.taps


ValueType = Bit | UInt | Int | Counts


def int_bits(low: int, high: int) -> int:
    """Width of the narrowest two's complement integer that holds ``low``…``high``."""
    return max(int(low if low >= 0 else ~low).bit_length(), int(high).bit_length()) + 1


@dataclass(frozen=True)
class Rounding:
    """How integers get onto a coarser grid: ``clip((x + 2^(shift − 1)) >> shift)``.

    Ties go up. What does not fit is clipped to the smallest or the largest value.

    Attributes
    ----------
    shift : int
        Bits that are rounded away; 0 only clips.
    bits, fraction : int
        Of the result, an `Int`.
    narrow : bool
        Whether the range is symmetric: the smallest value is −2^(bits − 1) + 1.
    """

    shift: int
    bits: int
    fraction: int = 0
    narrow: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.narrow, bool):
            raise NetworkError(f"whether a range is narrow must be a bool, not {self.narrow!r}")
        check_range("bits that are rounded away", self.shift, 0, MAX_BITS)
        _ = self.type
        if self.narrow:
            check_range("bits of a narrow range", self.bits, 2, MAX_BITS)

    @property
    def type(self) -> Int:
        """Type of the result."""
        return Int(self.bits, self.fraction)

    @property
    def low(self) -> int:
        """Smallest result."""
        return self.type.low + self.narrow

    @property
    def high(self) -> int:
        """Largest result."""
        return self.type.high

    @property
    def half(self) -> int:
        """Constant that is added before shifting."""
        return (1 << self.shift) >> 1


@dataclass(frozen=True)
class FeatureMap:
    """Shape and type of what flows along an edge: (height, width, channels) of one frame.

    Examples
    --------
    >>> xnorflow.FeatureMap(28, 28, 1, xnorflow.UInt(8)).shape
    (28, 28, 1)
    """

    height: int
    width: int
    channels: int
    type: ValueType

    def __post_init__(self) -> None:
        for what in ("height", "width", "channels"):
            check_range(f"{what} of a feature map", getattr(self, what), 1, MAX_SIDE)
        if not isinstance(self.type, ValueType):
            raise NetworkError(f"a feature map cannot be of type {self.type!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> int:
        """Number of values in a frame."""
        return self.height * self.width * self.channels


def check_range(what: str, value: object, low: int, high: int) -> None:
    """Check that ``value`` is an integer from ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise NetworkError(f"{what} must be an integer from {low} to {high}, not {value!r}")


@dataclass(frozen=True)
class Quantisation:
    """Values that the integers of an input stand for: ``scale · (q − zero_point)``.

    Attributes
    ----------
    scale : float
        Positive and finite.
    zero_point : int
        The integer that stands for 0.

    Examples
    --------
    >>> xnorflow.Quantisation(scale=0.05, zero_point=-3)
    Quantisation(scale=0.05, zero_point=-3)
    """

    scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.scale, float) or not 0 < self.scale < math.inf:
            raise NetworkError(
                f"the scale of an input must be a positive number, not {self.scale!r}"
            )
        check_range("zero point of an input", self.zero_point, -(1 << 31), (1 << 31) - 1)
