"""Lowering of what follows from the frame: thresholds, shifts, and where they come from.

What computes them comes before everything else that reads the same stream. So hardware can keep the
stream back for all of it, in a single buffer.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xnorflow.ir import (
    Affine,
    FeatureMap,
    GlobalSum,
    Int,
    IntegerConv,
    Node,
    Rounding,
    TwoSlope,
)
from xnorflow.sw.lowering.integers import to_integers
from xnorflow.sw.nn.dynamic import HyperFunction, shift_rounding
from xnorflow.sw.nn.grid import Grid, mean_shift


__all__ = ["MOST", "hyper_nodes", "mean_nodes"]

MOST = 1 << 30
"""A static threshold that no sum of a stream's value and a hyper function's output can reach."""


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
