"""A fixed-point grid for a floating-point model, from the values that images give."""

from dataclasses import replace

import torch
from torch import Tensor

from xnorflow.errors import DataError
from xnorflow.sw.batches import EVALUATION_BATCH
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.residual import Residual


__all__ = ["CALIBRATED_ON", "calibrate"]

CALIBRATED_ON = 1000
"""Training images that a grid is chosen by, unless something else is said."""

_STREAM = "norm", "act", "pool", "short", "add"
"""What the steps on the stream are called, behind the unit's name."""


@torch.no_grad()
def calibrate(model: Residual, images: Tensor, grid: Grid | None = None) -> Grid:
    """``grid`` with the fewest bits in which no value of the residual stream is clipped.

    Parameters
    ----------
    model : Residual
        It is evaluated in floating point, whether it is on a grid or not.
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
    real = model.on_grid(None).eval()
    low = high = 0.0
    for batch in images.split(EVALUATION_BATCH):
        for name, value in real.trace(batch).items():
            if name.endswith(_STREAM):
                low, high = min(low, float(value.min())), max(high, float(value.max()))
    unit = 2.0**grid.fraction
    # A value that is rounded up must still fit.
    largest = max(int(-low * unit + 0.5) - 1, int(high * unit + 0.5))
    return replace(grid, bits=max(2, 1 + largest.bit_length()))
