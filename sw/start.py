"""Where a training starts: from the name of a model, or from a trained one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from xnorflow.errors import DataError
from xnorflow.ir import Network
from xnorflow.sw.calibrate import CALIBRATED_ON, calibrate
from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.data import Dataset, ImageData
from xnorflow.sw.from_network import model_of
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import NAMED, Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.own_model import load_module
from xnorflow.sw.recipes import (
    OWN,
    Recipe,
    fine_tune,
    longer,
    recipe_for,
    recipe_for_residual,
    warm_start,
)


__all__ = ["Start", "from_checkpoint", "from_module", "from_name", "from_network", "task_of"]

_LEAST_IMAGENET_SIDE = 64
"""Below, the last maps of a model for ImageNet would be single pixels."""

_LEAST_DEVIATION = 1 / 64


@dataclass(frozen=True)
class Start:
    """Model, grid and recipe of a training.

    Attributes
    ----------
    model : ModelSpec, or callable
        As `xnorflow.sw.train.train` takes it.
    grid : Grid or None
    recipe : Recipe
    """

    model: ModelSpec | Callable[[], nn.Module]
    grid: Grid | None
    recipe: Recipe


def task_of(data: ImageData) -> Task:
    """`Task` of a model that has a name.

    Pixels have the statistics that papers give, or for data of one's own those of the training
    images.

    Raises
    ------
    DataError
        If the data are no images of 8 bits.
    """
    height, width, channels = data.train_images.shape[1:]
    dataset = _published(data)
    if dataset is not None:
        pixels = IntegerPixels(*dataset.normalisation)
    elif data.train_images.dtype == torch.uint8:
        values = data.train_images.flatten(0, 2).double() / 255
        deviation = values.std(dim=0).clamp_min(_LEAST_DEVIATION)
        pixels = IntegerPixels(tuple(values.mean(dim=0).tolist()), tuple(deviation.tolist()))
    else:
        raise DataError(f"models that have a name take images of 8 bits, and {data.name} has none")
    return Task((channels, height, width), len(data.classes), pixels)


def from_name(
    name: str, method: str | None, data: ImageData, hidden: tuple[int, ...] | None = None
) -> Start:
    """Model and recipe of a training by the name of the model.

    Parameters
    ----------
    name : str
        In `NAMED`.
    method : str, optional
        A `Method` or a `ResidualMethod`; otherwise plain signs, or that of the model's authors.
    data : ImageData
        What it is for.
    hidden : tuple of int, optional
        Hidden layers of a perceptron, in place of those of the named one.

    Raises
    ------
    DataError
        If there is no such model or method, if the model has no hidden layers to replace, or if
        it is made for larger images.
    """
    if name not in NAMED:
        raise DataError(f"{name!r} is not a model: choose from {', '.join(NAMED)}")
    task, dataset = task_of(data), _published(data)
    options: dict[str, object] = {} if method is None else {"method": method}
    if hidden is not None:
        if name not in ("tfc", "sfc", "lfc", "mlp"):
            raise DataError(f"{name} has no hidden layers of its own")
        name, options = "mlp", options | {"hidden": hidden}
    _, height, width = task.shape
    if name.endswith("-imagenet") and min(height, width) < _LEAST_IMAGENET_SIDE:
        small = name.removesuffix("-imagenet")
        raise DataError(f"{name} is made for larger images than {height}×{width}: choose {small}")
    spec = ModelSpec(name, task, options)
    if spec.methods is Method:
        return Start(spec, None, recipe_for(name, Method(spec.method), dataset))
    # Scores must not need more than 32 bits: ReActNet-A has twice as many channels as others.
    grid = Grid(bits=15 if name.startswith("reactnet") else 16)
    return Start(spec, grid, recipe_for_residual(name, dataset))


def from_module(name: str, grid: tuple[int, ...] | None) -> Start:
    """Recipe of a training of a module of one's own, ``my_model.py:MyNet``.

    Parameters
    ----------
    name : str
        As `load_module` takes it.
    grid : tuple of int, optional
        Bits and fractional bits of the fixed-point grid, which residual connections need.

    Raises
    ------
    DataError
        If the grid is none; as `load_module` does, when it is built.
    """
    if grid is not None and len(grid) != 2:
        numbers = ",".join(map(str, grid))
        raise DataError(f"a grid must be bits and fractional bits such as 16,8, not {numbers!r}")
    return Start(lambda: load_module(name), None if grid is None else Grid(*grid), OWN)


def from_checkpoint(start: Checkpoint, method: str | None, data: ImageData) -> Start:
    """Model and recipe of a training that starts with another model's parameters.

    It is the same, on a fixed-point grid if it is residual: the first training images choose one if
    it has none. Or it has another ``method``, and then it takes longer to train. Only residual
    models are multiplied in bfloat16, where AdaBin's levels in others would be rounded.

    Raises
    ------
    DataError
        If it is a module of the user's own.
    NetworkError
        If there is no such method.
    """
    if start.spec is None:
        raise DataError("only models that have a name can be trained on")
    spec, dataset, grid = start.spec, _published(data), start.grid
    residual = spec.methods is ResidualMethod
    if residual and grid is None:
        grid = calibrate(start.model, start.frame, data.train_images[:CALIBRATED_ON])
    if method is None or method == spec.method:
        return Start(spec, grid, fine_tune(dataset, mixed=residual))
    half = residual and method == ResidualMethod.SIMAN.value
    return Start(spec.with_method(method), grid, warm_start(dataset, mixed=residual, half=half))


def from_network(
    network: Network, name: str, data: ImageData, hidden: tuple[int, ...] | None = None
) -> tuple[Start, Checkpoint]:
    """Model and recipe of a training that starts with the bits of a ``network``, and that start.

    ``name`` and ``hidden`` are those of its model, as `from_name` takes them.

    Raises
    ------
    DataError
        As `from_name` and `xnorflow.sw.from_network.model_of` do.
    """
    start = from_name(name, None, data, hidden)
    assert isinstance(start.model, ModelSpec)
    model = model_of(network, start.model, data)
    return replace(start, recipe=longer(start.recipe)), model


def _published(data: ImageData) -> Dataset | None:
    """The published data set of that name."""
    return next((dataset for dataset in Dataset if dataset.value == data.name), None)
