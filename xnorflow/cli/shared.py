"""Functions of several commands: what they read, and how they show it."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

from xnorflow.errors import DataError
from xnorflow.files import write_atomically


if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from xnorflow.boards.target import Target
    from xnorflow.hw.compile.design import Design
    from xnorflow.hw.families.device import Device
    from xnorflow.ir import Head, Network


__all__ = [
    "bar",
    "choose_design",
    "console",
    "in_hertz",
    "load_frames",
    "load_model",
    "load_network",
    "refuse",
    "report_results",
    "stages",
]

# Texts of users and files are printed as they are.
console = Console(markup=False)


def load_network(text: str, weights: Path | None = None) -> "Network":
    """Load a network from a file or from the zoo, or lower a trained model: see `load_model`."""
    from xnorflow.ir.xnf import load
    from xnorflow.sw.module_names import is_module_name

    if is_module_name(text) or text.endswith(".safetensors"):
        with console.status("loading PyTorch and the model …"):
            _, make_network = load_model(text, weights)
            return make_network(Path(text.rpartition(":")[0] or text).stem)
    if weights is not None:
        raise DataError(f"{text} is a network, and brings its own weights")
    if not text.startswith("zoo:"):
        return load(text)
    folder = Path(__file__).parents[1] / "zoo"
    path = folder / f"{text.removeprefix('zoo:')}.xnf"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.xnf")))
        raise DataError(f"the zoo has no {path.stem!r}: choose from {names}")
    return load(path)


def load_model(text: str, weights: Path | None) -> "tuple[nn.Module, Callable[[str], Network]]":
    """Load a checkpoint, or a module with its ``weights``; gives the model, and what lowers it."""
    from xnorflow.sw.checkpoint import load_checkpoint
    from xnorflow.sw.lower import lower
    from xnorflow.sw.module_names import is_module_name
    from xnorflow.sw.own_model import load_module

    if not is_module_name(text):
        if weights is not None:
            raise DataError(f"{text} is a trained model, and brings its own weights")
        loaded = load_checkpoint(Path(text))
    elif weights is None:
        raise DataError(f"{text} needs its trained weights, from `xnorflow train {text}`")
    else:
        loaded = load_checkpoint(weights, load_module(text))

    def make_network(name: str) -> "Network":
        return lower(
            loaded.model, input=loaded.frame, quantisation=loaded.quantisation,
            name=name, labels=loaded.labels, provenance=loaded.provenance,
        )  # fmt: skip

    return loaded.model, make_network


def load_frames(
    network: "Network",
    data: str | None,
    limit: int | None,
    source: Path | None,
    labels: Path | None = None,
) -> "tuple[NDArray[Any], NDArray[Any] | None]":
    """Frames and labels of a data set, or those of a file."""
    from xnorflow.arrays import read_array
    from xnorflow.frames import check_frames

    if (data is None) == (source is None):
        raise DataError("give either --data or --input")
    if data is not None:
        from xnorflow.sw.data import load_data

        loaded = load_data(data, labels)
        trained_on = network.provenance.dataset
        if trained_on not in ("", loaded.name):
            console.print(f"note: {network.name} was trained on {trained_on}, not on {loaded.name}")
        return (
            check_frames(loaded.test_images.numpy(), network.input, network.quantisation)[:limit],
            loaded.test_labels.numpy()[:limit],
        )
    assert source is not None
    frames = check_frames(read_array(source), network.input, network.quantisation)[:limit]
    if not len(frames):
        raise DataError(f"{source} has no frames")
    if labels is None:
        return frames, None
    from xnorflow.sw.data import read_labels

    truth = read_labels(labels, network.labels)[:limit]
    if len(truth) != len(frames):
        raise DataError(f"there are {len(frames)} frames, but {len(truth)} labels")
    return frames, truth


def report_results(
    labels: "NDArray[Any] | None",
    scores: "NDArray[Any]",
    expected: "NDArray[Any] | None",
    output: Path | None,
    heads: "tuple[Head, ...]" = (),
) -> None:
    """Print what came out: accuracy, and scores (N, classes), unless a file gets them.

    Of a network with several outputs, the label of each.
    """
    if labels is None and expected is not None:
        console.print("no accuracy: the network delivers scores, but no labels")
    elif labels is not None and expected is not None:
        right = int((labels == expected).sum())
        console.print(f"accuracy: {right / len(labels):.2%} ({right} of {len(labels)})")
    if output is not None:
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, scores)
        write_atomically(output, buffer.getvalue())
        console.print(f"scores are in {output}", soft_wrap=True)
    elif expected is None:
        from xnorflow.scores import by_head, labels_of

        of_heads = {name: labels_of(each) for name, each in by_head(scores, heads).items()}
        for number, row in enumerate(scores.tolist()):
            label = "" if labels is None else f"label {labels[number]}, "
            label += "".join(f"{name} {each[number]}, " for name, each in of_heads.items())
            console.print(f"frame {number}: {label}scores {row}")


def refuse(options: "Mapping[str, object]", why: str) -> None:
    """Refuse the first of the ``options`` that is given.

    Raises
    ------
    DataError
        If one is.
    """
    for name, value in options.items():
        if value is not None:
            raise DataError(f"{name} {why}")


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


def choose_design(
    network: "Network",
    place: "Target | Device",
    *,
    clock: float | None,
    linked: bool = False,
    **rate: Any,
) -> "Design":
    """Choose a design for a board or a device; ``clock`` is in MHz, if not the usual there."""
    from xnorflow.boards.plan import choose_for

    with console.status("folding …"):  # which takes a while with large networks
        hertz = None if clock is None else in_hertz(clock)
        return choose_for(network, place, clock=hertz, linked=linked, **rate)


def in_hertz(clock: float) -> int:
    """Frequency in Hz of one in MHz."""
    return round(clock * 1e6)
