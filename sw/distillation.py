"""Soft labels: what a teacher says of the training images, once and for all epochs."""

import copy
import hashlib
import json
import time
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from rich.progress import track
from torch import Tensor, nn

from xnorflow.errors import FormatError
from xnorflow.files import make_folder, read_file, write_atomically
from xnorflow.sw.augment import augment, seeded
from xnorflow.sw.batches import EVALUATION_BATCH
from xnorflow.sw.checkpoint import read_header
from xnorflow.sw.data import values_of
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.training_state import OutOfTimeError


__all__ = ["soft_labels"]

_FILE = "soft_labels.safetensors"
_KEY = "soft_labels"


@torch.no_grad()
def soft_labels(
    teacher: nn.Module,
    digest: str,
    images: Tensor,
    recipe: Recipe,
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    progress: bool = False,
    deadline: float | None = None,
) -> Tensor:
    """Mean distribution that ``teacher`` gives to the classes, over views of each image.

    It looks at ``recipe.views`` distorted copies. Their mean is right more often than the teacher
    itself is, and so a model can learn even from itself: that what it says should not depend on how
    an image lies. The ``folder`` keeps it for a training that goes on.

    Parameters
    ----------
    teacher : Module
        Gives logits of pixels.
    digest : str
        Of its parameters.
    images : uint8 tensor, (N, height, width, channels)
        Images of the training.
    recipe : Recipe
        Its temperature softens every distribution; its augmentation and seed decide the views.
    folder : path
        Of the training.
    device : device
        What the teacher looks with.
    progress : bool
        Show a progress bar.
    deadline : float, optional
        Time of `time.monotonic` at which what there is is kept, for another call to go on with.

    Returns
    -------
    tensor, (N, classes)
        Probabilities.

    Raises
    ------
    OutOfTimeError
        At the deadline.
    """
    origin = {
        "teacher": digest,
        "recipe": repr((recipe.temperature, recipe.views, recipe.augmentation, recipe.seed)),
        "images": hashlib.sha256(images.numpy().tobytes()).hexdigest(),
    }
    path = make_folder(folder) / _FILE
    taught = _read(path, origin)
    if taught is None:
        taught = torch.empty(0)
    if len(taught) == len(images):
        return taught
    teacher = copy.deepcopy(teacher).eval().to(device)
    batches = images.split(EVALUATION_BATCH)
    parts = [taught] if len(taught) else []
    for number, batch in enumerate(track(batches, "teacher", disable=not progress)):
        if number * EVALUATION_BATCH < len(taught):
            continue
        generator = seeded(recipe.seed, number)
        views = [augment(batch, recipe.augmentation, generator) for _ in range(recipe.views)]
        logits = torch.stack([teacher(values_of(view).to(device)).float().cpu() for view in views])
        parts.append((logits / recipe.temperature).softmax(dim=2).mean(dim=0))
        if deadline is not None and time.monotonic() >= deadline and number + 1 < len(batches):
            _write(path, torch.cat(parts), origin)
            raise OutOfTimeError(f"{path} goes on from image {(number + 1) * EVALUATION_BATCH}")
    taught = torch.cat(parts)
    _write(path, taught, origin)
    return taught


def _write(path: Path, taught: Tensor, origin: dict[str, str]) -> None:
    write_atomically(path, safetensors.torch.save({_KEY: taught}, {_KEY: json.dumps(origin)}))


def _read(path: Path, origin: dict[str, str]) -> Tensor | None:
    """Content of the file ``path``, if it is of the same ``origin``."""
    try:
        content = read_file(path)
        if read_header(content, _KEY) == origin:
            return safetensors.torch.load(content)[_KEY]
    except (FormatError, KeyError, ValueError, safetensors.SafetensorError):
        pass
    return None
