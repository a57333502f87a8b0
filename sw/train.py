"""Training: a model, a recipe and a data set → a checkpoint."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from xnorflow.errors import DataError
from xnorflow.ir import Provenance
from xnorflow.sw.batches import accuracy
from xnorflow.sw.checkpoint import Checkpoint, save_checkpoint
from xnorflow.sw.data import ImageData
from xnorflow.sw.distillation import soft_labels
from xnorflow.sw.fit import device_of, fit
from xnorflow.sw.kinds import Config, Model, build
from xnorflow.sw.models.chain import Chain, Method
from xnorflow.sw.progress import counting
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.residual import Residual
from xnorflow.sw.statistics import measure_statistics
from xnorflow.sw.translate import is_translated, translate


__all__ = ["MODEL_FILE", "adopt", "train"]

MODEL_FILE = "model.safetensors"
"""Name of the trained model in its folder."""

_LOOKED_AT = 100
"""Training images that a translation looks at."""


def train(
    config: Config,
    recipe: Recipe,
    data: ImageData,
    folder: Path | str,
    *,
    start: Model | None = None,
    teacher: nn.Module | None = None,
    resume: bool = True,
    held_out: int = 0,
    compiled: bool = False,
    progress: bool = False,
    **trainer_options: Any,
) -> Checkpoint:
    """Train a model, and write it to ``folder``.

    The folder gets `MODEL_FILE` at the end, ``logs`` (CSV and TensorBoard), and after each epoch
    ``training.ckpt``, from which an interrupted training goes on with the same result.

    Parameters
    ----------
    config, recipe, data
        What is trained, how, and on what.
    folder : path
        It is created where it is missing.
    start : Chain or Residual, optional
        A trained model whose parameters this one starts with: see `adopt`.
    teacher : Module, optional
        What gives logits of pixels, from which a recipe with a temperature learns: see
        `xnorflow.sw.distillation.soft_labels`.
    resume : bool
        Go on from where the folder's training stopped, if it has one. Otherwise start afresh.
    held_out : int
        Training images that are put aside, the last ones, for measuring accuracy after each
        epoch: for choosing recipes.
    compiled : bool
        Let PyTorch compile the units of a residual model, which takes a minute or two and then
        halves the time of a step on a processor. It needs a compiler of C++.
    progress : bool
        Show a progress bar.
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
        other way round; or if the model is to be compiled and is not residual, or there is no
        compiler.
    FormatError
        If the folder's training is damaged or was started with other settings, or if the folder
        cannot be written.
    """
    _check(config, data, held_out)
    if (teacher is None) != (recipe.temperature == 0):
        raise DataError(
            "the recipe learns from labels, not from a teacher"
            if teacher is not None
            else "the recipe needs a teacher"
        )
    provenance = Provenance(
        dataset=data.name,
        model=str(config),
        method=config.method.value,
        recipe=recipe.name,
        seed=recipe.seed,
        epochs=recipe.epochs,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build(config)
        if start is not None:
            # A translation of another method may have first values of its own.
            adopt(model, start, data.train_images[:_LOOKED_AT])
    if compiled:
        if not isinstance(model, Residual):
            raise DataError("only residual models can be compiled for training")
        if shutil.which(os.environ.get("CXX", "g++")) is None:
            raise DataError("to compile a model for training, install g++")
        # What earlier trainings compiled counts towards a limit, beyond which nothing is compiled.
        torch.compiler.reset()
        model.compile_parts()
    origins = [f", {_digest(other)}" for other in (start, teacher) if other is not None]
    if compiled:
        # It rounds in other ways.
        origins.append(", compiled")
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
        )
    trainer = fit(
        model,
        recipe,
        data,
        folder,
        origin="".join(origins),
        taught=taught,
        resume=resume,
        held_out=held_out,
        progress=progress,
        **trainer_options,
    )
    trained = build(config)
    trained.load_state_dict(model.state_dict())
    trained.eval()
    if recipe.measured:
        split = len(data.train_images) - held_out
        measure_statistics(trained, data.train_images[:split], recipe)
    with counting("test images", shown=progress) as advance:
        right = accuracy(trained, data.test_images, data.test_labels, advance)
    checkpoint = Checkpoint(trained, replace(provenance, float_accuracy=right))
    if trainer.is_global_zero:
        save_checkpoint(checkpoint, Path(folder) / MODEL_FILE)
    return checkpoint


def adopt(model: Model, start: Model, images: Tensor | None = None) -> list[str]:
    """Let ``model`` start with those parameters of ``start`` that have a place in it.

    They are those of the same name and shape: all, where only the grid differs. Where the method
    of a residual model does, ``start`` may have to be translated first, looking at ``images``: see
    `translate`.

    Returns
    -------
    list of str
        Names of the parameters that keep their first values.

    Raises
    ------
    DataError
        If no weights of convolutions and dense layers have a place, if ``start`` has another shape
        and must be translated, or if it is a chain whose weights are binarised in another way.
    """
    if isinstance(model, Chain) and isinstance(start, Chain):
        before, after = start.config.method, model.config.method
        if before is not after and not {before, after} <= {Method.SIGN, Method.ADABIN}:
            raise DataError(
                f"as {after.value}, the weights of a chain of {before.value} would be other bits: "
                "train one from its first parameters"
            )
    if isinstance(model, Residual) and isinstance(start, Residual):
        ours = model.config
        if is_translated(start.config.method, ours.method):
            start = translate(start, ours, images)
    theirs = start.state_dict()
    state = model.state_dict()
    fitting = {
        name: theirs[name].detach().clone()
        for name, value in state.items()
        if name in theirs and theirs[name].shape == value.shape
    }
    if not any(name.endswith("weight") and fitting[name].dim() > 1 for name in fitting):
        raise DataError("nothing of the model to start from fits the one to be trained")
    model.load_state_dict(state | fitting)
    return sorted(state.keys() - fitting.keys())


def _digest(model: nn.Module) -> str:
    """Digest of a model's parameters."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()


def _spell(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _check(config: Config, data: ImageData, held_out: int) -> None:
    shape = tuple(data.train_images.shape[1:])
    if shape != config.input_shape or len(data.classes) != config.classes:
        raise DataError(
            f"{data.name} has {len(data.classes)} classes of images of {_spell(shape)}, "
            f"the model {config.classes} of {_spell(config.input_shape)}"
        )
    if not 0 <= held_out < len(data.train_images):
        raise DataError(
            f"images to hold out must be from 0 to {len(data.train_images) - 1}, not {held_out}"
        )
