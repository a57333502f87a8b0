"""What several commands do alike: what they read, and how they show it."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from xnorflow.arrays import read_array
from xnorflow.errors import DataError
from xnorflow.files import write_atomically
from xnorflow.ir import Network


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xnorflow.sw.data import ImageData


__all__ = ["bar", "console", "load_data", "load_frames", "load_network", "report_results", "stages"]

# Texts of users and files are printed as they are.
console = Console(markup=False)


def load_network(text: str) -> Network:
    """Load a network from a file, or from the zoo."""
    from xnorflow.ir.xnf import load

    if not text.startswith("zoo:"):
        return load(text)
    folder = Path(__file__).parents[1] / "zoo"
    path = folder / f"{text.removeprefix('zoo:')}.xnf"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.xnf")))
        raise DataError(f"the zoo has no {path.stem!r}: choose from {names}")
    return load(path)


def load_frames(
    network: Network, dataset: str | None, limit: int | None, source: Path | None
) -> "tuple[NDArray[Any], NDArray[Any] | None]":
    """Frames of a data set with their labels, or those of a file without any."""
    from xnorflow.frames import check_frames

    if (dataset is None) == (source is None):
        raise DataError("give either --dataset or --input")
    if dataset is not None:
        data = load_data(dataset)
        trained_on = network.provenance.dataset
        if trained_on not in ("", data.name):
            console.print(f"note: {network.name} was trained on {trained_on}, not on {data.name}")
        return (
            check_frames(data.test_images.numpy(), network.input, network.quantisation)[:limit],
            data.test_labels.numpy()[:limit],
        )
    assert source is not None
    frames = check_frames(read_array(source), network.input, network.quantisation)[:limit]
    if not len(frames):
        raise DataError(f"{source} has no frames")
    return frames, None


def report_results(
    labels: "NDArray[Any] | None",
    scores: "NDArray[Any]",
    expected: "NDArray[Any] | None",
    output: Path | None,
) -> None:
    """Print what came out: accuracy, and scores (N, classes), unless a file gets them."""
    if labels is None and expected is not None:
        console.print("no accuracy: the network delivers scores, but no labels")
    elif labels is not None and expected is not None:
        right = int((labels == expected).sum())
        console.print(f"accuracy: {right / len(labels):.2%} ({right} of {len(labels)})")
    if output is not None:
        buffer = io.BytesIO()
        np.save(buffer, scores)
        write_atomically(output, buffer.getvalue())
        console.print(f"scores are in {output}", soft_wrap=True)
    elif expected is None:
        for number, row in enumerate(scores.tolist()):
            label = "" if labels is None else f"label {labels[number]}, "
            console.print(f"frame {number}: {label}scores {row}")


def load_data(dataset: str) -> "ImageData":
    """Load a data set by its name."""
    from xnorflow.sw.data import Dataset, load
    from xnorflow.sw.start import choice

    return load(choice(Dataset, dataset, "data set"))


@contextmanager
def bar(what: str, total: int) -> "Iterator[Callable[[int, int], None]]":
    """Progress bar; gives a function of the number done and of all."""
    with Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=console,
    ) as shown:  # fmt: skip
        task = shown.add_task(what, total=total)
        yield lambda done, all_: shown.update(task, completed=done, total=all_)


@contextmanager
def stages() -> "Iterator[Callable[[str], None]]":
    """Lines of stages that follow each other, and the time of each; gives what begins one."""
    with Progress(
        SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn(),
        console=console,
    ) as shown:  # fmt: skip
        current: TaskID | None = None

        def begin(what: str) -> None:
            nonlocal current
            if current is not None:
                shown.update(current, total=1, completed=1)
            current = shown.add_task(what, total=None)

        yield begin
        if current is not None:
            shown.update(current, total=1, completed=1)
