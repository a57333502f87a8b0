"""A floating-point network whose distribution others learn in place of labels.

Binary networks gain by it (ReActNet, arXiv 2003.03488, learns nothing else). It is small and trains
in minutes; it is never lowered.
"""

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from xnorflow.errors import DataError, FormatError, NetworkError
from xnorflow.files import read_file, write_atomically
from xnorflow.ir.values import check_range
from xnorflow.sw.batches import accuracy
from xnorflow.sw.checkpoint import decode_checkpoint, read_header
from xnorflow.sw.data import Dataset, ImageData
from xnorflow.sw.fit import fit
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.progress import counting
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.teacher_resnet import resnet18_layers


__all__ = ["TEACHER_FILE", "Body", "Teacher", "TeacherConfig", "load_teacher", "train_teacher"]

TEACHER_FILE = "teacher.safetensors"
"""Name of the trained teacher in its folder."""

_KEY = "xnorflow-teacher"
_VERSION = 1
_STEM = 32
_WIDTHS = 64, 256, 256
_SCALE = 1 / 8
_MAX_CLASSES = 1 << 16


class Body(Enum):
    """Layers of a teacher in front of its dense layer."""

    SMALL = "small"
    """Seven convolutions, trained in minutes."""

    RESNET18 = "resnet18"
    """He's ResNet-18 for small images, for a GPU."""


@dataclass(frozen=True)
class TeacherConfig:
    """Size of a teacher.

    Attributes
    ----------
    dataset : str
        Whose images it was trained on.
    input_shape : (height, width, channels)
        Both sides at least 8.
    classes : int
    mean, deviation : tuple of float, (channels,)
        Of pixels in 0…1.
    body : Body

    Raises
    ------
    NetworkError
        If a value is out of range.
    """

    dataset: str
    input_shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    body: Body = Body.SMALL

    def __post_init__(self) -> None:
        height, width, channels = self.input_shape
        if min(height, width) < 1 << len(_WIDTHS):
            raise NetworkError(f"images must be at least 8×8, not {height}×{width}")
        check_range("classes", self.classes, 2, _MAX_CLASSES)
        IntegerPixels(self.mean, self.deviation)
        if not len(self.mean) == len(self.deviation) == channels:
            raise NetworkError(f"mean and deviation must have {channels} channels")


class Teacher(nn.Module):
    """Convolutions of a `Body` and a dense layer; the small one is after fast ones for CIFAR-10.

    Three blocks of a convolution, a max-pool and another convolution, each with batch normalisation
    and ReLU; the largest value of each channel is classified. Source: airbench, arXiv 2404.00498,
    with ReLU and without whitening.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.input_shape[2]
        mean, deviation = (
            255 * torch.tensor(values)[:, None, None] for values in (config.mean, config.deviation)
        )
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        if config.body is Body.RESNET18:
            self.layers, width = resnet18_layers(channels)
        else:
            self.layers, width = _small_layers(channels)
        self.dense = nn.Linear(width, config.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes) of ``pixels`` (N, channels, height, width) in 0…255."""
        x = (pixels - self.mean) / self.deviation
        maps = self.layers(x)
        logits: Tensor
        if self.config.body is Body.RESNET18:
            logits = self.dense(maps.mean(dim=(2, 3)))
        else:
            logits = self.dense(maps.amax(dim=(2, 3))) * _SCALE
        return logits


def _small_layers(channels: int) -> tuple[nn.Sequential, int]:
    """Layers, and the channels of their result."""
    layers: list[nn.Module] = [_convolution(channels, _STEM)]
    width = _STEM
    for wider in _WIDTHS:
        layers += [
            nn.Conv2d(width, wider, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(wider),
            nn.ReLU(inplace=True),
            _convolution(wider, wider),
        ]
        width = wider
    return nn.Sequential(*layers), width


def _convolution(channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


def train_teacher(
    recipe: Recipe,
    dataset: Dataset,
    data: ImageData,
    folder: Path | str,
    *,
    body: Body = Body.SMALL,
    resume: bool = True,
    progress: bool = False,
    **trainer_options: Any,
) -> tuple[Teacher, float]:
    """Train a teacher, and write it to ``folder`` as `TEACHER_FILE`.

    An interrupted training goes on where it stopped: see `xnorflow.sw.train.train`.

    Returns
    -------
    teacher : Teacher
        In evaluation mode.
    share : float
        Of the test set that it gets right.

    Raises
    ------
    DataError, FormatError
        As `xnorflow.sw.train.train` does.
    """
    height, width, channels = data.train_images.shape[1:]
    config = TeacherConfig(
        data.name, (height, width, channels), len(data.classes), *dataset.normalisation, body
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        teacher = Teacher(config)
    fit(
        teacher,
        recipe,
        data,
        folder,
        origin=repr(config),
        resume=resume,
        progress=progress,
        **trainer_options,
    )
    teacher = teacher.cpu().eval()
    content = safetensors.torch.save(
        {name: value.contiguous() for name, value in teacher.state_dict().items()},
        {_KEY: json.dumps({"version": _VERSION} | asdict(config) | {"body": config.body.value})},
    )
    write_atomically(Path(folder) / TEACHER_FILE, content)
    with counting("test images", shown=progress) as advance:
        return teacher, accuracy(teacher, data.test_images, data.test_labels, advance)


def load_teacher(path: Path | str, dataset: str) -> nn.Module:
    """Read a teacher of a ``dataset``, in evaluation mode: floating-point, or a trained model.

    Raises
    ------
    FormatError
        If the file cannot be read, or is none of a teacher.
    DataError
        If it was trained on other images.
    """
    content = read_file(path)
    teacher: nn.Module
    try:
        checkpoint = decode_checkpoint(content)
    except FormatError:
        teacher, taught = _decode(content, path)
    else:
        teacher, taught = checkpoint.model, checkpoint.provenance.dataset
    if taught != dataset:
        raise DataError(f"{path} was trained on {taught}, not on {dataset}")
    return teacher.eval().requires_grad_(False)


def _decode(content: bytes, path: Path | str) -> tuple[Teacher, str]:
    """A floating-point teacher, and its data set."""
    try:
        state = safetensors.torch.load(content)
        header = read_header(content, _KEY)
        if header["version"] != _VERSION:
            raise FormatError("it is of another version")
        config = TeacherConfig(
            header["dataset"],
            tuple(header["input_shape"]),
            header["classes"],
            tuple(header["mean"]),
            tuple(header["deviation"]),
            Body(header.get("body", Body.SMALL.value)),
        )
        teacher = Teacher(config)
        teacher.load_state_dict(state)
        if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
            raise FormatError("it has parameters that are not finite")
    except (
        FormatError, NetworkError, KeyError, TypeError, ValueError, RuntimeError,
        safetensors.SafetensorError,
    ):  # fmt: skip
        raise FormatError(f"{path} is not a teacher") from None
    return teacher, config.dataset
