"""Convolutions: counts of binary products, and weighted sums."""

from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar

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
from xnorflow.ir.windows import Axis, Padding, Pair, axes_of, check_padding, check_pair


__all__ = ["BinaryConv", "Convolution", "Gate", "IntegerConv"]


class Gate(Enum):
    """Gate that combines an activation bit with a weight bit."""

    XNOR = "xnor"
    AND = "and"


@dataclass(frozen=True, eq=False)
class Convolution(Node):
    """Windows of a map against filters: `BinaryConv` or `IntegerConv`.

    Its stride, padding and dilation have their shortest forms: a number where all directions and
    sides have the same one.
    """

    optional: ClassVar[tuple[str, ...]] = ("dilation", "groups")

    weights: NDArray[Any]
    stride: Pair = 1
    padding: Padding = 0
    dilation: Pair = 1
    groups: int = 1

    @property
    def kernel(self) -> tuple[int, ...]:
        """(rows, columns, channels) of a window; the channels are those of one group."""
        return self.weights.shape[1:]

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Rows and columns of the windows."""
        return axes_of(self.kernel, self.stride, self.padding, self.dilation)

    @cached_property
    def filters(self) -> int:
        """Number of filters (neurons)."""
        return int(self.weights.shape[0])

    @cached_property
    def taps(self) -> int:
        """N, the synapses of one filter."""
        return int(self.weights[0].size)


@dataclass(frozen=True, eq=False)
class BinaryConv(Convolution):
    """Count, for every filter and window, the taps where the gate gives 1: bits → counts.

    ``y[r, c, f] = #{(i, j, k): gate(x[s·r + d·i − p, s·c + d·j − p, k], weights[f, i, j, k])}``
    with the stride s, the dilation d and the padding p; a tap outside the frame has x = 0. A dense
    layer is a kernel that covers the whole map. With several groups, the filters and the channels
    are divided evenly, and filter f has only the channels of its group, k behind the first of them.

    Activations of several ``bits`` are as many planes of bits, and y is Σ 2ⁿ·yₙ of the planes: a
    tap counts x where its weight bit is 1, otherwise 2^bits − 1 − x for xnor, and 0 for and. Taps
    that the ``mask`` leaves out count nothing: weights of −1, 0 and 1.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    weights : bool array, (filters, rows, columns, channels of a group)
        Weight bits.
    gate : Gate
        Whether M (xnor) or A (and) is counted.
    popcount : bool
        Whether P goes along with the counts, for thresholds that use it (AdaBin). All filters
        share it, so that there is but one group.
    stride : int or (rows, columns)
        Pixels from one window to the next.
    padding : int, (rows, columns) or (top, bottom, left, right)
        Pixels outside the frame that windows reach, less than a window spans.
    dilation : int or (rows, columns)
        Pixels from one tap of the kernel to the next.
    groups : int
        Groups of filters and channels; as many as there are channels make it depthwise.
    bits : int
        Of an activation, from 1 to 4: 1 for a map of bits, others for one of unsigned integers.
    mask : bool array, (filters, rows, columns, channels), optional
        Taps that count, for the xnor gate without P; the weight bits of others are 0.
    """

    kind = "binary_conv"
    header = ("gate", "popcount", "kernel", "stride", "padding")
    optional = (*Convolution.optional, "bits")

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
        if self.popcount and self.groups > 1:
            raise NetworkError(f"{self.name}: the filters of several groups share no popcount")

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

    ``y[r, c, f] = Σ weights[f, i, j, k] · x[s·r + d·i − p, s·c + d·j − p, k]``, as for
    `BinaryConv`; an x outside the frame is 0. For first layers on pixels, and for last layers.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    weights : int array, (filters, rows, columns, channels of a group)
        At most 16 bits each.
    stride, padding, dilation, groups
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
    """Check where the windows of a convolution are, and give that its shortest form."""

    def put(field: str, value: object) -> None:
        object.__setattr__(node, field, value)

    put("stride", check_pair(f"{node.name}: stride", node.stride))
    put("dilation", check_pair(f"{node.name}: dilation", node.dilation))
    rows, columns = axes_of(node.kernel, dilation=node.dilation)
    spans = rows.span, columns.span
    put("padding", check_padding(f"{node.name}: padding", node.padding, spans))
    check_range(f"{node.name}: groups", node.groups, 1, MAX_SIDE)
    if node.filters % node.groups:
        raise NetworkError(
            f"{node.name}: its {node.groups} groups must divide its {node.filters} filters"
        )


def infer_windows(node: Convolution, x: FeatureMap, type_: ValueType) -> FeatureMap:
    """Map of what ``node`` delivers for every window of ``x``."""
    rows, columns = node.axes
    height, width = rows.count(x.height), columns.count(x.width)
    if node.kernel[2] * node.groups != x.channels or height < 1 or width < 1:
        raise NetworkError(
            f"{node.name}: a kernel of {spell_kernel(node)} does not fit a map of {spell_shape(x)}"
        )
    return FeatureMap(height, width, node.filters, type_)


def spell_kernel(node: Convolution) -> str:
    """Kernel in words."""
    text = "×".join(map(str, node.kernel))
    if node.dilation != 1:
        text += f" with the dilation {node.dilation}"
    return text if node.groups == 1 else f"{text} for each of {node.groups} groups"
