"""Nodes of a network: what each computes, in integers, and what it accepts.

Everything is a frozen dataclass that is checked when it is constructed, or when its ``infer`` is
given what feeds it; arrays are made read-only. The conventions are those of `xnorflow.network`.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.values import (
    MAX_BITS,
    MAX_FRACTION,
    MAX_SIDE,
    Bit,
    Counts,
    FeatureMap,
    Int,
    Rounding,
    UInt,
    ValueType,
    check_range,
    int_bits,
)


__all__ = [
    "INPUT",
    "Add",
    "Affine",
    "ArgMax",
    "AveragePool",
    "BinaryConv",
    "Concat",
    "DynamicThreshold",
    "DynamicTwoSlope",
    "Gate",
    "GlobalSum",
    "HalvingMaxPool",
    "IntegerConv",
    "MaxPool",
    "Node",
    "PadChannels",
    "Subsample",
    "Threshold",
    "TwoSlope",
    "check_name",
    "sources_of",
    "spell",
]

INPUT = "input"
"""The name under which nodes refer to the network's input."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_WEIGHT_BITS = 16
_MAX_SUM_BITS = 63
_MAX_SCALE_BITS = 30


class Gate(Enum):
    """What combines an activation bit with a weight bit."""

    XNOR = "xnor"
    AND = "and"


@dataclass(frozen=True, eq=False)
class BinaryConv:
    """Count, for every filter and window, the taps where the gate gives 1: bit → counts.

    ``y[r, c, f] = #{(i, j, k): gate(x[s·r + i − p, s·c + j − p, k], weights[f, i, j, k])}`` with
    the stride s and the padding p; a tap outside the frame has x = 0. A dense layer is a kernel
    that covers the whole map.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    weights : bool array, (filters, rows, columns, channels)
        Weight bits.
    gate : Gate
        Whether M (xnor) or A (and) is counted.
    popcount : bool
        Whether P goes along with the counts, for thresholds that use it (AdaBin).
    stride : int
        Pixels from one window to the next, in both directions.
    padding : int
        Pixels outside the frame that windows reach on each side, less than the kernel's sides.
    """

    name: str
    source: str
    weights: NDArray[np.bool_]
    gate: Gate = Gate.XNOR
    popcount: bool = False
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        _freeze(self, "weights", np.bool_, 4)
        if not isinstance(self.gate, Gate):
            raise NetworkError(f"{self.name}: the gate must be a Gate, not {self.gate!r}")
        _check_windows(self)

    @property
    def filters(self) -> int:
        """Number of filters (neurons)."""
        return self.weights.shape[0]

    @property
    def taps(self) -> int:
        """N, the synapses of one filter."""
        return self.weights[0].size

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        if not isinstance(x.type, Bit):
            raise NetworkError(f"{self.name}: the input must be bits, not {spell(x.type)}")
        return _infer_windows(self, x, Counts(self.taps, self.popcount))


@dataclass(frozen=True, eq=False)
class IntegerConv:
    """Weighted sums of every window: bits or integers → integers.

    ``y[r, c, f] = Σ weights[f, i, j, k] · x[s·r + i − p, s·c + j − p, k]``, as for `BinaryConv`;
    an x outside the frame is 0. For first layers on pixels, and for last layers.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    weights : int array, (filters, rows, columns, channels)
        At most 16 bits each.
    stride, padding : int
        As for `BinaryConv`.
    """

    name: str
    source: str
    weights: NDArray[np.int64]
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        _freeze(self, "weights", np.int64, 4)
        if self.weight_bits > _MAX_WEIGHT_BITS:
            raise NetworkError(
                f"{self.name}: its weights need {self.weight_bits} bits, more than "
                f"{_MAX_WEIGHT_BITS}"
            )
        _check_windows(self)

    @property
    def filters(self) -> int:
        """Number of filters (neurons)."""
        return self.weights.shape[0]

    @property
    def taps(self) -> int:
        """N, the synapses of one filter."""
        return self.weights[0].size

    @property
    def weight_bits(self) -> int:
        """Width of the narrowest two's complement integer that holds every weight."""
        return int_bits(int(self.weights.min()), int(self.weights.max()))

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Smallest and largest sum of each filter: two (filters,) arrays of Python integers."""
        # A window may reach outside the frame, where x is 0.
        low, high = min(0, x.type.low), max(0, x.type.high)
        weights = self.weights.reshape(self.filters, -1)
        # In Python's integers: a hostile file can ask for products beyond 64 bits.
        positive = np.maximum(weights, 0).sum(axis=1).astype(object)
        negative = np.minimum(weights, 0).sum(axis=1).astype(object)
        return positive * low + negative * high, positive * high + negative * low

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``; its width is the narrowest that fits."""
        if not isinstance(x.type, Bit | UInt | Int):
            raise NetworkError(
                f"{self.name}: the input must be bits or integers, not {spell(x.type)}"
            )
        low, high = self.bounds(x)
        bits = int_bits(int(low.min()), int(high.max()))
        return _infer_windows(self, x, _sum_type(self.name, bits))


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Largest bit of every window, or the smallest one: bit → bit.

    ``y[r, c, k] = any(x[size·r + i, size·c + j, k])``, and ``all(…)`` on channels that are
    ``inverted``: those on which a larger bit stands for a smaller value, because the comparison
    before it is turned round. Rows and columns that do not fill a window are left out.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    size : int
        Rows and columns of a window, at least 2; windows do not overlap.
    inverted : bool array, (channels,), optional
    """

    name: str
    source: str
    size: int
    inverted: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_range(f"{self.name}: size", self.size, 2, MAX_SIDE)
        if self.inverted is not None:
            _freeze(self, "inverted", np.bool_, 1)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        if not isinstance(x.type, Bit):
            raise NetworkError(f"{self.name}: the input must be bits, not {spell(x.type)}")
        if self.inverted is not None and self.inverted.size != x.channels:
            raise NetworkError(
                f"{self.name}: it has {self.inverted.size} channels, its source {x.channels}"
            )
        if self.size > min(x.height, x.width):
            raise NetworkError(
                f"{self.name}: a window of {self.size}×{self.size} does not fit a map of "
                f"{_shape(x)}"
            )
        return FeatureMap(x.height // self.size, x.width // self.size, x.channels, Bit())


@dataclass(frozen=True, eq=False)
class Threshold:
    """Compare every value with its channel's threshold: counts or integers → bit.

    ``y[r, c, k] = (2^fraction · x[r, c, k] + popcount_weights[k] · P[r, c] ≥ thresholds[k])``,
    complemented on channels that are ``inverted``. With ``classes``, it is
    ``thresholds[classes[r, c], k]``: windows that reach outside the frame have other thresholds.

    A threshold equal to the smallest left side makes the comparison constant 1, one above the
    largest constant 0: that is how degenerate channels are written.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    thresholds : int array, (channels,), or (border classes, channels) with ``classes``
    popcount_weights : int array, (channels,), optional
        ρ of each channel in units of 2^−fraction; needs counts that carry P.
    fraction : int
        Fractional bits of ρ.
    inverted : bool array, (channels,), optional
        Channels whose comparison is turned round (a negative batch-norm scale with the and gate).
    classes : int array, (height, width), optional
        Border class of each pixel: 0, 1, …, each of which occurs.
    """

    name: str
    source: str
    thresholds: NDArray[np.int64]
    popcount_weights: NDArray[np.int64] | None = None
    fraction: int = 0
    inverted: NDArray[np.bool_] | None = None
    classes: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        _freeze(self, "thresholds", np.int64, 1 if self.classes is None else 2)
        for what, dtype in (("popcount_weights", np.int64), ("inverted", np.bool_)):
            if getattr(self, what) is not None:
                _freeze(self, what, dtype, 1, shape=(self.channels,))
        check_range(f"{self.name}: fraction", self.fraction, 0, MAX_FRACTION)
        if self.classes is not None:
            _freeze_classes(self, len(self.thresholds))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.thresholds.shape[-1]

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest left side of the comparison, per channel: two (channels,) arrays."""
        factor = np.full(self.channels, 1 << self.fraction, np.int64)
        return _bounds(self.name, x, factor, self.popcount_weights, np.zeros_like(factor)[None])

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        _check_channels(self.name, self.channels, x)
        _check_popcount(self.name, self.popcount_weights is not None, x)
        _check_classes(self, x)
        low, high = self.bounds(x)
        if np.any(self.thresholds < low) or np.any(self.thresholds > high + 1):
            raise NetworkError(
                f"{self.name}: a threshold lies outside the range of what it is compared with"
            )
        return FeatureMap(x.height, x.width, x.channels, Bit())


@dataclass(frozen=True, eq=False)
class Affine:
    """Scale and shift every channel in integers: counts or integers → integers.

    ``y[r, c, k] = scale[k] · x[r, c, k] + popcount_scale[k] · P[r, c] + offset[k]``, and then
    ``rounding``. With ``classes``, it is ``offset[classes[r, c], k]``.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    scale : int array, (channels,)
    offset : int array, (channels,), or (border classes, channels) with ``classes``
    popcount_scale : int array, (channels,), optional
        Needs counts that carry P.
    classes : int array, (height, width), optional
        Border class of each pixel: 0, 1, …, each of which occurs.
    rounding : Rounding, optional
        Without it, the result is of the narrowest type that holds it.
    """

    name: str
    source: str
    scale: NDArray[np.int64]
    offset: NDArray[np.int64]
    popcount_scale: NDArray[np.int64] | None = None
    classes: NDArray[np.int64] | None = None
    rounding: Rounding | None = None

    def __post_init__(self) -> None:
        _freeze(self, "scale", np.int64, 1)
        _freeze(self, "offset", np.int64, 1 if self.classes is None else 2)
        if self.offset.shape[-1] != self.scale.size:
            raise NetworkError(f"{self.name}: offset has the wrong shape {self.offset.shape}")
        if self.popcount_scale is not None:
            _freeze(self, "popcount_scale", np.int64, 1, shape=self.scale.shape)
        if self.classes is not None:
            _freeze_classes(self, len(self.offset))

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest value of each channel before rounding: two (channels,) arrays."""
        return _bounds(self.name, x, self.scale, self.popcount_scale, np.atleast_2d(self.offset))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        _check_channels(self.name, self.scale.size, x)
        _check_popcount(self.name, self.popcount_scale is not None, x)
        _check_classes(self, x)
        low, high = self.bounds(x)
        bits = int_bits(int(low.min()), int(high.max()))
        type_ = self.rounding.type if self.rounding else _sum_type(self.name, bits)
        return FeatureMap(x.height, x.width, x.channels, type_)


@dataclass(frozen=True, eq=False)
class TwoSlope:
    """Multiply every value by one of its channel's slopes: integers → integers.

    ``y[r, c, k] = positive[k] · x if x ≥ 0 else negative[k] · x``, and then ``rounding``: PReLU,
    and AdaBin's Maxout. RPReLU is one too, its biases being parts of what is before and behind it.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    positive, negative : int array, (channels,)
        At most 16 bits each; ``rounding.shift`` of them are fractional.
    rounding : Rounding
    """

    name: str
    source: str
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    rounding: Rounding

    def __post_init__(self) -> None:
        _freeze_slopes(self)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        _check_int(self.name, x)
        _check_channels(self.name, self.positive.size, x)
        return replace(x, type=self.rounding.type)


@dataclass(frozen=True)
class DynamicThreshold:
    """Compare every value with a threshold that the frame itself has: integers → bit.

    ``y[r, c, k] = (scale · x[r, c, k] ≥ parameters[0, 0, first + k])``. A map of parameters that
    has a single channel is the threshold of all channels: a frame's mean is ``scale`` = the number
    of its values, and their sum.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    parameters : str
        The node that delivers a 1×1 map of integers for each frame.
    first : int
        Channel of that map which belongs to channel 0.
    scale : int
        At least 1.
    """

    name: str
    source: str
    parameters: str
    first: int = 0
    scale: int = 1

    def __post_init__(self) -> None:
        check_name(self.name)
        check_range(f"{self.name}: first", self.first, 0, MAX_SIDE)
        check_range(f"{self.name}: scale", self.scale, 1, (1 << _MAX_SCALE_BITS) - 1)

    def infer(self, x: FeatureMap, parameters: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x`` and its parameters."""
        shared = parameters.channels == 1
        _check_parameters(self.name, x, parameters, self.first + (1 if shared else x.channels))
        return replace(x, type=Bit())


@dataclass(frozen=True, eq=False)
class DynamicTwoSlope:
    """`TwoSlope` between two shifts that the frame itself has: integers → integers.

    With ``z = x[r, c, k] + parameters[0, 0, first + k]``, ``y[r, c, k] = ((positive[k] · z if z ≥ 0
    else negative[k] · z) + 2^(shift − 1) >> shift) + parameters[0, 0, first + channels + k]``, and
    only that is clipped: DyPReLU.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    parameters : str
        The node that delivers a 1×1 map of integers for each frame.
    positive, negative, rounding
        As for `TwoSlope`.
    first : int
        Channel of the map of parameters which belongs to channel 0.
    """

    name: str
    source: str
    parameters: str
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    rounding: Rounding
    first: int = 0

    def __post_init__(self) -> None:
        _freeze_slopes(self)
        check_range(f"{self.name}: first", self.first, 0, MAX_SIDE)

    def infer(self, x: FeatureMap, parameters: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x`` and its parameters."""
        _check_int(self.name, x)
        _check_channels(self.name, self.positive.size, x)
        _check_parameters(self.name, x, parameters, self.first + 2 * x.channels)
        if self.rounding.fraction != _check_int(self.name, x):
            raise NetworkError(f"{self.name}: its result must have its source's fractional bits")
        return replace(x, type=self.rounding.type)


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
        fraction = _check_int(self.name, x)
        if x.shape != other.shape or fraction != _check_int(self.name, other):
            raise NetworkError(
                f"{self.name}: it cannot add maps of {_shape(x)} and {_shape(other)}, or with "
                "different fractional bits"
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
        _check_int(self.name, x)
        if (x.height, x.width, x.type) != (other.height, other.width, other.type):
            raise NetworkError(
                f"{self.name}: it cannot join maps of {_shape(x)} and {_shape(other)}, or of "
                "different types"
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
        _check_int(self.name, x)
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
        _check_int(self.name, x)
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
        _check_int(self.name, x)
        if self.size > min(x.height, x.width):
            raise NetworkError(
                f"{self.name}: a window of {self.size}×{self.size} does not fit a map of "
                f"{_shape(x)}"
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
        _check_int(self.name, x)
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
        fraction = _check_int(self.name, x)
        pixels = x.height * x.width
        type_ = _sum_type(self.name, int_bits(pixels * x.type.low, pixels * x.type.high), fraction)
        return FeatureMap(1, 1, x.channels, type_)


@dataclass(frozen=True, eq=False)
class ArgMax:
    """Index of the largest channel of a 1×1 map, the lowest one on ties; hands the scores on."""

    name: str
    source: str

    def __post_init__(self) -> None:
        check_name(self.name)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``: a single label."""
        if (x.height, x.width) != (1, 1) or not isinstance(x.type, Int | UInt):
            raise NetworkError(
                f"{self.name}: the scores must be a 1×1 map of integers, "
                f"not {_shape(x)} of {spell(x.type)}"
            )
        return FeatureMap(1, 1, 1, UInt(max(1, (x.channels - 1).bit_length())))


Node = (
    BinaryConv
    | IntegerConv
    | MaxPool
    | Threshold
    | Affine
    | TwoSlope
    | DynamicThreshold
    | DynamicTwoSlope
    | Add
    | Concat
    | Subsample
    | PadChannels
    | AveragePool
    | HalvingMaxPool
    | GlobalSum
    | ArgMax
)


def sources_of(node: Node) -> tuple[str, ...]:
    """Names of what feeds a node, in the order in which its ``infer`` takes their maps."""
    match node:
        case Add() | Concat():
            return node.source, node.other
        case DynamicThreshold() | DynamicTwoSlope():
            return node.source, node.parameters
        case _:
            return (node.source,)


# -- checks ---------------------------------------------------------------------------------------


def _bounds(
    name: str,
    x: FeatureMap,
    scale: NDArray[np.int64],
    popcount_scale: NDArray[np.int64] | None,
    offset: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Range of ``scale · x + popcount_scale · P + offset[class]`` in each channel."""
    # In Python's integers: a hostile file can ask for products beyond 64 bits.
    low, high = offset.min(axis=0).astype(object), offset.max(axis=0).astype(object)
    for factor in (scale, popcount_scale):
        if factor is not None:
            ends = factor.astype(object) * x.type.low, factor.astype(object) * x.type.high
            low, high = low + np.minimum(*ends), high + np.maximum(*ends)
    bits = int_bits(min(low), max(high))
    if bits > _MAX_SUM_BITS:
        raise NetworkError(f"{name}: its values need {bits} bits, more than {_MAX_SUM_BITS}")
    return low.astype(np.int64), high.astype(np.int64)


def check_name(name: object) -> None:
    """Check that ``name`` can be that of a node."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == INPUT:
        raise NetworkError(
            f"a node's name must be lower-case letters, digits and underscores, not {name!r}"
        )


def _check_windows(node: BinaryConv | IntegerConv) -> None:
    _, rows, columns, _ = node.weights.shape
    check_range(f"{node.name}: stride", node.stride, 1, MAX_SIDE)
    check_range(f"{node.name}: padding", node.padding, 0, min(rows, columns) - 1)


def _infer_windows(node: BinaryConv | IntegerConv, x: FeatureMap, type_: ValueType) -> FeatureMap:
    """Map of what ``node`` delivers for every window of ``x``."""
    _, rows, columns, channels = node.weights.shape
    height, width = x.height + 2 * node.padding - rows, x.width + 2 * node.padding - columns
    if channels != x.channels or height < 0 or width < 0:
        raise NetworkError(
            f"{node.name}: a kernel of {rows}×{columns}×{channels} does not fit a map of "
            f"{_shape(x)}"
        )
    return FeatureMap(height // node.stride + 1, width // node.stride + 1, node.filters, type_)


def _check_channels(name: str, channels: int, x: FeatureMap) -> None:
    if isinstance(x.type, Bit):
        raise NetworkError(f"{name}: the input must be counts or integers, not bits")
    if channels != x.channels:
        raise NetworkError(f"{name}: it has {channels} channels, its source {x.channels}")


def _check_popcount(name: str, wanted: bool, x: FeatureMap) -> None:
    carried = isinstance(x.type, Counts) and x.type.popcount
    if wanted and not carried:
        raise NetworkError(
            f"{name}: it needs the shared popcount, which its source does not deliver"
        )
    if carried and not wanted:
        raise NetworkError(
            f"{name}: its source delivers the shared popcount, which it does not use"
        )


def _freeze(
    node: Node, what: str, dtype: type, dimensions: int, *, shape: tuple[int, ...] | None = None
) -> None:
    """Check the name of ``node``, and replace its array ``what`` by a read-only copy."""
    check_name(node.name)
    array = np.asarray(getattr(node, what))
    if array.dtype.kind not in ("b" if dtype is np.bool_ else "iu"):
        raise NetworkError(f"{node.name}: {what} must be {_DTYPES[dtype]}, not {array.dtype}")
    if array.ndim != dimensions or array.size == 0 or (shape is not None and array.shape != shape):
        raise NetworkError(f"{node.name}: {what} has the wrong shape {array.shape}")
    if dtype is np.int64 and np.any(np.abs(array.astype(object)) >= 1 << 40):
        raise NetworkError(f"{node.name}: {what} has values beyond 40 bits")
    array = np.array(array, dtype, order="C")
    array.setflags(write=False)
    object.__setattr__(node, what, array)


_DTYPES = {np.bool_: "bits", np.int64: "integers"}


def _freeze_slopes(node: TwoSlope | DynamicTwoSlope) -> None:
    """As `_freeze`, for both slopes."""
    _freeze(node, "positive", np.int64, 1)
    _freeze(node, "negative", np.int64, 1, shape=node.positive.shape)
    slopes = np.concatenate([node.positive, node.negative])
    bits = int_bits(int(slopes.min()), int(slopes.max()))
    if bits > _MAX_WEIGHT_BITS:
        raise NetworkError(
            f"{node.name}: its slopes need {bits} bits, more than {_MAX_WEIGHT_BITS}"
        )


def _freeze_classes(node: Threshold | Affine, count: int) -> None:
    """As `_freeze`, for border classes, of which there must be ``count``."""
    _freeze(node, "classes", np.int64, 2)
    if not np.array_equal(np.unique(np.asarray(node.classes)), np.arange(count)):
        raise NetworkError(
            f"{node.name}: its pixels must have the classes 0…{count - 1}, and each of them"
        )


def _check_classes(node: Threshold | Affine, x: FeatureMap) -> None:
    if node.classes is not None and node.classes.shape != (x.height, x.width):
        raise NetworkError(
            f"{node.name}: it has classes for {node.classes.shape[0]}×{node.classes.shape[1]} "
            f"pixels, its source has {x.height}×{x.width}"
        )


def _check_int(name: str, x: FeatureMap) -> int:
    """Check that ``x`` consists of signed integers, and return their fractional bits."""
    if not isinstance(x.type, Int):
        raise NetworkError(f"{name}: the input must be signed integers, not {spell(x.type)}")
    return x.type.fraction


def _check_parameters(name: str, x: FeatureMap, parameters: FeatureMap, channels: int) -> None:
    """Check that ``x`` and a map of ``parameters`` fit, of which ``channels`` are wanted."""
    if (parameters.height, parameters.width) != (1, 1) or parameters.channels < channels:
        raise NetworkError(
            f"{name}: its parameters must be a 1×1 map of at least {channels} channels, "
            f"not {_shape(parameters)}"
        )
    if _check_int(name, x) != _check_int(name, parameters):
        raise NetworkError(
            f"{name}: its parameters must have as many fractional bits as its source"
        )


def _sum_type(name: str, bits: int, fraction: int = 0) -> Int:
    """Type of sums that need so many bits, if there is one."""
    if bits > MAX_BITS:
        raise NetworkError(f"{name}: its values need {bits} bits, more than {MAX_BITS}")
    return Int(bits, fraction)


def _shape(x: FeatureMap) -> str:
    return "×".join(map(str, x.shape))


def spell(type_: ValueType) -> str:
    """Type in words."""
    match type_:
        case Bit():
            return "bits"
        case Counts():
            return "counts"
        case UInt():
            return f"{type_.bits}-bit unsigned integers"
        case Int():
            return f"{type_.bits}-bit integers"
