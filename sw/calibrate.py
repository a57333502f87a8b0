"""A fixed-point grid for a floating-point model, from the values that images give."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from xnorflow.errors import DataError
from xnorflow.ir import FeatureMap
from xnorflow.sw.batches import EVALUATION_BATCH
from xnorflow.sw.data import values_of
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.lowering.grid_values import observe_grid
from xnorflow.sw.nn.grid import Grid


__all__ = ["CALIBRATED_ON", "calibrate"]

CALIBRATED_ON = 1000
"""Training images that a grid is chosen by, unless something else is said."""

_WIDEST = 24


@torch.no_grad()
def calibrate(
    model: nn.Module, frame: FeatureMap, images: Tensor, grid: Grid | None = None
) -> Grid:
    """``grid`` with the fewest bits in which no value of the residual stream is clipped.

    Parameters
    ----------
    model : Module
        Not prepared for a grid.
    frame : FeatureMap
        What an image is like.
    images : uint8 tensor, (N, height, width, channels)
        Training images.
    grid : Grid, optional
        What else the grid is like; its fractional bits set the resolution.

    Raises
    ------
    DataError
        If there are no images.
    NetworkError
        If the stream would be wider than a grid can be.
    """
    if not len(images):
        raise DataError("a grid cannot be chosen by no images")
    grid = grid or Grid()
    wide = prepare(model, replace(grid, bits=_WIDEST), frame).eval()
    low = high = 0.0
    for batch in images.split(EVALUATION_BATCH):
        found, _ = observe_grid(wide, values_of(batch))
        for name, value in found.items():
            if not name.endswith("_bits"):
                low, high = min(low, float(value.min())), max(high, float(value.max()))
    unit = 2.0**grid.fraction
    largest = max(round(-low * unit) - 1, round(high * unit))
    bits = max(2, 1 + largest.bit_length())
    return replace(grid, bits=bits if bits < _WIDEST else _WIDEST + 1)
