"""Training: a model, a recipe and a data set → a checkpoint."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from xnorflow.errors import DataError
from xnorflow.ir import Provenance, Quantisation
from xnorflow.sw.batches import accuracy
from xnorflow.sw.checkpoint import Checkpoint, save_checkpoint
from xnorflow.sw.data import ImageData
from xnorflow.sw.distillation import soft_labels
from xnorflow.sw.fit import device_of, fit
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.progress import counting
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.statistics import measure_statistics
from xnorflow.sw.weight_transfer import transfer


__all__ = ["MODEL_FILE", "train"]

MODEL_FILE = "model.safetensors"
"""Name of the trained model in its folder."""

_LOOKED_AT = 100
"""Training images that a transfer of weights looks at."""


def train(
    model: ModelSpec | Callable[[], nn.Module],
    recipe: Recipe,
    data: ImageData,
    folder: Path | str,
    *,
    grid: Grid | None = None,
    start: Checkpoint | None = None,
    teacher: nn.Module | None = None,
    resume: bool = True,
    held_out: int = 0,
    compiled: bool = False,
    progress: bool = False,
    deadline: float | None = None,
    **trainer_options: Any,
) -> Checkpoint:
    """Train a model, and write it to ``folder``.

    The folder gets `MODEL_FILE` at the end, ``logs`` (CSV and TensorBoard), and after each epoch
    and every few minutes ``training.ckpt``, from which an interrupted training goes on with the
    same result.

    Parameters
    ----------
    model : ModelSpec, or callable
        What is built and trained: a model that has a name, or what makes a module of one's own. It
        takes batches (N, channels, height, width) of values and returns logits (N, classes). The
        recipe's seed decides its first weights.
    recipe, data
        How it is trained, and on what.
    folder : path
        It is created where it is missing.
    grid : Grid, optional
        What the model is prepared for before it is trained: residual models need one.
    start : Checkpoint, optional
        A trained model whose parameters this one starts with, if it has a name: see `transfer`.
    teacher : Module, optional
        What gives logits of pixels, from which a recipe with a temperature learns: see
        `xnorflow.sw.distillation.soft_labels`.
    resume : bool
        Go on from where the folder's training stopped, if it has one. Otherwise start afresh.
    held_out : int
        Training images that are put aside, the last ones, for measuring accuracy after each
        epoch: for choosing recipes.
    compiled : bool
        Let PyTorch compile the model, which takes minutes and then makes a step faster. It needs a
        compiler of C++.
    progress : bool
        Show a progress bar.
    deadline : float, optional
        Time of `time.monotonic` at which the training writes its state and stops.
    trainer_options
        For `lightning.Trainer`: ``devices``, ``accelerator``, ``strategy``, …

    Returns
    -------
    Checkpoint
        The model in evaluation mode, and its accuracy on the test set, measured in float64.

    Raises
    ------
    DataError
        If the data do not fit the model; if the recipe needs a teacher and there is none, or the
        other way round; or if there is no compiler.
    LoweringError
        If the model cannot be put on the grid.
    FormatError
        If the folder's training is damaged or was started with other settings, or if the folder
        cannot be written.
    OutOfTimeError
        At the deadline.

    Examples
    --------
    >>> from xnorflow.sw.models.spec import ModelSpec
    >>> from xnorflow.sw.recipes import DEMO
    >>> data = xnorflow.load_data("mnist")
    >>> xnorflow.train(ModelSpec("tfc"), DEMO, data, "runs/tfc")  # doctest: +SKIP
    """
    _check(recipe, data, held_out, teacher, compiled=compiled)
    spec = model if isinstance(model, ModelSpec) else None
    trained = _make(model, recipe, data, grid)
    provenance = Provenance(
        dataset=data.name,
        model=spec.name if spec else type(trained).__name__,
        method=spec.method if spec else "",
        recipe=recipe.name,
        seed=recipe.seed,
        epochs=recipe.epochs,
    )
    if start is not None and spec is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            transfer(trained, spec, start, data.train_images[:_LOOKED_AT])
    if compiled:
        # What earlier trainings compiled counts towards a limit, beyond which nothing is compiled.
        torch.compiler.reset()
        trained.compile(dynamic=False)
    others = [None if start is None else start.model, teacher]
    origins = [
        repr((spec or str(trained), grid)),
        *(_digest(other) for other in others if other is not None),
        # It rounds in other ways.
        *(["compiled"] if compiled else []),
    ]
    taught = None
    if teacher is not None:
        taught = soft_labels(
            teacher,
            _digest(teacher),
            data.train_images,
            recipe,
            folder,
            device=device_of(trainer_options.get("accelerator", "auto")),
            progress=progress,
            deadline=deadline,
        )
    trainer = fit(
        trained,
        recipe,
        data,
        folder,
        origin=", ".join(origins),
        taught=taught,
        resume=resume,
        held_out=held_out,
        progress=progress,
        deadline=deadline,
        channels_last=spec is not None,
        **trainer_options,
    )
    # One that is not compiled, nor on another device.
    result = _make(model, recipe, data, grid)
    result.load_state_dict(trained.state_dict())
    result.eval()
    if recipe.measured:
        images = data.train_images[: len(data.train_images) - held_out]
        measure_statistics(result, images, recipe, data.quantisation)
    with counting("test images", shown=progress) as advance:
        right = accuracy(
            result, data.test_images, data.test_labels, advance, quantisation=data.quantisation
        )
    provenance = replace(provenance, float_accuracy=right)
    checkpoint = Checkpoint(
        result, data.frame, data.classes, provenance, data.quantisation, grid, spec
    )
    if trainer.is_global_zero:
        save_checkpoint(checkpoint, Path(folder) / MODEL_FILE)
    return checkpoint


def _make(
    model: ModelSpec | Callable[[], nn.Module], recipe: Recipe, data: ImageData, grid: Grid | None
) -> nn.Module:
    """The model with its first weights, prepared for the grid if there is one."""
    if grid is not None and data.quantisation != Quantisation():
        raise DataError(
            f"a model on a fixed-point grid takes integers as they are, but those of {data.name} "
            "stand for other numbers"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        made = model.build() if isinstance(model, ModelSpec) else model()
    if grid is not None:
        made = prepare(made, grid, data.frame)
    frame = data.frame
    made.eval()
    with torch.no_grad():
        try:
            logits = made(torch.zeros(2, frame.channels, frame.height, frame.width))
        except (RuntimeError, ValueError, TypeError) as error:
            raise DataError(
                f"the model does not take batches of {frame.channels} channels and "
                f"{frame.height}×{frame.width} pixels: {str(error).splitlines()[0]}"
            ) from None
    if tuple(logits.shape) != (2, len(data.classes)):
        raise DataError(
            f"the model must return (N, {len(data.classes)}) logits for the classes of "
            f"{data.name}, not {tuple(logits.shape)} of 2 images"
        )
    return made.train()


def _check(
    recipe: Recipe, data: ImageData, held_out: int, teacher: nn.Module | None, *, compiled: bool
) -> None:
    if (teacher is None) != (recipe.temperature == 0):
        raise DataError(
            "the recipe learns from labels, not from a teacher"
            if teacher is not None
            else "the recipe needs a teacher"
        )
    if not 0 <= held_out < len(data.train_images):
        raise DataError(
            f"images to hold out must be from 0 to {len(data.train_images) - 1}, not {held_out}"
        )
    if compiled and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise DataError("to compile a model for training, install g++")


def _digest(model: nn.Module) -> str:
    """Digest of a model's parameters."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()
