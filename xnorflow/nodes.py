"""Nodes of a network: what each computes, in integers, and what it accepts.

Everything is a frozen dataclass that is checked when it is constructed, or when its ``infer`` is
given what feeds it; arrays are made read-only. The conventions are those of `xnorflow.network`.
"""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from xnorflow.checks import (
    MAX_SCALE_BITS,
    MAX_WEIGHT_BITS,
    bounds_of,
    check_channels,
    check_classes,
    check_int,
    check_name,
    check_parameters,
    check_popcount,
    check_windows,
    freeze,
    freeze_classes,
    freeze_slopes,
    infer_windows,
    spell,
    spell_shape,
    sum_type,
)
from xnorflow.errors import NetworkError
from xnorflow.stream_nodes import (
    Add,
    AveragePool,
    Concat,
    GlobalSum,
    HalvingMaxPool,
    PadChannels,
    Subsample,
)
from xnorflow.values import (
    MAX_FRACTION,
    MAX_SIDE,
    Bit,
    Counts,
    FeatureMap,
    Int,
    Rounding,
    UInt,
    check_range,
    int_bits,
)


__all__ = [
    "Affine",
    "ArgMax",
    "BinaryConv",
    "DynamicThreshold",
    "DynamicTwoSlope",
    "Gate",
    "IntegerConv",
    "MaxPool",
    "Node",
    "Threshold",
    "TwoSlope",
    "sources_of",
]


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
        freeze(self, "weights", np.bool_, 4)
        if not isinstance(self.gate, Gate):
            raise NetworkError(f"{self.name}: the gate must be a Gate, not {self.gate!r}")
        check_windows(self)

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
        return infer_windows(self, x, Counts(self.taps, self.popcount))


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
        freeze(self, "weights", np.int64, 4)
        if self.weight_bits > MAX_WEIGHT_BITS:
            raise NetworkError(
                f"{self.name}: its weights need {self.weight_bits} bits, more than "
                f"{MAX_WEIGHT_BITS}"
            )
        check_windows(self)

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
        return infer_windows(self, x, sum_type(self.name, bits))


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
            freeze(self, "inverted", np.bool_, 1)

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
                f"{spell_shape(x)}"
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
        freeze(self, "thresholds", np.int64, 1 if self.classes is None else 2)
        for what, dtype in (("popcount_weights", np.int64), ("inverted", np.bool_)):
            if getattr(self, what) is not None:
                freeze(self, what, dtype, 1, shape=(self.channels,))
        check_range(f"{self.name}: fraction", self.fraction, 0, MAX_FRACTION)
        if self.classes is not None:
            freeze_classes(self, len(self.thresholds))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.thresholds.shape[-1]

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest left side of the comparison, per channel: two (channels,) arrays."""
        factor = np.full(self.channels, 1 << self.fraction, np.int64)
        return bounds_of(self.name, x, factor, self.popcount_weights, np.zeros_like(factor)[None])

    def clipped(self, x: FeatureMap) -> "Threshold":
        """The same comparison of the map ``x``, with thresholds in the range that `infer` accepts.

        Those below it make a constant 1, those above it a constant 0, and so do its ends.
        """
        low, high = self.bounds(x)
        return replace(self, thresholds=np.clip(self.thresholds, low, high + 1))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_channels(self.name, self.channels, x)
        check_popcount(self.name, self.popcount_weights is not None, x)
        check_classes(self, x)
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
        freeze(self, "scale", np.int64, 1)
        freeze(self, "offset", np.int64, 1 if self.classes is None else 2)
        if self.offset.shape[-1] != self.scale.size:
            raise NetworkError(f"{self.name}: offset has the wrong shape {self.offset.shape}")
        if self.popcount_scale is not None:
            freeze(self, "popcount_scale", np.int64, 1, shape=self.scale.shape)
        if self.classes is not None:
            freeze_classes(self, len(self.offset))

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest value of each channel before rounding: two (channels,) arrays."""
        return bounds_of(self.name, x, self.scale, self.popcount_scale, np.atleast_2d(self.offset))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_channels(self.name, self.scale.size, x)
        check_popcount(self.name, self.popcount_scale is not None, x)
        check_classes(self, x)
        low, high = self.bounds(x)
        bits = int_bits(int(low.min()), int(high.max()))
        type_ = self.rounding.type if self.rounding else sum_type(self.name, bits)
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
        freeze_slopes(self)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_int(self.name, x)
        check_channels(self.name, self.positive.size, x)
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
        check_range(f"{self.name}: scale", self.scale, 1, (1 << MAX_SCALE_BITS) - 1)

    def infer(self, x: FeatureMap, parameters: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x`` and its parameters."""
        shared = parameters.channels == 1
        check_parameters(self.name, x, parameters, self.first + (1 if shared else x.channels))
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
        freeze_slopes(self)
        check_range(f"{self.name}: first", self.first, 0, MAX_SIDE)

    def infer(self, x: FeatureMap, parameters: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x`` and its parameters."""
        check_int(self.name, x)
        check_channels(self.name, self.positive.size, x)
        check_parameters(self.name, x, parameters, self.first + 2 * x.channels)
        if self.rounding.fraction != check_int(self.name, x):
            raise NetworkError(f"{self.name}: its result must have its source's fractional bits")
        return replace(x, type=self.rounding.type)


@dataclass(frozen=True, eq=False)
class ArgMax:
    """Index of the largest channel of a 1×1 map, the lowest one on ties; hands the scores on.

    Scores are integers, counts without P, or bits.
    """

    name: str
    source: str

    def __post_init__(self) -> None:
        check_name(self.name)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``: a single label."""
        if (x.height, x.width) != (1, 1):
            raise NetworkError(
                f"{self.name}: the scores must be a 1×1 map, not {spell_shape(x)} of "
                f"{spell(x.type)}"
            )
        check_popcount(self.name, False, x)
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
