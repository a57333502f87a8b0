"""What a trained model of the zoo becomes: a network, compared and measured, and its card."""

import hashlib
from pathlib import Path

from cards import HELD_BACK, card
from entries import Entry
from torch import Tensor

from xnorflow.errors import LoweringError
from xnorflow.files import make_folder, write_atomically
from xnorflow.ir import Network
from xnorflow.ir.xnf import dumps
from xnorflow.ir.xnf import load as load_network
from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset, ImageData
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower


__all__ = ["lowered", "share", "standing", "write"]


def lowered(name: str, data: ImageData, checkpoint: Checkpoint) -> Network:
    """Network of integers of a trained model."""
    return lower(
        checkpoint.model,
        input=checkpoint.frame,
        name=name,
        labels=data.classes,
        quantisation=data.quantisation,
        provenance=checkpoint.provenance,
    )


def write(
    name: str,
    entry: Entry,
    data: ImageData,
    checkpoint: Checkpoint,
    folder: Path,
    held_back: tuple[int, float] | None = None,
) -> str:
    """Write an entry's network and card to ``folder``, and return the card."""
    network = lowered(name, data, checkpoint)
    comparison = compare(checkpoint.model, network, data.test_images[: _compared(entry)])
    if comparison.differing:
        raise LoweringError(f"{name} is not what was trained: {comparison}")
    content = dumps(network)
    text = card(
        name,
        entry,
        data,
        checkpoint,
        comparison,
        integer_accuracy=share(network, data.test_images, data.test_labels),
        sha256=hashlib.sha256(content).hexdigest(),
        held_back=held_back,
    )
    make_folder(folder)
    write_atomically(folder / f"{name}.xnf", content)
    write_atomically(folder / f"{name}.md", text.encode())
    return text


def standing(name: str, folder: Path, images: Tensor, labels: Tensor) -> float:
    """Accuracy that another network of that ``name`` must exceed to replace the one in ``folder``.

    It is that on ``images`` which were held back. A network that was trained on all images knows
    them by heart: in its place stands what its card says of the test set, which no choice depended
    on. Where there is no network, any will do.
    """
    path = folder / f"{name}.xnf"
    if not path.exists():
        return -1.0
    text = (folder / f"{name}.md").read_text(encoding="utf-8")
    if HELD_BACK in text:
        return share(load_network(path), images, labels)
    row = next(line for line in text.splitlines() if "accuracy of the integer network" in line)
    return float(row.split("|")[2].strip().rstrip("%")) / 100


def share(network: Network, images: Tensor, labels: Tensor) -> float:
    """Share of ``images`` that a network gets right."""
    return float((golden(network, images).labels == labels).double().mean())


def _compared(entry: Entry) -> int | None:
    """How many test images are compared value by value: those for CIFAR-10 take long in float64."""
    return 1000 if entry.dataset is Dataset.CIFAR10 else None
