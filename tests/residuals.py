"""Residual models with random parameters, in floating point and on a grid."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from xnorflow.ir import FeatureMap, Network, Provenance, UInt
from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.lower import lower
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid


__all__ = ["PIXELS", "ResidualCase", "residual_case", "thin"]

PIXELS = IntegerPixels((0.5, 0.4, 0.45), (0.25, 0.2, 0.3), bits=5)


@dataclass(frozen=True, eq=False)
class ResidualCase:
    """A model, in evaluation mode and floating point, and the grid that it is meant for."""

    spec: ModelSpec
    grid: Grid
    plain: nn.Module

    @property
    def frame(self) -> FeatureMap:
        channels, height, width = self.spec.task.shape
        return FeatureMap(height, width, channels, UInt(8))

    @property
    def model(self) -> nn.Module:
        """The model on its grid."""
        return prepare(self.plain, self.grid, self.frame)

    @property
    def checkpoint(self) -> Checkpoint:
        """The model in floating point as a checkpoint has it."""
        labels = tuple(map(str, range(self.spec.task.classes)))
        return Checkpoint(self.plain, self.frame, labels, Provenance(), spec=self.spec)

    def images(self, count: int, seed: int = 0) -> torch.Tensor:
        """Random images, (count, height, width, channels)."""
        generator = torch.Generator().manual_seed(seed)
        shape = (count, *self.frame.shape)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def residual_case(
    seed: int, *, shape: tuple[int, int, int], grid: Grid, classes: int = 3, **options: Any
) -> ResidualCase:
    """Case whose parameters are far from their first values.

    The ``shape`` is (height, width, channels); ``options`` are those of the model called residual.
    """
    height, width, channels = shape
    pixels = replace(PIXELS, mean=PIXELS.mean[:channels], deviation=PIXELS.deviation[:channels])
    spec = ModelSpec("residual", Task((channels, height, width), classes, pixels), options)
    return ResidualCase(spec, grid, scrambled(spec, seed))


def thin(name: str, factor: int, side: int, **options: Any) -> Network:
    """Network of a model that has a name, with ``factor`` times fewer channels and few pixels."""
    spec = ModelSpec(name, Task((3, side, side), 10, PIXELS), {"width": 1 / factor, **options})
    return lower(prepare(scrambled(spec, 2), Grid(15), FeatureMap(side, side, 3, UInt(8))))


_LEARNED = "norm.weight", "act.weight", "positive", "negative", "before", "after", "bias"


def scrambled(spec: ModelSpec, seed: int) -> nn.Module:
    """Model with random parameters and statistics, in evaluation mode."""
    torch.manual_seed(seed)
    model = spec.build().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(_LEARNED):
                parameter.normal_()
                # Batch norms that ignore what comes in, too.
                parameter[torch.rand(parameter.shape) < 0.1] = 0.0
            if name.endswith(("alpha", "beta", "excite.weight")):
                parameter.normal_()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.3, 3)
    return model
