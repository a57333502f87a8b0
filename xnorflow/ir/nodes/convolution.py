"""Convolutions: counts of binary products, and weighted sums."""

from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import (
    MAX_LEVEL_BITS,
    MAX_WEIGHT_BITS,
    check_type,
    freeze,
    spell,
    spell_shape,
    sum_type,
)
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import (
    MAX_SIDE,
    Bit,
    Counts,
    FeatureMap,
    Int,
    UInt,
    ValueType,
    check_range,
    int_bits,
)


__all__ = ["BinaryConv", "Convolution", "Gate", "IntegerConv"]


class Gate(Enum):
    """Gate that combines an activation bit with a weight bit."""

    XNOR = "xnor"
    AND = "and"


@dataclass(frozen=True, eq=False)
class Convolution(Node):
    """Windows of a map against filters: `BinaryConv` or `IntegerConv`."""

    weights: NDArray[Any]
    stride: int = 1
    padding: int = 0

    @property
    def kernel(self) -> tuple[int, ...]:
        """(rows, columns, channels) of a window."""
        return self.weights.shape[1:]

    @property
    def filters(self) -> int:
        """Number of filters (neurons)."""
        return int(self.weights.shape[0])

    @property
    def taps(self) -> int:
        """N, the synapses of one filter."""
        return int(self.weights[0].size)


@dataclass(frozen=True, eq=False)
class BinaryConv(Convolution):
    """Count, for every filter and window, the taps where the gate gives 1: bits → counts.

    ``y[r, c, f] = #{(i, j, k): gate(x[s·r + i − p, s·c + j − p, k], weights[f, i, j, k])}`` with
    the stride s and the padding p; a tap outside the frame has x = 0. A dense layer is a kernel
    that covers the whole map.

    Activations of several ``bits`` are as many planes of bits, and y is Σ 2ⁿ·yₙ of the planes: a
    tap counts x where its weight bit is 1, otherwise 2^bits − 1 − x for xnor, and 0 for and. Taps
    that the ``mask`` leaves out count nothing: weights of −1, 0 and 1.

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
    bits : int
        Of an activation, from 1 to 4: 1 for a map of bits, others for one of unsigned integers.
    mask : bool array, (filters, rows, columns, channels), optional
        Taps that count, for the xnor gate without P; the weight bits of others are 0.
    """

    kind = "binary_conv"
    header = ("gate", "popcount", "kernel", "stride", "padding")
    optional = ("bits",)

    weights: NDArray[np.bool_]
    _: KW_ONLY
    gate: Gate = Gate.XNOR
    popcount: bool = False
    bits: int = 1
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze(self, "weights", np.bool_, 4)
        check_type(self.name, "gate", self.gate, Gate)
        check_type(self.name, "popcount", self.popcount, bool)
        check_range(f"{self.name}: bits", self.bits, 1, MAX_LEVEL_BITS)
        if self.mask is not None:
            freeze(self, "mask", np.bool_, 4, shape=self.weights.shape)
            if self.gate is Gate.AND or self.popcount:
                raise NetworkError(f"{self.name}: a mask is for the xnor gate, without P")
            if np.any(self.weights & ~self.mask):
                raise NetworkError(f"{self.name}: the weight bits of taps left out must be 0")
        check_windows(self)

    @property
    def reach(self) -> NDArray[np.int64]:
        """Largest count of each filter, (filters,)."""
        counted = np.full(self.filters, self.taps)
        if self.mask is not None:
            counted = self.mask.sum(axis=(1, 2, 3))
        return counted * (2**self.bits - 1)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        wanted = Bit() if self.bits == 1 else UInt(self.bits)
        if x.type != wanted:
            raise NetworkError(
                f"{self.name}: the input must be {spell(wanted)}, not {spell(x.type)}"
            )
        most = self.taps * (2**self.bits - 1)
        return infer_windows(self, x, Counts(most, self.popcount))


@dataclass(frozen=True, eq=False)
class IntegerConv(Convolution):
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

    kind = "integer_conv"
    header = ("kernel", "stride", "padding")

    weights: NDArray[np.int64]

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze(self, "weights", np.int64, 4)
        if self.weight_bits > MAX_WEIGHT_BITS:
            raise NetworkError(
                f"{self.name}: its weights need {self.weight_bits} bits, more than "
                f"{MAX_WEIGHT_BITS}"
            )
        check_windows(self)

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


def check_windows(node: Convolution) -> None:
    """Check stride and padding of a convolution."""
    _, rows, columns, _ = node.weights.shape
    check_range(f"{node.name}: stride", node.stride, 1, MAX_SIDE)
    check_range(f"{node.name}: padding", node.padding, 0, min(rows, columns) - 1)


def infer_windows(node: Convolution, x: FeatureMap, type_: ValueType) -> FeatureMap:
    """Map of what ``node`` delivers for every window of ``x``."""
    _, rows, columns, channels = node.weights.shape
    height, width = x.height + 2 * node.padding - rows, x.width + 2 * node.padding - columns
    if channels != x.channels or height < 0 or width < 0:
        raise NetworkError(
            f"{node.name}: a kernel of {rows}×{columns}×{channels} does not fit a map of "
            f"{spell_shape(x)}"
        )
    return FeatureMap(height // node.stride + 1, width // node.stride + 1, node.filters, type_)
