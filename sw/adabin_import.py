"""Import of AdaBin's released ResNet-20 for CIFAR-10."""

import copy
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn

from xnorflow.errors import FormatError
from xnorflow.ir import FeatureMap, Network, Provenance, UInt
from xnorflow.sw.batches import accuracy
from xnorflow.sw.calibrate import CALIBRATED_ON, calibrate
from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.data import Dataset, ImageData
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.torch_file import read_torch_file


__all__ = [
    "GRID",
    "PIXELS",
    "STEM_BITS",
    "Import",
    "import_adabin_resnet20",
    "import_and_measure",
    "in_floating_point",
]

Advance = Callable[[int, int], None]
"""Takes the number of images that are done, and of all."""

PIXELS = IntegerPixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The authors normalise CIFAR-10 by the statistics of ImageNet."""

GRID = Grid(bits=17, fraction=10, score_bits=10)
"""On which it loses nothing; its stream reaches from −14.9 to 34.7."""

STEM_BITS = 12
"""Width of the first layer's weights, unless something else is said."""

# Ours, and theirs without the prefix ``module.``.
_STEM = {
    "stem.conv.weight": "conv1.weight",
    "stem.norm": "bn1",
    "stem.act.positive": "nonlinear1.pos_scale",
    "stem.act.negative": "nonlinear1.neg_scale",
}
_HEAD = {"norm": "bn2", "fc": "linear"}
_BLOCK = {
    "conv.weight": "conv{n}.weight",
    "conv.activation_quantiser.alpha": "conv{n}.binary_a.alpha_a",
    "conv.activation_quantiser.beta": "conv{n}.binary_a.beta_a",
    "norm": "bn{n}",
    "act.positive": "nonlinear{n}.pos_scale",
    "act.negative": "nonlinear{n}.neg_scale",
}


def import_adabin_resnet20(path: Path | str, *, stem_bits: int = STEM_BITS) -> Checkpoint:
    """Read the authors' checkpoint; the model is a floating-point one, in evaluation mode.

    Source: AdaBin, arXiv 2208.08084.

    Parameters
    ----------
    path : path
        Their file.
    stem_bits : int
        Width of the first layer's weights, which are floating-point numbers there: see
        `in_floating_point`.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not that checkpoint.
    """
    loaded = read_torch_file(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise FormatError(f"{path} is a PyTorch file with other content")
    theirs = {re.sub("^module[.]", "", str(name)): value for name, value in state.items()}
    pixels = replace(PIXELS, bits=stem_bits)
    spec = ModelSpec("resnet20", Task((3, 32, 32), 10, pixels), {"method": "adabin"})
    model = spec.build()
    ours = {}
    for name, expected in model.state_dict().items():
        value = theirs.get(_their_name(name))
        if not _is_plain(value) or value.shape != expected.shape:
            raise FormatError(
                f"{path} is not AdaBin's ResNet-20: it lacks {_their_name(name)} "
                f"of shape {tuple(expected.shape)}"
            )
        ours[name] = value.to(expected.dtype)
        if not bool(ours[name].isfinite().all()):
            raise FormatError(f"{path}: {_their_name(name)} has values that are not finite")
    model.load_state_dict(ours)
    classes = Dataset.CIFAR10.classes
    provenance = Provenance(
        dataset=Dataset.CIFAR10.value, model=spec.name, method=spec.method, recipe="imported"
    )
    frame = FeatureMap(32, 32, 3, UInt(8))
    return Checkpoint(model.eval(), frame, classes, provenance, spec=spec)


def in_floating_point(imported: nn.Module) -> nn.Module:
    """A copy that has real weights in its first layer too, to be measured beside its authors'."""
    model = copy.deepcopy(imported)
    stem = model.get_submodule("stem.conv")
    stem.weight_quantiser = _RealWeight()
    return model


@dataclass(frozen=True, eq=False)
class Import:
    """An imported model on its grid, and how many test images it gets right.

    Attributes
    ----------
    checkpoint : Checkpoint
        The model; its provenance has the accuracy if all test images were measured.
    network : Network
        What the model becomes.
    grid : Grid
        On which it computes.
    float_accuracy, accuracy : float
        Fraction of the ``measured`` images that are right in floating point, as its authors have
        it, and in the network's integers.
    """

    checkpoint: Checkpoint
    network: Network
    grid: Grid
    float_accuracy: float
    accuracy: float
    measured: int


def import_and_measure(
    path: Path | str,
    data: ImageData,
    *,
    name: str,
    bits: int | None = None,
    fraction: int | None = None,
    limit: int | None = None,
    progress: Callable[[str, int], AbstractContextManager[Advance]] | None = None,
) -> Import:
    """Read the authors' checkpoint, put it on a grid, lower it, and measure it before and after.

    Parameters
    ----------
    path : path
        Their file.
    data : ImageData
        CIFAR-10.
    name : str
        Name of the network.
    bits, fraction : int, optional
        Of the grid; otherwise as many bits as training images need, and the fraction of `GRID`.
    limit : int, optional
        Test images that are measured, the first ones; otherwise all.
    progress : callable, optional
        Shows the progress of a measurement, given what it is and the number of images.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not that checkpoint.
    """
    shown = progress or (lambda *_: nullcontext())
    grid = replace(
        GRID,
        bits=GRID.bits if bits is None else bits,
        fraction=GRID.fraction if fraction is None else fraction,
    )
    imported = import_adabin_resnet20(path)
    if bits is None:
        looked_at = data.train_images[:CALIBRATED_ON]
        grid = calibrate(imported.model, imported.frame, looked_at, grid)
    images, labels = data.test_images[:limit], data.test_labels[:limit]
    with shown("floating point", len(images)) as advance:
        before = accuracy(in_floating_point(imported.model), images, labels, advance)
    model = prepare(imported.model, grid, imported.frame)
    provenance = imported.provenance
    network = lower(model, name=name, labels=data.classes, provenance=provenance)
    with shown("integers", len(images)) as advance:
        found = golden(network, images, progress=advance).labels
    assert found is not None
    after = float((found == labels).double().mean())
    if limit is None:
        # Model and network are the same; only the numbers before were others.
        provenance = replace(provenance, float_accuracy=after)
        network = replace(network, provenance=provenance)
    checkpoint = replace(imported, model=model, grid=grid, provenance=provenance)
    return Import(checkpoint, network, grid, before, after, len(images))


class _RealWeight(IntegerWeight):
    """Weights as they are."""

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """``weight`` (filters, synapses), and scales of 1 (filters,)."""
        return weight, weight.new_ones(len(weight))


def _is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether ``value`` is a tensor of floating-point numbers in memory."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.is_cpu
        and not value.is_complex()
    )


def _their_name(name: str) -> str:
    """Name of the authors' parameter for one of ours."""
    table = _STEM | _HEAD
    prefix = ""
    if match := re.match(r"blocks[.](\d+)[.](.*)", name):
        # Two convolutions a block, three blocks a layer.
        block, n = divmod(int(match[1]), 2)
        prefix = f"layer{block // 3 + 1}.{block % 3}."
        name = match[2]
        table = {ours: theirs.format(n=n + 1) for ours, theirs in _BLOCK.items()}
    for ours, theirs in table.items():
        if name == ours or name.startswith(f"{ours}."):
            return prefix + theirs + name.removeprefix(ours)
    return prefix + name
