"""Commands for networks of integers: where they come from, what they are, what they compute."""

from pathlib import Path
from typing import Annotated

import typer

from xnorflow.cli.options import (
    DatasetOption,
    InputOption,
    LimitOption,
    NetworkArgument,
    OutputOption,
    ThreadsOption,
)
from xnorflow.cli.shared import bar, console, load_data, load_frames, load_network, report_results
from xnorflow.errors import LoweringError
from xnorflow.files import check_output
from xnorflow.tables import network_table


__all__ = ["evaluate", "info", "lower"]


def lower(
    checkpoint: Annotated[Path, typer.Argument(help="A trained model, from `xnorflow train`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .xnf file to write.")],
    dataset: DatasetOption = None,
    limit: LimitOption = None,
) -> None:
    """Turn a trained model into an integer network.

    With --dataset, also compare every binary activation with the model's in float64.
    """
    from xnorflow.ir.xnf import save

    check_output(out)
    with console.status("loading PyTorch and the model …"):
        from xnorflow.sw.checkpoint import load_checkpoint
        from xnorflow.sw.compare import compare
        from xnorflow.sw.lower import lower as lower_model

        loaded = load_checkpoint(checkpoint)
        data = load_data(dataset) if dataset is not None else None
    with console.status("lowering …"):
        network = lower_model(
            loaded.model,
            name=out.stem,
            labels=_labels(loaded.provenance.dataset),
            provenance=loaded.provenance,
        )
    if data is not None:
        frames = data.test_images[:limit]
        with bar("comparing", len(frames)) as advance:
            comparison = compare(loaded.model, network, frames, advance)
        console.print(str(comparison))
        if comparison.differing:
            raise LoweringError(f"the network is not what was trained: {out} is not written")
    save(network, out)
    console.print(f"{out} is written", soft_wrap=True)


def info(network: NetworkArgument) -> None:
    """Show what a network computes, layer by layer."""
    loaded = load_network(network)
    console.print(network_table(loaded))
    source = loaded.provenance
    for what, value in (
        ("data set", source.dataset),
        ("model", source.model),
        ("method", source.method),
        ("recipe", source.recipe),
        ("epochs", source.epochs),
        ("seed", source.seed),
        ("float accuracy", source.float_accuracy and f"{source.float_accuracy:.2%}"),
        ("classes", ", ".join(loaded.labels)),
    ):
        if value not in ("", None):
            console.print(f"{what}: {value}")


def evaluate(
    network: NetworkArgument,
    dataset: DatasetOption = None,
    limit: LimitOption = None,
    frames: InputOption = None,
    output: OutputOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Execute a network in integers: accuracy on a data set, or scores of your own frames."""
    loaded = load_network(network)
    if output is not None:
        check_output(output)
    with console.status("loading PyTorch and the frames …"):
        from xnorflow.sw.golden import golden

        images, labels = load_frames(loaded, dataset, limit, frames)
    with bar("evaluating", len(images)) as advance:
        result = golden(loaded, images, progress=advance, threads=threads)
    found = None if result.labels is None else result.labels.numpy()
    report_results(found, result.scores.numpy(), labels, output)


def _labels(dataset: str) -> tuple[str, ...] | None:
    """Names of the classes of a data set that is known."""
    from xnorflow.sw.data import Dataset

    return next((known.classes for known in Dataset if known.value == dataset), None)
