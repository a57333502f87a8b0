"""Models of one's own: from a Python file, with their trained weights in another."""

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from xnorflow.errors import DataError, FormatError, NetworkError
from xnorflow.files import read_file, write_atomically
from xnorflow.ir import FeatureMap, Provenance, Quantisation
from xnorflow.ir.xnf import decode_type, encode_type
from xnorflow.sw.batches import accuracy
from xnorflow.sw.checkpoint import read_header
from xnorflow.sw.data import ImageData
from xnorflow.sw.fit import fit
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import Recipe


__all__ = [
    "WEIGHTS_FILE",
    "TrainedModule",
    "load_module",
    "load_weights",
    "save_weights",
    "train_module",
]

WEIGHTS_FILE = "weights.safetensors"
"""Name of the trained weights in their folder."""

VERSION = 1
"""Version of the format of weights."""

_KEY = "xnorflow-weights"


@dataclass(frozen=True, eq=False)
class TrainedModule:
    """A module with trained weights, and what it was trained for.

    Attributes
    ----------
    model : Module
        In evaluation mode; on the ``grid`` if there is one.
    frame : FeatureMap
        What an input is like.
    quantisation : Quantisation
        What its integers stand for.
    labels : tuple of str
        Names of the classes.
    grid : Grid or None
    provenance : Provenance
    """

    model: nn.Module
    frame: FeatureMap
    quantisation: Quantisation
    labels: tuple[str, ...]
    grid: Grid | None
    provenance: Provenance


def load_module(text: str) -> nn.Module:
    """Make the module ``MyNet()`` of the file that ``my_model.py:MyNet`` names.

    Raises
    ------
    DataError
        If there is no such file or class, or if it cannot be made without arguments.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Modules beside it can be imported, as when the file itself is run.
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise DataError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    make: Any = getattr(module, name, None)
    if make is None:
        raise DataError(f"{path} has no {name}")
    made = make if isinstance(make, nn.Module) else _make(make, text)
    if not isinstance(made, nn.Module):
        raise DataError(f"{text} makes no torch.nn.Module, but a {type(made).__name__}")
    return made


def _make(make: Callable[[], Any], text: str) -> Any:
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise DataError(
            f"{text} cannot be made without arguments ({error}): give them defaults, or name a "
            "function that makes it"
        ) from None
    try:
        return make()
    except Exception as error:
        raise DataError(f"{text}() fails: {type(error).__name__}: {error}") from None


def train_module(
    make: Callable[[], nn.Module],
    recipe: Recipe,
    data: ImageData,
    folder: Path | str,
    *,
    grid: Grid | None = None,
    resume: bool = True,
    held_out: int = 0,
    progress: bool = False,
    **trainer_options: Any,
) -> TrainedModule:
    """Train a module of one's own, and write its weights to ``folder``.

    Parameters
    ----------
    make : callable
        Makes the module, with weights that the recipe's seed decides. It takes batches
        (N, channels, height, width) of values and returns logits, (N, classes).
    recipe, data, folder, resume, held_out, progress, trainer_options
        As for `xnorflow.sw.train.train`.
    grid : Grid, optional
        What the module is prepared for, before it is trained: residual models need one.

    Raises
    ------
    DataError
        If the module does not return a logit for each class.
    LoweringError
        If the module cannot be put on the grid.
    FormatError
        As for `xnorflow.sw.train.train`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = make()
    if grid is not None:
        if data.quantisation != Quantisation():
            raise DataError(
                f"a module on a fixed-point grid takes integers as they are, but those of "
                f"{data.name} stand for other numbers"
            )
        model = prepare(model, grid, data.frame)
    _check_logits(model, data)
    name = type(model).__name__
    trainer = fit(
        model, recipe, data, folder,
        resume=resume, held_out=held_out, progress=progress, **trainer_options,
    )  # fmt: skip
    model.eval()
    right = accuracy(model, data.test_images, data.test_labels, quantisation=data.quantisation)
    provenance = Provenance(
        dataset=data.name, model=name, recipe=recipe.name,
        seed=recipe.seed, epochs=recipe.epochs, float_accuracy=right,
    )  # fmt: skip
    trained = TrainedModule(model, data.frame, data.quantisation, data.classes, grid, provenance)
    if trainer.is_global_zero:
        save_weights(trained, Path(folder) / WEIGHTS_FILE)
    return trained


def _check_logits(model: nn.Module, data: ImageData) -> None:
    frame = data.frame
    model.eval()
    with torch.no_grad():
        try:
            logits = model(torch.zeros(2, frame.channels, frame.height, frame.width))
        except (RuntimeError, ValueError, TypeError) as error:
            raise DataError(
                f"the model does not take batches of {frame.channels} channels and "
                f"{frame.height}×{frame.width} pixels: {str(error).splitlines()[0]}"
            ) from None
    if tuple(logits.shape) != (2, len(data.classes)):
        raise DataError(
            f"the model must return (N, {len(data.classes)}) logits for the classes of "
            f"{data.name}, not {tuple(logits.shape)} of 2 frames"
        )


def save_weights(trained: TrainedModule, path: Path | str) -> None:
    """Write the weights of a module, and what they were trained for, to the file ``path``.

    Raises
    ------
    FormatError
        If the file cannot be written.
    """
    frame = trained.frame
    header = {
        "version": VERSION,
        "input": [*frame.shape, encode_type(frame.type)],
        "quantisation": asdict(trained.quantisation),
        "labels": trained.labels,
        "grid": None if trained.grid is None else asdict(trained.grid),
        "provenance": asdict(trained.provenance),
    }
    state = {name: each.contiguous() for name, each in trained.model.state_dict().items()}
    write_atomically(path, safetensors.torch.save(state, {_KEY: json.dumps(header)}))


def load_weights(model: nn.Module, path: Path | str) -> TrainedModule:
    """Give ``model`` the weights of the file ``path``, from `train_module`.

    Raises
    ------
    FormatError
        If the file is damaged or foreign, or its weights are not those of such a model.
    """
    data = read_file(path)
    try:
        state = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, RuntimeError):
        raise FormatError(f"{path} is damaged, or no safetensors file at all") from None
    try:
        header = read_header(data, _KEY)
        if header.get("version") != VERSION:
            raise FormatError(f"its version is not {VERSION}")
        height, width, channels, kind = header["input"]
        frame = FeatureMap(height, width, channels, decode_type(kind))
        grid = None if header["grid"] is None else Grid(**header["grid"])
        provenance = Provenance(**header["provenance"])
        quantisation = Quantisation(**header["quantisation"])
        labels = tuple(map(str, header["labels"]))
    except (FormatError, NetworkError, TypeError, ValueError, KeyError) as error:
        raise FormatError(f"{path} has no weights of xnorflow's: {error}") from None
    if grid is not None:
        model = prepare(model, grid, frame)
    expected = {name: (each.shape, each.dtype) for name, each in model.state_dict().items()}
    if {name: (each.shape, each.dtype) for name, each in state.items()} != expected:
        raise FormatError(f"{path} has the weights of another model")
    if not all(bool(each.isfinite().all()) for each in state.values()):
        raise FormatError(f"{path} has weights that are not finite")
    model.load_state_dict(state)
    return TrainedModule(model.eval(), frame, quantisation, labels, grid, provenance)
