"""Nodes by their definitions, one value at a time."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    Gate,
    GlobalSum,
    IntegerConv,
    MaxPool,
    MultiThreshold,
    PadChannels,
    Rounding,
    Subsample,
    SumPool,
    Threshold,
    TwoSlope,
    Upsample,
)
from xnorflow.ir.windows import four, pair


__all__ = ["reference"]


def rounded(value, rounding):
    """Nearest value of the coarser grid, ties going up, within the range."""
    nearest = math.floor(Fraction(value) / (1 << rounding.shift) + Fraction(1, 2))
    least = rounding.type.low + (1 if rounding.narrow else 0)
    return min(max(nearest, least), rounding.type.high)


def reference(network, frame):
    """Maps and popcounts of one frame by their definitions, one value at a time."""
    maps = {INPUT: frame.astype(object)}
    popcounts = {}
    for node in network.nodes:
        x, popcount = maps[node.source], popcounts.get(node.source)
        y = np.zeros(network.maps[node.name].shape, object)
        match node:
            case BinaryConv() | IntegerConv():
                popcounts[node.name] = np.zeros((*y.shape[:2], 1), object)
                for r, c, f in np.ndindex(y.shape):
                    window = window_of(node, x, r, c, f)
                    popcounts[node.name][r, c] = int(np.sum(window))
                    match node:
                        case IntegerConv():
                            y[r, c, f] = int(np.sum(window * node.weights[f].astype(object)))
                        case BinaryConv(gate=Gate.XNOR):
                            other = 2**node.bits - 1 - window
                            taps = np.where(node.weights[f], window, other)
                            counted = ... if node.mask is None else node.mask[f]
                            y[r, c, f] = int(np.sum(taps[counted]))
                        case BinaryConv(gate=Gate.AND):
                            y[r, c, f] = int(np.sum(window[node.weights[f]]))
            case MaxPool() | SumPool():
                for r, c, k in np.ndindex(y.shape):
                    window = pool_window(node, x, r, c, k)
                    smallest = isinstance(node, MaxPool) and node.inverted is not None
                    join = min if smallest and node.inverted[k] else max
                    y[r, c, k] = sum(window) if isinstance(node, SumPool) else join(window)
            case Threshold():
                for r, c, k in np.ndindex(y.shape):
                    left = 2**node.fraction * x[r, c, k]
                    if node.popcount_weights is not None:
                        left += int(node.popcount_weights[k]) * popcount[r, c, 0]
                    border = () if node.classes is None else (node.classes[r, c],)
                    bit = left >= int(node.thresholds[*border, k])
                    if node.inverted is not None and node.inverted[k]:
                        bit = not bit
                    y[r, c, k] = int(bit)
            case MultiThreshold():
                for r, c, k in np.ndindex(y.shape):
                    border = () if node.classes is None else (node.classes[r, c],)
                    reached = sum(x[r, c, k] >= int(row[*border, k]) for row in node.thresholds)
                    falling = node.inverted is not None and node.inverted[k]
                    count = node.steps - reached if falling else reached
                    y[r, c, k] = count if node.levels is None else node.levels[count]
            case Affine():
                for r, c, k in np.ndindex(y.shape):
                    border = () if node.classes is None else (node.classes[r, c],)
                    y[r, c, k] = int(node.scale[k]) * x[r, c, k] + int(node.offset[*border, k])
                    if node.popcount_scale is not None:
                        y[r, c, k] += int(node.popcount_scale[k]) * popcount[r, c, 0]
                    if node.rounding is not None:
                        y[r, c, k] = rounded(y[r, c, k], node.rounding)
            case TwoSlope():
                for r, c, k in np.ndindex(y.shape):
                    slope = node.positive[k] if x[r, c, k] >= 0 else node.negative[k]
                    y[r, c, k] = rounded(int(slope) * x[r, c, k], node.rounding)
            case DynamicThreshold():
                for r, c, k in np.ndindex(y.shape):
                    thresholds = maps[node.parameters][0, 0]
                    threshold = thresholds[0 if len(thresholds) == 1 else node.first + k]
                    y[r, c, k] = int(node.scale * x[r, c, k] >= threshold)
            case DynamicTwoSlope():
                shifts = maps[node.parameters][0, 0, node.first :]
                for r, c, k in np.ndindex(y.shape):
                    before, after = shifts[k], shifts[y.shape[2] + k]
                    z = x[r, c, k] + before
                    slope = int(node.positive[k] if z >= 0 else node.negative[k])
                    exact = Fraction(slope * z, 1 << node.rounding.shift) + after
                    y[r, c, k] = rounded(exact, replace(node.rounding, shift=0))
            case Add():
                for place in np.ndindex(y.shape):
                    total = x[place] + maps[node.other][place]
                    y[place] = rounded(total, Rounding(0, node.bits, narrow=node.narrow))
            case Concat():
                for r, c in np.ndindex(y.shape[:2]):
                    y[r, c] = [value for name in node.sources for value in maps[name][r, c]]
            case Subsample():
                for r, c in np.ndindex(y.shape[:2]):
                    y[r, c] = x[r * node.stride, c * node.stride]
            case Upsample():
                rows, columns = pair(node.factor)
                for r, c in np.ndindex(y.shape[:2]):
                    y[r, c] = x[r // rows, c // columns]
            case PadChannels():
                for r, c in np.ndindex(y.shape[:2]):
                    y[r, c] = [*[0] * node.before, *x[r, c], *[0] * node.after]
            case AveragePool():
                for r, c, k in np.ndindex(y.shape):
                    rows, columns = (slice(i * node.size, (i + 1) * node.size) for i in (r, c))
                    mean = Fraction(int(x[rows, columns, k].sum()), node.size**2)
                    y[r, c, k] = math.floor(mean + Fraction(1, 2))
            case GlobalSum():
                for k in range(y.shape[2]):
                    y[0, 0, k] = sum(x[r, c, k] for r, c in np.ndindex(x.shape[:2]))
            case ArgMax():
                scores = x[0, 0].tolist()
                y[0, 0, 0] = scores.index(max(scores)) if len(scores) > 1 else int(scores[0] >= 0)
        maps[node.name] = y
    return maps, popcounts


def pool_window(node, x, r, c, k):
    """Pixels of a pool's window that are in the frame, of a channel."""
    size = pair(node.size)
    stride = size if node.stride is None else pair(node.stride)
    top, _, left, _ = four(node.padding)
    places = [
        [place for place in range(n * step - before, n * step - before + taps) if 0 <= place < side]
        for n, step, before, taps, side in zip(
            (r, c), stride, (top, left), size, x.shape[:2], strict=True
        )
    ]
    return [int(x[i, j, k]) for i in places[0] for j in places[1]]


def window_of(node, x, r, c, f):
    """Taps of a window for a filter, zeros outside the frame: (rows, columns, channels)."""
    filters, rows, columns, channels = node.weights.shape
    first = f // (filters // node.groups) * channels
    (stride_r, stride_c), (dilation_r, dilation_c) = pair(node.stride), pair(node.dilation)
    top, _, left, _ = four(node.padding)
    window = np.zeros((rows, columns, channels), object)
    for i, j in np.ndindex(rows, columns):
        y, z = r * stride_r + i * dilation_r - top, c * stride_c + j * dilation_c - left
        if 0 <= y < x.shape[0] and 0 <= z < x.shape[1]:
            window[i, j] = x[y, z, first : first + channels]
    return window
