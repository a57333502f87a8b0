"""Kernels of the golden model: what its definitions say, fast.

They compute on narrow values. Bits are bytes, and integers are of 32 bits where the contract's
bounds say that nothing on the way needs more, else of 64. Products of matrices are sums of
integers, which are exact in whatever order they are added:

=============  ================================================================================
product of     is exact, because
=============  ================================================================================
bytes          all sums are below 2^24 (`Counts`), and they are added in 32 bits; where a
               processor adds two products in 16 bits first, these are at most 2·129
packed bits    counts of at most 3·64 differences fit a byte, and are added in 32 bits
float32        no partial sum exceeds 2^24: a count's taps, or an `IntegerConv`'s bounds
float64        no partial sum exceeds 2^53: results have at most 32 bits
=============  ================================================================================

Counts that only a `Threshold` or an `Affine` uses are never written: these take Σ u·(2v − 1), of
which M = #{u = v} is Σ u·(2v − 1) + Σ (1 − v), and their constants make up for the rest.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xnorflow.ir import (
    Add,
    Affine,
    BinaryConv,
    Bit,
    Convolution,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    IntegerConv,
    MaxPool,
    Node,
    Rounding,
    SumPool,
    Threshold,
    TwoSlope,
    ValueType,
)
from xnorflow.sw.bit_product import bit_product
from xnorflow.sw.pooling import max_pool, sum_pool


__all__ = ["Kernel", "Values", "kernel_of", "narrow", "narrow_dtype", "widen", "windows_of"]

_INT32 = 1 << 31
_EXACT_FLOAT32 = 1 << 24


class Values(NamedTuple):
    """Values on an edge: (n, height, width, channels), and P as (n, height, width, 1)."""

    map: Tensor
    popcount: Tensor | None = None


Kernel = Callable[..., Values]
"""Computes a node's narrow values from those of its sources; it changes none of these."""


def narrow_dtype(type_: ValueType) -> torch.dtype:
    """How the kernels hold values of a type: bool, int32, or int64."""
    if isinstance(type_, Bit):
        return torch.bool
    return _int_dtype(_reach(type_))


def narrow(values: Values, type_: ValueType) -> Values:
    """The same values as the kernels hold them."""
    x, popcount = values
    return Values(x.to(narrow_dtype(type_)), None if popcount is None else popcount.to(torch.int32))


def widen(values: Values) -> Values:
    """The same values as the definitions have them: bool where they are bits, else int64."""
    x, popcount = values
    return Values(
        x if x.dtype == torch.bool else x.to(torch.int64),
        None if popcount is None else popcount.to(torch.int64),
    )


def kernel_of(
    node: Node, maps: Mapping[str, FeatureMap], conv: BinaryConv | None = None
) -> Kernel | None:
    """The kernel of ``node``, if it has one of its own.

    Parameters
    ----------
    node : Node
        Of any kind.
    maps : mapping of str to FeatureMap
        Those of the network that it belongs to.
    conv : BinaryConv, optional
        Node that feeds a `Threshold` or an `Affine` and nothing else: the kernel executes both,
        and takes what ``conv`` takes.
    """
    match node:
        case BinaryConv(bits=1):
            return _binary_conv(node)
        case BinaryConv():
            return _multi_bit_conv(node)
        case IntegerConv():
            return _integer_conv(node, maps[node.source])
        case MaxPool():
            return lambda x: Values(max_pool(node, x.map))
        case SumPool():
            sums = narrow_dtype(maps[node.name].type)
            return lambda x: Values(sum_pool(node, x.map.to(sums)))
        case Threshold():
            kernel = _threshold(node, maps[node.source], conv)
            return kernel if conv is None else _behind(conv, kernel)
        case Affine():
            kernel = _affine(node, maps[node.source], conv)
            return kernel if conv is None else _behind(conv, kernel)
        case TwoSlope():
            return _two_slope(node, maps[node.source])
        case DynamicThreshold():
            return _dynamic_threshold(node, maps[node.source])
        case DynamicTwoSlope():
            return _dynamic_two_slope(node, maps[node.source], maps[node.parameters])
        case Add():
            return _add(node, maps[node.source], maps[node.other])
        case _:
            return None


def windows_of(node: Convolution, x: Tensor) -> Tensor:
    """Taps of every window of ``x`` (n, height, width, channels): (n, height, width, taps).

    The channels may be those of one group, or those of all.
    """
    rows, columns = node.axes
    if node.padding:
        x = functional.pad(x, (0, 0, columns.before, columns.after, rows.before, rows.after))
    for axis, taps in enumerate((rows, columns), 1):
        x = x.unfold(axis, taps.span, taps.stride)[..., :: taps.dilation]
    # (n, height, width, channels, rows, columns) -> (n, height, width, taps)
    return x.permute(0, 1, 2, 4, 5, 3).flatten(3)


def _matrix(node: Convolution, weights: NDArray[Any]) -> Tensor:
    """Weights as a matrix (taps of all groups, filters), 0 for the channels of other groups."""
    filters, rows, columns, channels = weights.shape
    matrix = np.zeros((filters, rows, columns, node.groups, channels), weights.dtype)
    groups = np.arange(filters) // (filters // node.groups)
    matrix[np.arange(filters), :, :, groups] = weights
    return torch.tensor(matrix.reshape(filters, -1).T.copy())


def _behind(conv: BinaryConv, kernel: Kernel) -> Kernel:
    """Kernel of ``conv`` and what stands behind it."""
    sums = _window_sums(conv)
    return lambda x: kernel(sums(x))


def _binary_conv(node: BinaryConv) -> Kernel:
    sums = _window_sums(node)
    rest = torch.tensor(_missing(node), dtype=torch.int32)

    def kernel(x: Values) -> Values:
        found, popcount = sums(x)
        return Values(found.add_(rest), popcount)

    return kernel


def _multi_bit_conv(node: BinaryConv) -> Kernel:
    """Counts over all planes of bits. In float32, which is exact for them."""
    weights = _matrix(node, _signed_weights(node)).to(torch.float32)
    rest = torch.tensor(_missing(node) * (2**node.bits - 1), dtype=torch.int32)

    def kernel(x: Values) -> Values:
        windows = windows_of(node, x.map.to(torch.float32))
        popcount = windows.sum(dim=3, keepdim=True).to(torch.int32) if node.popcount else None
        return Values((windows @ weights).to(torch.int32).add_(rest), popcount)

    return kernel


def _window_sums(node: BinaryConv) -> Kernel:
    """Σ u·(2v − 1) of every window and filter for xnor, Σ u·v for and, as int32; and P."""
    product = bit_product(_matrix(node, _signed_weights(node)))
    total = bit_product(torch.ones(node.taps, 1, dtype=torch.int8)) if node.popcount else None

    def kernel(x: Values) -> Values:
        windows = windows_of(node, x.map)
        rows, shape = windows.flatten(0, 2), windows.shape[:3]
        popcount = None if total is None else total(rows).unflatten(0, shape)
        return Values(product(rows).unflatten(0, shape), popcount)

    return kernel


def _signed_weights(node: BinaryConv) -> NDArray[np.int8]:
    """Factors of u in a count: 2v − 1 for xnor, 0 where the mask is, and v for and."""
    weights = node.weights.astype(np.int8)
    if node.gate is Gate.XNOR:
        weights = 2 * weights - (1 if node.mask is None else node.mask.astype(np.int8))
    return weights


def _missing(conv: BinaryConv) -> NDArray[np.int64]:
    """Difference of a count and the window's sum, (filters,)."""
    if conv.gate is Gate.AND:
        return np.zeros(conv.filters, np.int64)
    counted = conv.taps if conv.mask is None else conv.mask.sum(axis=(1, 2, 3), dtype=np.int64)
    return counted - conv.weights.sum(axis=(1, 2, 3), dtype=np.int64)


def _integer_conv(node: IntegerConv, x: FeatureMap) -> Kernel:
    # Every product can be 0, so that the bounds of the sums are those of partial sums too.
    low, high = node.bounds(x)
    reach = max(-int(low.min()), int(high.max()))
    dtype = torch.float32 if reach <= _EXACT_FLOAT32 else torch.float64
    result = _int_dtype(reach + 1)
    weights = _matrix(node, node.weights).to(dtype)
    return lambda x: Values((windows_of(node, x.map.to(dtype)) @ weights).to(result))


def _threshold(node: Threshold, x: FeatureMap, conv: BinaryConv | None) -> Kernel:
    thresholds = node.thresholds
    if conv is not None:
        thresholds = thresholds - (_missing(conv) << node.fraction)
    factor = np.array([1 << node.fraction])
    dtype = _int_dtype(_largest(thresholds), _sum_reach(x, factor, node.popcount_weights))
    least = _spread(thresholds, node.classes, x, dtype)
    weights = _popcount_weights(node.popcount_weights, dtype)
    inverted = None if node.inverted is None else _spread(node.inverted, None, x, torch.bool)

    def kernel(x: Values) -> Values:
        left = x.map.to(dtype)
        if node.fraction:
            left = left << node.fraction
        if weights is not None and x.popcount is not None:
            left = left.addcmul(x.popcount.to(dtype), weights)
        # Comparing into integers and then narrowing them is faster than comparing into bits.
        bits = torch.ge(left, least, out=torch.empty_like(left)).to(torch.bool)
        return Values(bits if inverted is None else bits.bitwise_xor_(inverted))

    return kernel


def _affine(node: Affine, x: FeatureMap, conv: BinaryConv | None) -> Kernel:
    offset = node.offset
    if conv is not None:
        offset = offset + node.scale * _missing(conv)
    half = 0 if node.rounding is None else node.rounding.half
    dtype = _int_dtype(_largest(offset) + half + _sum_reach(x, node.scale, node.popcount_scale))
    scale = _spread(node.scale, None, x, dtype)
    offsets = _spread(offset + half, node.classes, x, dtype)
    weights = _popcount_weights(node.popcount_scale, dtype)

    def kernel(x: Values) -> Values:
        sums = torch.addcmul(offsets, x.map.to(dtype), scale)
        if weights is not None and x.popcount is not None:
            sums.addcmul_(x.popcount.to(dtype), weights)
        return Values(sums if node.rounding is None else _rounded(sums, node.rounding))

    return kernel


def _two_slope(node: TwoSlope, x: FeatureMap) -> Kernel:
    slopes = _Slopes(node, x, _reach(x.type))
    return lambda x: Values(_rounded(slopes(x.map), node.rounding))


def _dynamic_two_slope(node: DynamicTwoSlope, x: FeatureMap, parameters: FeatureMap) -> Kernel:
    reach = _reach(x.type) + _reach(parameters.type)
    slopes = _Slopes(node, x, reach)
    first, channels, rounding = node.first, x.channels, node.rounding

    def kernel(x: Values, parameters: Values) -> Values:
        shifts = parameters.map[..., first : first + 2 * channels].to(slopes.dtype)
        before, after = shifts.split(channels, dim=3)
        y = slopes(x.map.to(slopes.dtype) + before) >> node.rounding.shift
        return Values(
            y.add_(after).clamp_(rounding.low, rounding.high).to(narrow_dtype(rounding.type))
        )

    return kernel


class _Slopes:
    """``(positive · z if z ≥ 0 else negative · z) + half``, for z up to ``reach`` either way."""

    def __init__(self, node: TwoSlope | DynamicTwoSlope, x: FeatureMap, reach: int) -> None:
        negative, more = node.negative, node.positive - node.negative
        half = node.rounding.half
        # Once more, for what DynamicTwoSlope adds to the result.
        self.dtype = _int_dtype((_largest(negative) + _largest(more) + 1) * reach + half)
        self._negative = _spread(negative, None, x, self.dtype)
        self._more = _spread(more, None, x, self.dtype)
        self._half = torch.full_like(self._negative, half)

    def __call__(self, z: Tensor) -> Tensor:
        z = z.to(self.dtype)
        sums = torch.addcmul(self._half, z, self._negative)
        return sums.addcmul_(z.clamp_min(0), self._more)


def _dynamic_threshold(node: DynamicThreshold, x: FeatureMap) -> Kernel:
    dtype = _int_dtype(node.scale * _reach(x.type))

    def kernel(x: Values, parameters: Values) -> Values:
        left = x.map.to(dtype)
        if node.scale != 1:
            left = left * node.scale
        channels = min(left.shape[3], parameters.map.shape[3])
        thresholds = parameters.map[..., node.first : node.first + channels]
        # Both of the wider type.
        left = left.to(torch.promote_types(dtype, thresholds.dtype))
        bits = torch.ge(left, thresholds.to(left.dtype), out=torch.empty_like(left))
        return Values(bits.to(torch.bool))

    return kernel


def _add(node: Add, x: FeatureMap, other: FeatureMap) -> Kernel:
    dtype = _int_dtype(_reach(x.type) + _reach(other.type))
    return lambda x, other: Values(_rounded(x.map.to(dtype) + other.map.to(dtype), node.rounding))


def _rounded(sums: Tensor, rounding: Rounding) -> Tensor:
    """``sums``, half a unit included, on the coarser grid; they are overwritten."""
    if rounding.shift:
        sums.bitwise_right_shift_(rounding.shift)
    return sums.clamp_(rounding.low, rounding.high).to(narrow_dtype(rounding.type))


def _int_dtype(*reaches: int) -> torch.dtype:
    """int32 if integers of such magnitudes fit, else int64."""
    return torch.int32 if max(reaches) <= _INT32 - 1 else torch.int64


def _reach(type_: ValueType) -> int:
    """Largest magnitude of a value."""
    return max(-type_.low, type_.high)


def _sum_reach(
    x: FeatureMap, scale: NDArray[np.int64], popcount_scale: NDArray[np.int64] | None
) -> int:
    """Largest magnitude of ``scale · x + popcount_scale · P``, and of a part of it.

    The window sums that stand for counts have no larger ones.
    """
    factors = [_largest(each) for each in (scale, popcount_scale) if each is not None]
    return sum(factors) * _reach(x.type)


def _largest(values: NDArray[np.int64]) -> int:
    """Largest magnitude, a Python integer: sums of them may be beyond 64 bits."""
    return int(np.abs(values).max())


def _popcount_weights(weights: NDArray[np.int64] | None, dtype: torch.dtype) -> Tensor | None:
    return None if weights is None else torch.tensor(weights, dtype=dtype)


def _spread(
    values: NDArray[np.int64] | NDArray[np.bool_],
    classes: NDArray[np.int64] | None,
    x: FeatureMap,
    dtype: torch.dtype,
) -> Tensor:
    """Values of channels, or of border classes and channels, written out for the pixels of ``x``.

    (1, width, channels), or (height, width, channels) with ``classes``: long rows of numbers,
    beside which those of the map need no index.
    """
    shape = (1, x.width, x.channels)
    spread = np.broadcast_to(values, shape) if classes is None else values[classes]
    return torch.tensor(np.ascontiguousarray(spread), dtype=dtype)
