"""A fixed-point grid for a floating-point model, from the values that images give."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from xnorflow.errors import DataError
from xnorflow.ir import FeatureMap
from xnorflow.sw.batches import EVALUATION_BATCH
from xnorflow.sw.data import values_of
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.nn.dynamic import FrameMean
from xnorflow.sw.nn.frame import DySign
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.grid_layers import GridHyper


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
        for value in _stream(wide, values_of(batch)):
            low, high = min(low, float(value.min())), max(high, float(value.max()))
    unit = 2.0**grid.fraction
    largest = max(round(-low * unit) - 1, round(high * unit))
    bits = max(2, 1 + largest.bit_length())
    return replace(grid, bits=bits if bits < _WIDEST else _WIDEST + 1)


def _stream(model: fx.GraphModule, x: Tensor) -> list[Tensor]:
    """Values of the residual stream of a prepared model, wherever it is rounded."""
    observer = _Observer(model)
    observer.run(x)
    return observer.values


class _Observer(fx.Interpreter):
    """Executes a prepared model, and notes the values of its stream."""

    def __init__(self, model: fx.GraphModule) -> None:
        super().__init__(model)
        self.values: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        """Result of a node."""
        result = super().run_node(n)
        layer = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        passing = n.op in ("placeholder", "get_attr", "output")
        passing = passing or isinstance(layer, DySign | FrameMean | GridHyper)
        if isinstance(result, Tensor) and result.dim() == 4 and not passing:
            self.values.append(result)
        return result
