"""Lowering of residual models: their integers are read off the grid that they compute on.

With u and v the bits of activation and weight over the N taps of a window, V = Σv, and Nc, Vc and
Wc = 2Vc − Nc over the taps inside the frame, what a model on its grid sums up is

- ``s = 2M + 2V − 2N − Wc`` and ``p = 2P − Nc`` for weights ±1, the xnor gate;
- ``s = 2A − Vc`` for weights 0 and 1, the and gate.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xnorflow.errors import LoweringError
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    AveragePool,
    BinaryConv,
    Concat,
    FeatureMap,
    Gate,
    GlobalSum,
    HalvingMaxPool,
    Int,
    IntegerConv,
    Node,
    PadChannels,
    Subsample,
    Threshold,
    TwoSlope,
)
from xnorflow.sw.exact import to_integers
from xnorflow.sw.lowering.borders import find_borders, merge_classes
from xnorflow.sw.lowering.dynamic import sign_nodes, slope_nodes
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.dynamic import DyPReLU
from xnorflow.sw.nn.grid import Grid, mean_shift
from xnorflow.sw.nn.normed import Folded, NormedBinaryConv
from xnorflow.sw.nn.optional import per_channel
from xnorflow.sw.nn.slopes import TwoSlope as Slopes
from xnorflow.sw.nn.unit import Shortcut, Stream, Unit
from xnorflow.sw.residual import Residual


__all__ = ["residual_nodes"]


@dataclass(frozen=True, eq=False)
class _Source:
    """A node that delivers a stream, and the grid whose range the stream does not leave."""

    name: str
    stream: Stream
    grid: Grid


@torch.no_grad()
def residual_nodes(model: Residual, frame: FeatureMap) -> list[Node]:
    """All nodes of a residual model in float64 but the last; they end with ``scores``.

    The names are those of `Residual.trace`: ``stem``, ``stem_norm``, ``stem_act``, ``stem_pool``,
    then of each unit ``unit1_bits``, ``unit1_conv``, ``unit1_norm``, ``unit1_short``,
    ``unit1_add``, ``unit1_act``, and ``sums``, ``mean``, ``fc``, ``scores``. Binary convolutions in
    front of that of a unit, and in its shortcut, have ``unit1_first_bits`` … and
    ``unit1_short_bits`` …. What follows from the frame is ``unit1_frame``, in front of
    ``unit1_bits``, and where it is apart ``unit1_shifts``, in front of ``unit1_act``.

    Raises
    ------
    LoweringError
        If the model is not on a grid, or if a parameter has a value that no network can have.
    """
    grid = model.grid
    if grid is None:
        raise LoweringError(
            "a residual model can be lowered only if it computes on a fixed-point grid: give its "
            "configuration one, as in model.on_grid(Grid(bits=16, fraction=8)), and train it on"
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is None:
            raise LoweringError(
                f"{name} has no running statistics: make it with track_running_stats=True"
            )
    model.eval()
    x = torch.zeros(1, *frame.shape, dtype=torch.float64).permute(0, 3, 1, 2)
    conv = model.stem.conv
    code, _ = conv.encode()
    weights = to_integers(code).transpose(0, 2, 3, 1)  # (filters, rows, columns, channels)
    folded = model.stem.fold(x, grid)
    nodes: list[Node] = [
        IntegerConv("stem", INPUT, weights, conv.stride, conv.padding),
        _affine("stem_norm", "stem", folded, to_integers(folded.offset), grid),
    ]
    if model.stem_slopes is not None:
        channels = len(weights)
        nodes.append(_two_slope("stem_act", nodes[-1].name, model.stem_slopes, channels, grid))
    if model.config.stem.pooled:
        nodes.append(HalvingMaxPool("stem_pool", nodes[-1].name))
    stream, reach = model.enter(x.permute(0, 2, 3, 1)), grid
    for n, unit in enumerate(model.units, 1):
        assert isinstance(unit, Unit)
        nodes += _unit(f"unit{n}", unit, _Source(nodes[-1].name, stream, reach), grid)
        stream, reach = unit(stream, unit.quantise(), grid), _reach(unit, grid)
    q, o = model.classifier.fold(stream, grid)
    weights = to_integers(q)[:, np.newaxis, np.newaxis, :]
    _, channels, height, width = stream.value.shape
    one = np.ones(channels, np.int64)
    pixels = height * width
    return [
        *nodes,
        GlobalSum("sums", nodes[-1].name),
        Affine("mean", "sums", one, 0 * one, rounding=grid.rounding(mean_shift(pixels))),
        IntegerConv("fc", "mean", weights),
        Affine("scores", "fc", scale=np.ones(len(weights), np.int64), offset=to_integers(o)),
    ]


def _reach(unit: Unit, grid: Grid) -> Grid:
    """Grid of what leaves a unit; hardtanh is a narrower stream, to which values are clipped."""
    return grid.within_one() if unit.slopes is None else grid


def _unit(name: str, unit: Unit, x: _Source, grid: Grid) -> list[Node]:
    """Nodes of a unit that gets ``x``."""
    weights, clipped = unit.quantise(), _reach(unit, grid)
    around = _shortcut(name, unit, x, grid)
    beside = around[-1].name if around else x.name
    offset = unit.offset(unit.shortcut(x.stream, weights, grid))
    nodes: list[Node] = []
    if unit.first is not None:
        nodes += _convolution(f"{name}_first", unit.first, x, None, clipped)
        x = _Source(nodes[-1].name, unit.enter(x.stream, weights, grid), clipped)
    bits: list[Node]
    *bits, convolved, norm = _convolution(name, unit.conv, x, offset, grid)
    stream = _map(x)
    if unit.sign is not None:
        least = _least(unit.conv.conv, x)
        bits = sign_nodes(name, unit.sign, x.name, stream, least, grid)
    add = Add(f"{name}_add", norm.name, beside, clipped.bits)
    nodes += [*bits, convolved, norm, *around, add]
    if isinstance(unit.slopes, DyPReLU):
        height, width = (-(-side // unit.stride) for side in stream.shape[:2])
        total = FeatureMap(height, width, stream.channels + unit.extra, stream.type)
        nodes += slope_nodes(name, unit.slopes, add.name, total, stream.channels, grid)
    elif unit.slopes is not None:
        channels = stream.channels + unit.extra
        nodes.append(_two_slope(f"{name}_act", add.name, unit.slopes, channels, grid))
    return nodes


def _map(x: _Source) -> FeatureMap:
    """Shape and type of a stream."""
    _, channels, height, width = x.stream.value.shape
    return FeatureMap(height, width, channels, Int(x.grid.bits, x.grid.fraction))


def _bits(name: str, conv: BinaryConv2d, x: _Source) -> Threshold:
    """Comparison of a stream with the thresholds of what binarises it."""
    least, type_ = _least(conv, x), x.grid.rounding(0).type
    inverted = np.array(conv.activation_quantiser.levels().of(len(least)).inverted)
    return Threshold(
        name,
        x.name,
        thresholds=np.clip(np.array(least, np.object_), type_.low, type_.high + 1).astype(np.int64),
        inverted=inverted if inverted.any() else None,
    )


def _least(conv: BinaryConv2d, x: _Source) -> list[int]:
    """Least value of each channel that makes a bit 1, or 0 where the comparison is inverted."""
    value, bias = x.stream
    channels, unit = value.shape[1], 1 << x.grid.fraction
    levels = conv.activation_quantiser.levels().of(channels)
    biases = [0.0] * channels if bias is None else bias.tolist()
    exact = [
        (threshold - Fraction(bias)) * unit
        for threshold, bias in zip(levels.thresholds, biases, strict=True)
    ]
    # For integers, x ≤ t is the opposite of x ≥ floor(t) + 1.
    return [
        math.floor(t) + 1 if inverted else math.ceil(t)
        for t, inverted in zip(exact, levels.inverted, strict=True)
    ]


def _convolution(
    name: str, normed: NormedBinaryConv, x: _Source, offset: Tensor | None, grid: Grid
) -> list[Node]:
    """What binarises ``x`` and convolves it, and the affine map behind it."""
    conv, (value, bias) = normed.conv, x.stream
    folded = normed.fold(value, bias, offset, grid)
    code, _, _ = conv.weight_quantiser.split(conv.weight.flatten(1))
    bits = (code > 0).numpy().reshape(conv.weight.shape).transpose(0, 2, 3, 1)
    borders = find_borders(
        (value.shape[2], value.shape[3]),
        (bits.shape[1], bits.shape[2]),
        stride=conv.stride,
        padding=conv.padding,
    )
    scale = to_integers(folded.scale)
    taps, ones = borders.count(bits)
    if conv.weight_quantiser.unipolar:
        gate, corrections = Gate.AND, -scale * ones
    else:
        gate = Gate.XNOR
        signs = 2 * ones - taps[:, np.newaxis]
        corrections = scale * (2 * (bits.sum(axis=(1, 2, 3)) - bits[0].size) - signs)
    popcount_scale = None
    if folded.popcount_scale is not None and bool(folded.popcount_scale.any()):
        popcount_scale = 2 * to_integers(folded.popcount_scale)
        corrections = corrections - popcount_scale // 2 * taps[:, np.newaxis]
    # (filters, height, width), of the whole map
    constant = to_integers(folded.offset) + corrections[borders.classes].transpose(2, 0, 1)
    node = BinaryConv(
        f"{name}_conv",
        f"{name}_bits",
        bits,
        gate,
        popcount_scale is not None,
        conv.stride,
        conv.padding,
    )
    doubled = Folded(2 * folded.scale, folded.popcount_scale, folded.offset, folded.shift)
    return [
        _bits(f"{name}_bits", conv, x),
        node,
        _affine(f"{name}_norm", node.name, doubled, constant, grid, popcount_scale),
    ]


def _shortcut(name: str, unit: Unit, x: _Source, grid: Grid) -> list[Node]:
    """Nodes of a shortcut; none where it is the stream itself."""
    if unit.projection is not None:
        return _convolution(f"{name}_short", unit.projection, x, None, grid)
    source = x.name
    nodes: list[Node] = []

    def add(node: Node) -> str:
        nodes.append(node)
        return node.name

    if unit.stride > 1:
        averages = unit.kind is not Shortcut.PAD
        kind, part = (AveragePool, "pool") if averages else (Subsample, "sub")
        source = add(kind(f"{name}_{part}", source, unit.stride))
    if unit.pointwise is not None:
        pooled = unit.pool(x.stream.value, grid)
        code, _ = unit.pointwise.weight_quantiser.encode(unit.pointwise.weight)
        folded = unit.pointwise.fold(pooled, x.stream.bias, grid)
        weights = to_integers(code)[:, np.newaxis, np.newaxis, :]
        source = add(IntegerConv(f"{name}_point", source, weights))
        add(_affine(f"{name}_norm", source, folded, to_integers(folded.offset), grid))
    elif unit.extra and unit.kind is Shortcut.REPEAT:
        add(Concat(f"{name}_join", source, source))
    elif unit.extra:
        before = unit.extra // 2
        add(PadChannels(f"{name}_pad", source, before, unit.extra - before))
    if nodes:
        nodes[-1] = replace(nodes[-1], name=f"{name}_short")
    return nodes


def _affine(
    name: str,
    source: str,
    folded: Folded,
    offset: NDArray[np.int64],
    grid: Grid,
    popcount_scale: NDArray[np.int64] | None = None,
) -> Affine:
    """Affine with ``offset`` (filters, height, width), whose equal columns become one class."""
    filters, height, width = offset.shape
    pixels = np.arange(height * width).reshape(height, width)
    classes, offsets = merge_classes(pixels, offset.reshape(filters, -1).T)
    several = len(offsets) > 1
    return Affine(
        name,
        source,
        scale=to_integers(folded.scale),
        offset=offsets if several else offsets[0],
        popcount_scale=popcount_scale,
        classes=classes if several else None,
        rounding=grid.rounding(folded.shift),
    )


def _two_slope(name: str, source: str, slopes: Slopes, channels: int, grid: Grid) -> TwoSlope:
    positive, negative = (to_integers(per_channel(codes, channels)) for codes in slopes.codes(grid))
    return TwoSlope(name, source, positive, negative, grid.rounding(grid.slope_fraction))
