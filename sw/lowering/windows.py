"""Convolutions and dense layers as sums of integers.

With u and v the bits of activation and weight over the N taps of a window, V = Σv, Nc and Vc the
same over those taps that are inside the frame, activation levels a + s·u and weight levels
α·(2v − 1 + ρ), a filter's sum of products is α·Q with

- ``Q = s·(M + ρ·P) + s·(2ⁿ − 1)·(V − N) + a·(2Vc − Nc + ρ·Nc)``, for the xnor gate and activations
  of n bits, so that u is in 0…2ⁿ − 1;
- ``Q = 2s·A + 2a·Vc`` where ρ = 1, for the and gate;
- ``Q = s·Σq·u + a·Σq`` for integer weights α·q, the second sum over taps inside the frame; where q
  are −1, 0 and 1, Σq·u is M less 2ⁿ − 1 for each −1;
- ``Q = g·Σq·x + Σq·o``, the second sum over taps inside the frame, for those on inputs g·x + o.

Taps outside the frame have u = 0 or x = 0. Where they stand for the lower level, they count as
inside.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.ir import (
    MAX_LEVEL_BITS,
    BinaryConv,
    Bit,
    Convolution,
    FeatureMap,
    Gate,
    Int,
    IntegerConv,
    UInt,
)
from xnorflow.ir.windows import axes_of
from xnorflow.sw.frontend.graph import Operation, WeightedSum
from xnorflow.sw.lowering.borders import Borders, find_borders
from xnorflow.sw.lowering.channel_scales import absorbed
from xnorflow.sw.lowering.edges import Edge, Levels, Sums, scaled, total
from xnorflow.sw.lowering.roots import ONE, Root, RootSum


__all__ = ["weigh"]


def weigh(operation: Operation, x: Edge) -> tuple[Convolution, Sums]:
    """Node of a convolution or dense layer of ``x``, and what it delivers.

    Raises
    ------
    LoweringError
        If it does not take what ``x`` is.
    """
    layer = operation.function
    assert isinstance(layer, WeightedSum)
    if isinstance(x, Levels):
        return _on_bits(operation, *absorbed(operation, layer, x))
    if isinstance(x, Sums) and not layer.weights.binary:
        return _on_integers(operation, layer, scaled(x, operation.origin))
    raise LoweringError(
        f"{operation.origin} takes bits: put an activation quantiser, such as Sign(), in "
        "front of it"
    )


def _on_bits(operation: Operation, layer: WeightedSum, x: Levels) -> tuple[Convolution, Sums]:
    code, borders = _windows(operation, layer, x.map)
    weights, taps = layer.weights, code[0].size
    filters = len(code)
    where = operation.name, x.node
    low, step = x.low, x.step
    if not weights.binary:
        return _integer_weights(operation, layer, x, code, borders)
    # Bits of an activation, and its largest code.
    planes = x.map.type.bits if isinstance(x.map.type, UInt) else 1
    most = 2**planes - 1
    bits = code > 0
    rho = [Fraction(centre, 1 << weights.fraction) for centre in weights.centres]
    taps_inside, ones_inside = borders.count(bits)
    if all(centre == 1 for centre in rho):
        node = BinaryConv(*where, bits, **layer.windows, gate=Gate.AND, bits=planes)
        offsets = [[2 * low * int(vc) for vc in row] for row in ones_inside]
        bounds = ((0, most * taps),) * filters
        return node, _sums(node, x.map, layer, borders, 2 * step, offsets, bounds)
    ones = bits.sum(axis=(1, 2, 3))  # of each filter
    offsets = [
        [
            step * most * (int(v) - taps) + low * (2 * int(vc) - nc + centre * nc)
            for v, vc, centre in zip(ones, row, rho, strict=True)
        ]
        for nc, row in zip(taps_inside.tolist(), ones_inside, strict=True)
    ]
    popcount = any(weights.centres)
    if popcount and layer.groups > 1:
        raise LoweringError(
            f"{operation.origin} has weight levels that are not ±: groups must have others"
        )
    node = BinaryConv(*where, bits, **layer.windows, popcount=popcount, bits=planes)
    bounds = ((0, most * taps),) * filters
    return node, _sums(node, x.map, layer, borders, step, offsets, bounds, centred=popcount)


def _integer_weights(
    operation: Operation, layer: WeightedSum, x: Levels, code: NDArray[np.int64], borders: Borders
) -> tuple[Convolution, Sums]:
    """Sums of bits, or of codes of several bits, with integer weights."""
    inside = np.einsum("cij,fij->cf", borders.inside.astype(np.int64), code.sum(axis=3))
    offsets = [[x.low * int(q) for q in row] for row in inside]
    most = x.map.type.high
    if np.abs(code).max(initial=0) <= 1 and most < 1 << MAX_LEVEL_BITS:
        below = most * (code < 0).sum(axis=(1, 2, 3))
        counts = _ternary(operation, layer, x, code)
        offsets = [
            [each - x.step * int(n) for each, n in zip(row, below, strict=True)] for row in offsets
        ]
        bounds = tuple((0, int(each)) for each in counts.reach)
        return counts, _sums(counts, x.map, layer, borders, x.step, offsets, bounds)
    node = IntegerConv(operation.name, x.node, code, **layer.windows)
    bounds = _reach(code, (0, most))
    return node, _sums(node, x.map, layer, borders, x.step, offsets, bounds)


def _ternary(
    operation: Operation, layer: WeightedSum, x: Levels, code: NDArray[np.int64]
) -> BinaryConv:
    """Counts of a layer whose weights are −1, 0 and 1: a sum of products, plus a constant."""
    return BinaryConv(
        operation.name,
        x.node,
        code > 0,
        **layer.windows,
        bits=x.map.type.bits if isinstance(x.map.type, UInt) else 1,
        mask=None if code.all() else code != 0,
    )


def _on_integers(operation: Operation, layer: WeightedSum, x: Sums) -> tuple[IntegerConv, Sums]:
    if not isinstance(x.map.type, Bit | UInt | Int) or len(x.offsets) > 1:
        raise LoweringError(f"{operation.origin} takes bits, or the model's input")
    if not all(gain.sign for gain in x.gains):
        raise LoweringError(f"{operation.origin} gets an input that is multiplied with 0")
    gains = {RootSum.of(gain * x.gains[0].inverse).as_rational() for gain in x.gains}
    if gains != {Fraction(1)}:
        raise LoweringError(
            f"{operation.origin} takes inputs with one scale for all channels: give the mean and "
            "the standard deviation of each channel to an IntegerConv2d instead"
        )
    code, borders = _windows(operation, layer, x.map)
    # (border classes, filters, channels)
    inside = np.einsum("cij,fijk->cfk", borders.inside.astype(np.int64), code)
    gain, channels = x.gains[0], code.shape[3]
    groups = [x.offsets[0][n * channels : (n + 1) * channels] for n in range(layer.groups)]
    of_filters = [each for each in groups for _ in range(len(code) // layer.groups)]
    offsets = [
        [
            total([offset * Root(Fraction(int(q))) for offset, q in zip(shifts, sums, strict=True)])
            * gain.inverse
            for sums, shifts in zip(row, of_filters, strict=True)
        ]
        for row in inside
    ]
    node = IntegerConv(operation.name, x.node, code, **layer.windows)
    bounds = _reach(code, (min(0, x.map.type.low), x.map.type.high))
    sums = _sums(node, x.map, layer, borders, Fraction(1), offsets, bounds, gain=gain)
    return node, sums


def _windows(
    operation: Operation, layer: WeightedSum, x: FeatureMap
) -> tuple[NDArray[np.int64], Borders]:
    """Weights (filters, rows, columns, channels), and the border classes of windows of ``x``."""
    code = layer.weights.code
    if layer.dense:
        if code.shape[1] != x.size:
            raise LoweringError(
                f"{operation.origin} takes {code.shape[1]} values, but it gets a map of "
                f"{x.height}×{x.width}×{x.channels}"
            )
        # Features are in the order channel, row, column.
        code = code.reshape(-1, x.channels, x.height, x.width).transpose(0, 2, 3, 1)
    _, rows, columns, channels = code.shape
    axes = axes_of((rows, columns), layer.stride, layer.padding, layer.dilation)
    windows = [axis.count(side) for axis, side in zip(axes, x.shape[:2], strict=True)]
    channels *= layer.groups
    if channels != x.channels or min(windows) < 1:
        rows, columns = (axis.span for axis in axes)
        raise LoweringError(
            f"{operation.origin} takes maps of {channels} channels and at least {rows}×{columns} "
            f"pixels, padding included, but it gets one of {x.height}×{x.width}×{x.channels}"
        )
    borders = find_borders(
        (x.height, x.width),
        (rows, columns),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
    )
    if layer.lower_border:
        borders = Borders(np.zeros_like(borders.classes), np.ones_like(borders.inside[:1]))
    return code, borders


def _sums(
    node: Convolution,
    x: FeatureMap,
    layer: WeightedSum,
    borders: Borders,
    slope: Fraction,
    offsets: Sequence[Sequence[Fraction | RootSum]],
    bounds: tuple[tuple[int, int], ...],
    *,
    centred: bool = False,
    gain: Root = ONE,
) -> Sums:
    """Output of ``node``, times α: ``slope·x + offsets``, and that times ``gain``."""
    scales = [scale * gain for scale in layer.weights.scales]
    return Sums(
        node.name,
        node.infer(x),
        gains=tuple(scale * Root(slope) for scale in scales),
        offsets=tuple(
            tuple(
                (offset if isinstance(offset, RootSum) else RootSum.rational(offset)) * scale
                for offset, scale in zip(row, scales, strict=True)
            )
            for row in offsets
        ),
        classes=borders.classes,
        bounds=bounds,
        centres=layer.weights.centres if centred else (),
        # Without ρ there is nothing to have fractional bits.
        fraction=layer.weights.fraction if centred else 0,
    )


def _reach(code: NDArray[np.int64], values: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Smallest and largest sum of each filter, of inputs within ``values``; 0 is one of them."""
    rows = code.reshape(len(code), -1)
    positive, negative = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
    low, high = values
    return tuple(
        (low * int(p) + high * int(n), high * int(p) + low * int(n))
        for p, n in zip(positive, negative, strict=True)
    )
