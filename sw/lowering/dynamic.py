"""Lowering of what follows from the frame: thresholds, shifts, and where they come from.

What computes them comes before everything else that reads the same stream. So hardware can keep the
stream back for all of it, in a single buffer.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xnorflow.ir import (
    Affine,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    GlobalSum,
    Int,
    IntegerConv,
    Node,
    Rounding,
    TwoSlope,
)
from xnorflow.sw.exact import to_integers
from xnorflow.sw.nn.dynamic import DyPReLU, DySign, FrameMean, HyperFunction, shift_rounding
from xnorflow.sw.nn.grid import Grid, mean_shift
from xnorflow.sw.nn.optional import per_channel


__all__ = ["MOST", "hyper_nodes", "mean_nodes", "sign_nodes", "slope_nodes"]

MOST = 1 << 30
"""A static threshold that no sum of a stream's value and a hyper function's output can reach."""


def sign_nodes(
    name: str,
    sign: DySign | FrameMean,
    source: str,
    x: FeatureMap,
    least: list[int],
    grid: Grid,
) -> list[Node]:
    """Nodes of what binarises the stream ``x`` of a unit ``name``: up to ``…_bits``.

    Parameters ``…_frame`` come first: thresholds, ``least`` (channels,) among them, then shifts.
    """
    frame, bits = f"{name}_frame", f"{name}_bits"
    if isinstance(sign, FrameMean):
        nodes = mean_nodes(frame, source, x, grid)
        return [*nodes, DynamicThreshold(bits, source, frame, scale=x.size)]
    extra = sign.hyper.excite.out_features - x.channels
    static = np.array([max(-MOST, min(value, MOST)) for value in least] + [0] * extra, np.int64)
    nodes = hyper_nodes(frame, sign.hyper, source, x, static, grid)
    return [*nodes, DynamicThreshold(bits, source, frame)]


def slope_nodes(
    name: str, slopes: DyPReLU, source: str, x: FeatureMap, first: int, grid: Grid
) -> list[Node]:
    """Nodes of the slopes of a unit ``name`` behind its sum ``x``: up to ``…_act``.

    Their shifts are the parameters ``…_frame`` from the ``first`` on, or their own ``…_shifts``.
    """
    nodes: list[Node] = []
    parameters = f"{name}_frame"
    if slopes.hyper is not None:
        parameters, first = f"{name}_shifts", 0
        static = np.zeros(2 * x.channels, np.int64)
        nodes = hyper_nodes(parameters, slopes.hyper, source, x, static, grid)
    positive, negative = (
        to_integers(per_channel(codes, x.channels)) for codes in slopes.codes(grid)
    )
    rounding = grid.rounding(grid.slope_fraction)
    return [
        *nodes,
        DynamicTwoSlope(f"{name}_act", source, parameters, positive, negative, rounding, first),
    ]


def hyper_nodes(
    name: str,
    hyper: HyperFunction,
    source: str,
    x: FeatureMap,
    static: NDArray[np.int64],
    grid: Grid,
    bias: Tensor | None = None,
) -> list[Node]:
    """Nodes of a hyper function of the stream ``x + bias``; the last one has the ``name``.

    To its outputs, ``static`` (outputs,) is added, in units of the stream's last bit.
    """
    shift = mean_shift(x.height * x.width)
    codes = hyper.integers(grid, x.height * x.width, bias)
    squeeze, offset, excite = (to_integers(values) for values in codes)
    means, units, outputs = (np.ones(n, np.int64) for n in (x.channels, *excite.shape[::-1]))
    return [
        GlobalSum(f"{name}_sums", source),
        Affine(f"{name}_means", f"{name}_sums", means, 0 * means, rounding=grid.rounding(shift)),
        IntegerConv(f"{name}_squeeze", f"{name}_means", squeeze[:, np.newaxis, np.newaxis]),
        Affine(
            f"{name}_hidden",
            f"{name}_squeeze",
            units,
            offset,
            rounding=grid.rounding(hyper.fraction),
        ),
        TwoSlope(f"{name}_relu", f"{name}_hidden", units, 0 * units, grid.rounding(0)),
        IntegerConv(f"{name}_excite", f"{name}_relu", excite[:, np.newaxis, np.newaxis]),
        Affine(
            name,
            f"{name}_excite",
            outputs,
            static << hyper.fraction,
            rounding=shift_rounding(grid, hyper.fraction),
        ),
    ]


def mean_nodes(name: str, source: str, x: FeatureMap, grid: Grid) -> list[Node]:
    """Nodes that sum all values of a frame of the stream ``x`` up; the last one has the ``name``.

    The mean is that divided by the number of values, with which values are multiplied instead.
    """
    ones = np.ones((1, 1, 1, x.channels), np.int64)
    sums = GlobalSum(f"{name}_sums", source)
    total = IntegerConv(f"{name}_total", sums.name, ones)
    type_ = total.infer(sums.infer(x)).type
    assert isinstance(type_, Int)
    one = np.ones(1, np.int64)
    # It says where the binary point is.
    rounding = Rounding(0, type_.bits, grid.fraction)
    return [sums, total, Affine(name, total.name, one, 0 * one, rounding=rounding)]
