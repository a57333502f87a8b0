"""Lowering of sums and of what makes bits, on a grid.

With u and v the bits of activation and weight over the N taps of a window, V = Σv, and Nc, Vc and
Wc = 2Vc − Nc over the taps inside the frame, what a model on its grid sums up is

- ``s = 2M + 2V − 2N − Wc`` and ``p = 2P − Nc`` for weights ±1, the xnor gate;
- ``s = 2A − Vc`` for weights 0 and 1, the and gate.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xnorflow.ir import Affine, FeatureMap, Gate, Int, MaxPool, Node, Rounding, Threshold
from xnorflow.sw.frontend import graph
from xnorflow.sw.lowering.borders import Borders, find_borders, merge_classes
from xnorflow.sw.lowering.integers import to_integers
from xnorflow.sw.nn.conv import BinaryConv2d, Border
from xnorflow.sw.nn.sums import Folded


__all__ = ["BinaryTerms", "affine", "bit_nodes", "least_of", "read_binary"]


@dataclass(frozen=True, eq=False)
class BinaryTerms:
    """Terms of a binary convolution beside the counts of its node.

    Attributes
    ----------
    gate : Gate
    taps, ones : int array, (border classes,) and (border classes, filters)
        Taps inside the frame, and ones of the weights there.
    excess : int array, (filters,)
        2V − 2N.
    classes : int array, (height, width)
        Border class of each window.
    """

    gate: Gate
    taps: NDArray[np.int64]
    ones: NDArray[np.int64]
    excess: NDArray[np.int64]
    classes: NDArray[np.int64]


def read_binary(conv: BinaryConv2d, x: FeatureMap) -> tuple[NDArray[np.bool_], BinaryTerms]:
    """Bits of weights (filters, rows, columns, channels), and terms of a layer that gets ``x``."""
    quantiser = conv.weight_quantiser
    code, _, _ = quantiser.split(conv.weight.flatten(1))
    bits = (code > 0).numpy().reshape(conv.weight.shape).transpose(0, 2, 3, 1)
    kernel = bits.shape[1], bits.shape[2]
    borders = find_borders(
        (x.height, x.width),
        kernel,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
    )
    if conv.border is Border.LOWER:
        # Taps outside the frame stand for bits too.
        inside = np.ones((1, *kernel), np.bool_)
        borders = Borders(np.zeros_like(borders.classes), inside)
    taps, ones = borders.count(bits)
    excess = 2 * (bits.sum(axis=(1, 2, 3)) - bits[0].size)
    gate = Gate.AND if quantiser.unipolar else Gate.XNOR
    return bits, BinaryTerms(gate, taps, ones, excess, borders.classes)


def affine(
    name: str,
    source: str,
    folded: Folded,
    binary: BinaryTerms | None,
    rounding: Rounding,
    *,
    popcount: bool,
) -> Affine:
    """Affine whose offsets (filters, height, width) become one class for all equal columns."""
    scale, offset = to_integers(folded.scale, name), to_integers(folded.offset, name)
    popcount_scale = None
    if binary is not None:
        if binary.gate is Gate.AND:
            corrections = -scale * binary.ones
        else:
            signs = 2 * binary.ones - binary.taps[:, np.newaxis]
            corrections = scale * (binary.excess - signs)
        if popcount and folded.popcount_scale is not None:
            popcount_scale = 2 * to_integers(folded.popcount_scale)
            corrections = corrections - popcount_scale // 2 * binary.taps[:, np.newaxis]
        scale = 2 * scale
        # (filters, height, width), of the whole map
        offset = offset + corrections[binary.classes].transpose(2, 0, 1)
    filters, height, width = offset.shape
    pixels = np.arange(height * width).reshape(height, width)
    classes, offsets = merge_classes(pixels, offset.reshape(filters, -1).T)
    several = len(offsets) > 1
    return Affine(
        name,
        source,
        scale,
        offsets if several else offsets[0],
        popcount_scale,
        classes if several else None,
        rounding,
    )


def least_of(conv: BinaryConv2d, x: FeatureMap, bias: Tensor | None) -> list[int]:
    """Least value of each channel that makes a bit 1, or 0 where the comparison is inverted."""
    fraction = x.type.fraction if isinstance(x.type, Int) else 0
    levels = conv.activation_quantiser.levels().of(x.channels)
    biases = [0.0] * x.channels if bias is None else bias.tolist()
    exact = [
        (threshold - Fraction(each)) * (1 << fraction)
        for threshold, each in zip(levels.thresholds, biases, strict=True)
    ]
    # For integers, x ≤ t is the opposite of x ≥ floor(t) + 1.
    return [
        math.floor(t) + 1 if inverted else math.ceil(t)
        for t, inverted in zip(exact, levels.inverted, strict=True)
    ]


def bit_nodes(
    name: str,
    source: str,
    conv: BinaryConv2d,
    x: FeatureMap,
    bias: Tensor | None,
    pool: graph.MaxPool | None,
) -> list[Node]:
    """Comparison of ``x + bias``, and the pool of its bits; the last node has the ``name``."""
    least = least_of(conv, x, bias)
    levels = conv.activation_quantiser.levels().of(len(least))
    inverted = np.array(levels.inverted) if any(levels.inverted) else None
    ends = x.type.low, x.type.high + 1
    thresholds = np.clip(np.array(least, np.object_), *ends).astype(np.int64)
    if pool is None:
        return [Threshold(name, source, thresholds, inverted=inverted)]
    every = Threshold(f"{name}_all", source, thresholds, inverted=inverted)
    size, stride, padding = pool.size, pool.stride, pool.padding
    return [every, MaxPool(name, every.name, size, inverted, stride=stride, padding=padding)]
