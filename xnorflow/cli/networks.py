"""Commands for networks of integers: where they come from, what they are, what they compute."""

from pathlib import Path
from typing import Annotated

import typer

from xnorflow.cli.options import (
    DataOption,
    InputOption,
    LabelsOption,
    LimitOption,
    NetworkArgument,
    OutputOption,
    ThreadsOption,
    WeightsArgument,
)
from xnorflow.cli.shared import (
    bar,
    console,
    load_frames,
    load_model,
    load_network,
    report_results,
)
from xnorflow.errors import DataError, LoweringError
from xnorflow.files import check_output


__all__ = ["evaluate", "export", "info", "lower"]


def lower(
    model: Annotated[
        str,
        typer.Argument(
            help="A trained model, from `xnorflow train`, or a module of your own, "
            "my_model.py:MyNet, followed by its weights."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .xnf file to write.")],
    weights: WeightsArgument = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    limit: LimitOption = None,
) -> None:
    """Turn a trained model into an integer network.

    With --data, also compare every binary activation with the model's in float64.
    """
    from xnorflow.ir.xnf import save

    check_output(out)
    with console.status("loading PyTorch and the model …"):
        from xnorflow.sw.compare import compare
        from xnorflow.sw.data import load_data

        loaded, make_network = load_model(model, weights)
        source = None if data is None else load_data(data, labels)
    with console.status("lowering …"):
        network = make_network(out.stem)
    if source is not None:
        frames = source.test_images[:limit]
        with bar("comparing", len(frames)) as advance:
            comparison = compare(loaded, network, frames, advance)
        console.print(str(comparison))
        if comparison.differing:
            raise LoweringError(f"the network is not what was trained: {out} is not written")
    save(network, out)
    console.print(f"{out} is written", soft_wrap=True)


def export(
    kind: Annotated[str, typer.Argument(help="What it becomes: qonnx.")],
    network: NetworkArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")],
) -> None:
    """Write a network as a file that other tools read.

    With QONNX's operators, in integers: FINN and qonnx take it.
    """
    from xnorflow.sw.frontend.qonnx.exporting import export_qonnx

    if kind != "qonnx":
        raise DataError(f"{kind!r} is nothing that can be exported: only qonnx is")
    check_output(out)
    export_qonnx(load_network(network), out)
    console.print(f"{out} is written", soft_wrap=True)


def info(network: NetworkArgument) -> None:
    """Show what a network computes, layer by layer."""
    from xnorflow.tables import network_table

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
        *((f"output {head.name}", ", ".join(head.labels) or head.classes) for head in loaded.heads),
    ):
        if value not in ("", None):
            console.print(f"{what}: {value}")


def evaluate(
    network: NetworkArgument,
    weights: WeightsArgument = None,
    data: DataOption = None,
    limit: LimitOption = None,
    frames: InputOption = None,
    labels: LabelsOption = None,
    output: OutputOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Execute a network in integers: accuracy on a data set, or scores of your own frames."""
    loaded = load_network(network, weights)
    if output is not None:
        check_output(output)
    with console.status("loading PyTorch and the frames …"):
        from xnorflow.sw.golden import golden

        images, truth = load_frames(loaded, data, limit, frames, labels)
    with bar("evaluating", len(images)) as advance:
        result = golden(loaded, images, progress=advance, threads=threads)
    found = None if result.labels is None else result.labels.numpy()
    report_results(found, result.scores.numpy(), truth, output, loaded.heads)
