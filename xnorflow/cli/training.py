"""Commands for models in PyTorch: training, and the import of what others have trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from xnorflow.cli.interrupted import command_line, on_interrupt
from xnorflow.cli.options import DataOption, LabelsOption, LimitOption
from xnorflow.cli.shared import bar, console, refuse
from xnorflow.errors import DataError
from xnorflow.files import check_output
from xnorflow.sw.module_names import is_module_name


__all__ = ["import_", "teach", "train"]


def train(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the model, its state and its logs.")
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            help="tfc, sfc, lfc (3 hidden layers of 64, 256, 1024); convolutions: conv-s, conv-m "
            "(for 28×28 pixels), cnv, vgg-small, dscnn (for signals); residual: resnet8, "
            "resnet20, resnet18, resnet18-classic, reactnet-a; or a module of your own, "
            "my_model.py:MyNet.",
        ),
    ] = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    hidden: Annotated[
        str | None,
        typer.Option("--hidden", help="Hidden layers of your own instead, such as 96,64,64."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="sign (unless you say otherwise), adabin, siman, siman-bipolar or w1a2; of "
            "residual models adabin, siman, siman-bipolar, reactnet, dybnn, dybnn-separate or "
            "siman-mean, unless you say otherwise that of their authors.",
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            "--grid",
            help="Fixed-point grid of a module of your own with residual connections: bits and "
            "fractional bits, such as 16,8.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Start with the parameters of this model, from `xnorflow train` or `import`, and "
            "put it on a fixed-point grid that training images choose if it has none. Or with the "
            "bits of a network, net.xnf, whose model is named, too.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            help="Learn the probabilities that this network gives, on average over views of each "
            "image, in place of labels: one from `xnorflow teach`, or a trained model.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Instead of the recipe's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Instead of the recipe's.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start afresh, even if the folder has a training.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the model first: some minutes, then faster. Needs g++.",
        ),
    ] = False,
) -> None:
    """Train a binary network. An interrupted training goes on where it stopped."""
    with console.status("loading PyTorch and the images …"):
        from xnorflow.ir.xnf import load as load_network
        from xnorflow.sw.checkpoint import load_checkpoint
        from xnorflow.sw.data import load_data
        from xnorflow.sw.recipes import TEMPERATURE
        from xnorflow.sw.start import from_checkpoint, from_module, from_name, from_network
        from xnorflow.sw.teacher import load_teacher
        from xnorflow.sw.train import MODEL_FILE
        from xnorflow.sw.train import train as run_training

        source = load_data(data or "mnist", labels)
    started = None
    if model is not None and is_module_name(model):
        others = {"--hidden": hidden, "--method": method, "--from": start}
        refuse(others, "is not for a module of your own")
        what = from_module(model, _numbers(grid))
    elif start is not None and start.suffix == ".xnf":
        refuse({"--method": method, "--grid": grid}, "comes with --from")
        if model is None:
            raise DataError(f"which model is {start.name}? Name it, as in `xnorflow train cnv`")
        what, started = from_network(load_network(start), model, source, _numbers(hidden))
    elif start is not None:
        refuse({"the model": model, "--hidden": hidden, "--grid": grid}, "comes with --from")
        started = load_checkpoint(start)
        what = from_checkpoint(started, method, source)
    else:
        refuse({"--grid": grid}, "is for a module of your own")
        what = from_name(model or "tfc", method, source, _numbers(hidden))
    recipe = replace(
        what.recipe,
        epochs=what.recipe.epochs if epochs is None else epochs,
        seed=what.recipe.seed if seed is None else seed,
        temperature=0.0 if teacher is None else TEMPERATURE,
    )
    with on_interrupt(_what_is_kept(out, fresh)):
        checkpoint = run_training(
            what.model,
            recipe,
            source,
            out,
            grid=what.grid,
            start=started,
            teacher=None if teacher is None else load_teacher(teacher, source.name),
            resume=not fresh,
            compiled=compiled,
            progress=True,
        )
    console.print(
        f"{checkpoint.provenance.float_accuracy:.2%} of the test images are right; "
        f"the model is in {out / MODEL_FILE}",
        soft_wrap=True,
    )


def teach(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the teacher, its state and its logs.")
    ],
    dataset: Annotated[
        str, typer.Option("--data", help="mnist, fashion-mnist or cifar10.")
    ] = "cifar10",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start afresh, even if the folder has a training.")
    ] = False,
) -> None:
    """Train a floating-point network, from which others can learn: see `train --teacher`."""
    with console.status("loading PyTorch and the images …"):
        from xnorflow.sw.data import Dataset, load
        from xnorflow.sw.nn.arguments import member
        from xnorflow.sw.recipes import teacher as recipe_of
        from xnorflow.sw.teacher import TEACHER_FILE, train_teacher

        source = member("data set", dataset, Dataset)
        data = load(source)
    with on_interrupt(_what_is_kept(out, fresh)):
        _, share = train_teacher(
            recipe_of(source), source, data, out, resume=not fresh, progress=True
        )
    console.print(
        f"{share:.2%} of the test images are right; the teacher is in {out / TEACHER_FILE}",
        soft_wrap=True,
    )


def import_(
    kind: Annotated[str, typer.Argument(help="What it is: qonnx, or adabin-resnet20.")],
    source: Annotated[
        Path, typer.Argument(help="An ONNX file, or the authors' file of parameters.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="An .xnf file for the integer network as it is, or a .safetensors file for "
            "`xnorflow train --from`.",
        ),
    ],
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits", help="Of the residual stream, if not as many as training images need."
        ),
    ] = None,
    fraction: Annotated[
        int | None, typer.Option("--fraction", help="How many of them are fractional.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            help="Value that the integer 1 of an ONNX model's input stands for, such as 1/255, "
            "if the model does not begin with a scale that tells.",
        ),
    ] = None,
    limit: LimitOption = None,
) -> None:
    """Import a network that others have trained.

    An ONNX file of QONNX, Brevitas or FINN becomes integers that compute the same. AdaBin's
    ResNet-20 is measured on the test images, first in floating point, to show that it is what its
    authors have, and then on the fixed-point grid.
    """
    if kind == "qonnx":
        others = {"--bits": bits, "--fraction": fraction, "--limit": limit}
        refuse(others, "is not for ONNX files")
        _import_qonnx(source, out, scale)
    else:
        refuse({"--scale": scale}, "is for ONNX files")
        _import_adabin(kind, source, out, bits=bits, fraction=fraction, limit=limit)
    console.print(f"{out} is written", soft_wrap=True)


def _import_qonnx(source: Path, out: Path, scale: str | None) -> None:
    from fractions import Fraction

    from xnorflow.ir.xnf import save
    from xnorflow.sw.frontend.qonnx.importing import import_onnx

    if out.suffix != ".xnf":
        raise DataError(f"the file to write must end in .xnf, not {out.name!r}")
    check_output(out)
    try:
        known = None if scale is None else Fraction(scale)
    except (ValueError, ZeroDivisionError):
        raise DataError(f"{scale!r} is no number such as 1 or 1/255") from None
    found = import_onnx(source, scale=known)
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=True)
    frame = found.network.input
    console.print(
        f"it takes frames of {frame.height}×{frame.width}×{frame.channels} and gives "
        f"{found.network.maps[found.network.scores].channels} scores"
    )
    save(found.network, out)


def _import_adabin(
    kind: str,
    source: Path,
    out: Path,
    *,
    bits: int | None,
    fraction: int | None,
    limit: int | None,
) -> None:
    from xnorflow.ir.xnf import save
    from xnorflow.sw.adabin_import import import_and_measure
    from xnorflow.sw.checkpoint import save_checkpoint
    from xnorflow.sw.data import load_data

    if kind != "adabin-resnet20":
        raise DataError(f"{kind!r} cannot be imported: only qonnx and adabin-resnet20 can")
    if out.suffix not in (".xnf", ".safetensors"):
        raise DataError(f"the file to write must end in .xnf or .safetensors, not {out.name!r}")
    check_output(out)
    data = load_data("cifar10")
    found = import_and_measure(
        source, data, name=out.stem, bits=bits, fraction=fraction, limit=limit, progress=bar
    )
    grid = found.grid
    console.print(
        f"in floating point {found.float_accuracy:.2%} of {found.measured:,} test images are right"
    )
    console.print(
        f"in integers of {grid.bits} bits, {grid.fraction} of them fractional: {found.accuracy:.2%}"
    )
    if out.suffix == ".xnf":
        save(found.network, out)
    else:
        save_checkpoint(found.checkpoint, out)


def _what_is_kept(folder: Path, fresh: bool) -> Callable[[], str]:
    """A function that describes, after an interruption, the training in ``folder``."""
    from xnorflow.sw.fit import STATE_FILE

    def written() -> int | None:
        try:
            return (folder / STATE_FILE).stat().st_mtime_ns
        except OSError:
            return None

    former = written() if fresh else None

    def describe() -> str:
        if (now := written()) is None:
            return f"no epoch is done, so nothing is kept; `{command_line()}` starts again"
        if now == former:
            return f"the former training is still in {folder}; `{command_line()}` starts afresh"
        return (
            f"the epochs that are done are kept in {folder}; "
            f"`{command_line('--fresh')}` goes on with the next one"
        )

    return describe


def _numbers(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise DataError(f"{text!r} is no list of whole numbers such as 96,64,64") from None
