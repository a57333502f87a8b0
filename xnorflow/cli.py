"""The command line: every stage from data to a board as one command.

Commands import what they need when they run, so that ``--help`` answers at once. Each one calls
the library and prints what came out; nothing is computed here.
"""

import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from xnorflow.errors import (
    DataError,
    DesignError,
    LinkError,
    LoweringError,
    ToolError,
    XnorflowError,
)
from xnorflow.files import write_atomically
from xnorflow.network import BinaryConv, IntegerConv, Network, Provenance
from xnorflow.tables import design_table, network_table, plan_table


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xnorflow.hw.design import Design
    from xnorflow.sw.data import ImageData


app = typer.Typer(
    help="From a trained binary neural network to an FPGA bitstream, bit for bit.",
    epilog="Start with `xnorflow data fetch mnist`, then "
    "`xnorflow eval zoo:mnist-tfc-sign --dataset mnist`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Fetch data sets, and list them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

# Texts of users and files are printed as they are.
console = Console(markup=False)

VIRTUAL = "virtual"
"""Port of the simulated board."""


# -- options that several commands share ----------------------------------------------------------

NetworkArgument = Annotated[
    str, typer.Argument(help="A .xnf file, or zoo:NAME for a network that ships with xnorflow.")
]
DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help="Use the test images of: mnist, fashion-mnist, cifar10."),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first so many frames.")
]
InputOption = Annotated[
    Path | None, typer.Option("--input", help="Raw frames: a .npy file of uint8, N×H×W×C.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", help="Write the scores here: a .npy file, N×classes.")
]
BoardOption = Annotated[
    str, typer.Option("--board", help="Board whose FPGA sets the budget; see `xnorflow boards`.")
]
CyclesOption = Annotated[
    int | None, typer.Option("--cycles", min=1, help="Most clock cycles a frame.")
]
RateOption = Annotated[
    float | None, typer.Option("--fps", help="Least frames a second, at the board's clock.")
]
FastestOption = Annotated[bool, typer.Option("--fastest", help="As fast as fits the board's FPGA.")]
SingleOption = Annotated[
    bool,
    typer.Option(
        "--single-buffered",
        help="Buffers of one frame for thresholds of the frame: the least memory, at the cost of "
        "cycles.",
    ),
]


# -- data sets ------------------------------------------------------------------------------------


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="mnist, fashion-mnist or cifar10.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Take the files from this folder, and download nothing."),
    ] = None,
) -> None:
    """Put a data set into the cache ($XNORFLOW_DATA, or ~/.cache/xnorflow)."""
    from xnorflow.sw.data import Dataset, fetch
    from xnorflow.sw.start import choice

    dataset = choice(Dataset, name, "data set")
    with console.status(f"fetching {dataset.title} …"):
        folder = fetch(dataset, source)
    console.print(f"{dataset.title} is in {folder}", soft_wrap=True)


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and which are there."""
    from xnorflow.sw.data import Dataset, cache_folder, is_fetched

    table = Table("name", "title", "there")
    for dataset in Dataset:
        table.add_row(dataset.value, dataset.title, "yes" if is_fetched(dataset) else "no")
    console.print(table)
    console.print(f"cache: {cache_folder()}", soft_wrap=True)


# -- software -------------------------------------------------------------------------------------


@app.command()
def train(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the model, its state and its logs.")
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", help="mnist, fashion-mnist or cifar10.")
    ] = "mnist",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="tfc (unless you say otherwise), sfc, lfc (3 hidden layers of 64, 256, 1024); "
            "convolutions: conv-s, conv-m (for 28×28 pixels), cnv, vgg-small; residual: resnet8, "
            "resnet20, resnet18, resnet18-classic, reactnet-a.",
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option("--hidden", help="Hidden layers of your own instead, such as 96,64,64."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="sign (unless you say otherwise), adabin, siman or siman-bipolar; of residual "
            "models adabin, siman, siman-bipolar, reactnet, dybnn, dybnn-apart or siman-mean, "
            "unless you say otherwise that of their authors.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Start with the parameters of this model, from `xnorflow train` or `import`, and "
            "put it on a fixed-point grid if it has none.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", help="Learn this teacher's probabilities in place of labels."),
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
            help="Compile a residual model first: two minutes, then twice as fast. Needs g++.",
        ),
    ] = False,
) -> None:
    """Train a binary network. An interrupted training goes on where it stopped."""
    from xnorflow.sw.checkpoint import load_checkpoint
    from xnorflow.sw.data import Dataset, load
    from xnorflow.sw.recipes import TEMPERATURE
    from xnorflow.sw.start import choice, from_model, from_name
    from xnorflow.sw.teacher import load_teacher
    from xnorflow.sw.train import MODEL_FILE
    from xnorflow.sw.train import train as run_training

    source = choice(Dataset, dataset, "data set")
    data = load(source)
    if start is not None and (model or hidden):
        raise DataError("--from brings its own model: leave out --model and --hidden")
    started = None if start is None else load_checkpoint(start).model
    if started is not None:
        config, recipe = from_model(started, method, source)
    else:
        widths = None if hidden is None else _widths(hidden)
        config, recipe = from_name(model or "tfc", method, source, len(data.classes), widths)
    recipe = replace(
        recipe,
        epochs=recipe.epochs if epochs is None else epochs,
        seed=recipe.seed if seed is None else seed,
        temperature=0.0 if teacher is None else TEMPERATURE,
    )
    checkpoint = run_training(
        config,
        recipe,
        data,
        out,
        start=started,
        teacher=None if teacher is None else load_teacher(teacher, data.name),
        resume=not fresh,
        compiled=compiled,
        progress=True,
    )
    console.print(
        f"{checkpoint.provenance.float_accuracy:.2%} of the test images are right; "
        f"the model is in {out / MODEL_FILE}",
        soft_wrap=True,
    )


@app.command()
def teach(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the teacher, its state and its logs.")
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", help="mnist, fashion-mnist or cifar10.")
    ] = "cifar10",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start afresh, even if the folder has a training.")
    ] = False,
) -> None:
    """Train a network of real numbers, from which others can learn: see `train --teacher`."""
    from xnorflow.sw.data import Dataset, load
    from xnorflow.sw.recipes import teacher as recipe_of
    from xnorflow.sw.start import choice
    from xnorflow.sw.teacher import TEACHER_FILE, train_teacher

    source = choice(Dataset, dataset, "data set")
    _, share = train_teacher(
        recipe_of(source), source, load(source), out, resume=not fresh, progress=True
    )
    console.print(
        f"{share:.2%} of the test images are right; the teacher is in {out / TEACHER_FILE}",
        soft_wrap=True,
    )


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(help="What it is: adabin-resnet20.")],
    checkpoint: Annotated[Path, typer.Argument(help="Its authors' file of parameters.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="An .xnf file for the integer network as it is, or a .safetensors file for "
            "`xnorflow train --from`.",
        ),
    ],
    bits: Annotated[int, typer.Option("--bits", help="Of the residual stream.")] = 16,
    fraction: Annotated[
        int, typer.Option("--fraction", help="How many of them are fractional.")
    ] = 8,
    limit: LimitOption = None,
) -> None:
    """Import a network that others have trained, and measure it on the test images.

    First in real numbers, to show that it is what they have, and then on the fixed-point grid.
    """
    from xnorflow.sw.adabin_import import import_adabin_resnet20
    from xnorflow.sw.checkpoint import Checkpoint, save_checkpoint
    from xnorflow.sw.data import Dataset, load
    from xnorflow.sw.golden import golden
    from xnorflow.sw.lower import lower as lower_model
    from xnorflow.sw.nn.grid import Grid
    from xnorflow.sw.train import accuracy
    from xnorflow.xnf import save

    if kind != "adabin-resnet20":
        raise DataError(f"{kind!r} cannot be imported: only adabin-resnet20 can")
    if out.suffix not in (".xnf", ".safetensors"):
        raise DataError(f"the file to write must end in .xnf or .safetensors, not {out.name!r}")
    grid = Grid(bits, fraction)
    imported = import_adabin_resnet20(checkpoint)
    data = load(Dataset.CIFAR10)
    images, labels = data.test_images[:limit], data.test_labels[:limit]
    with _bar("real numbers", len(images)) as advance:
        real = import_adabin_resnet20(checkpoint, stem_bits=16)
        share = accuracy(real, images, labels, advance)
    console.print(f"in real numbers {share:.2%} of {len(images):,} test images are right")
    provenance = Provenance(
        dataset=Dataset.CIFAR10.value,
        model=str(imported.config),
        method=imported.config.method.value,
        recipe="imported",
    )
    model = imported.on_grid(grid)
    network = lower_model(model, name=out.stem, labels=data.classes, provenance=provenance)
    with _bar("integers", len(images)) as advance:
        found = golden(network, images, progress=advance).labels
    share = float((found == labels).double().mean())
    console.print(f"in integers of {bits} bits, {fraction} of them fractional: {share:.2%}")
    if limit is None:
        # Model and network are the same; only the numbers above were others.
        provenance = replace(provenance, float_accuracy=share)
        network = replace(network, provenance=provenance)
    if out.suffix == ".xnf":
        save(network, out)
    else:
        save_checkpoint(Checkpoint(model, provenance), out)
    console.print(f"{out} is written", soft_wrap=True)


@app.command()
def lower(
    checkpoint: Annotated[Path, typer.Argument(help="A trained model, from `xnorflow train`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .xnf file to write.")],
    dataset: DatasetOption = None,
    limit: LimitOption = None,
) -> None:
    """Turn a trained model into an integer network.

    With --dataset, also compare every binary activation with the model's in float64.
    """
    from xnorflow.sw.checkpoint import load_checkpoint
    from xnorflow.sw.compare import compare
    from xnorflow.sw.lower import lower as lower_model
    from xnorflow.xnf import save

    loaded = load_checkpoint(checkpoint)
    data = _load(dataset) if dataset is not None else None
    network = lower_model(
        loaded.model,
        name=out.stem,
        labels=_labels(loaded.provenance.dataset),
        provenance=loaded.provenance,
    )
    if data is not None:
        frames = data.test_images[:limit]
        with _bar("comparing", len(frames)) as advance:
            comparison = compare(loaded.model, network, frames, advance)
        console.print(str(comparison))
        if comparison.differing:
            raise LoweringError(f"the network is not what was trained: {out} is not written")
    save(network, out)
    console.print(f"{out} is written", soft_wrap=True)


@app.command()
def info(network: NetworkArgument) -> None:
    """Show what a network computes, layer by layer."""
    loaded = _network(network)
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


@app.command("eval")
def evaluate(
    network: NetworkArgument,
    dataset: DatasetOption = None,
    limit: LimitOption = None,
    frames: InputOption = None,
    output: OutputOption = None,
) -> None:
    """Execute a network in integers: accuracy on a data set, or scores of your own frames."""
    from xnorflow.sw.golden import golden

    loaded = _network(network)
    images, labels = _frames(loaded, dataset, limit, frames)
    result = golden(loaded, images)
    _report_results(result.labels.numpy(), result.scores.numpy(), labels, output)


# -- hardware -------------------------------------------------------------------------------------


@app.command()
def plan(
    network: NetworkArgument,
    board: BoardOption = "ulx3s-85f",
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="A line for every part of the pipeline.")
    ] = False,
) -> None:
    """Show how a network would be folded, and what it would cost; nothing is generated.

    A layer's line counts all that is built up to the next layer.
    """
    design = _design(_network(network), board, cycles, fps, fastest, single_buffered)
    console.print(plan_table(design, parts=parts))
    console.print(
        f"{design.input_lanes} pixels a word, {design.cycles_per_frame:,} cycles a frame; "
        "resources are estimates"
    )


@app.command()
def generate(
    network: NetworkArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    board: BoardOption = "ulx3s-85f",
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
) -> None:
    """Write Verilog, memory contents and design.json.

    Without a rate, the design takes one pixel a cycle if all layers are dense, a thousand frames a
    second otherwise, or is as fast as fits the FPGA.
    """
    from xnorflow.hw.generate import generate as generate_files

    design = _design(_network(network), board, cycles, fps, fastest, single_buffered)
    with console.status("writing Verilog …"):
        path = generate_files(design, out)
    console.print(design_table(design))
    console.print(f"{path} is written", soft_wrap=True)


@app.command()
def simulate(
    network: NetworkArgument,
    dataset: DatasetOption = None,
    limit: LimitOption = None,
    frames: InputOption = None,
    output: OutputOption = None,
    board: BoardOption = "ulx3s-85f",
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
    stall: Annotated[
        float, typer.Option("--stall", min=0, max=0.95, help="Probability of waits on both sides.")
    ] = 0.0,
) -> None:
    """Run frames through the RTL, and compare every score with the golden model's."""
    from xnorflow.hw.generate import generate as generate_files
    from xnorflow.sim.simulate import compile_accelerator, first_difference
    from xnorflow.sim.simulate import simulate as run_simulation
    from xnorflow.sw.golden import golden

    loaded = _network(network)
    images, labels = _frames(loaded, dataset, limit, frames)
    design = _design(loaded, board, cycles, fps, fastest, single_buffered)
    expected = golden(loaded, images)
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as folder:
        with console.status("writing Verilog and compiling it; the first time takes a minute …"):
            generate_files(design, folder)
            compile_accelerator(folder)
        with _bar("simulating", len(images)) as advance:
            result = run_simulation(folder, images, progress=advance, stall=stall)
    console.print(
        f"{len(images)} frames in {result.seconds:.1f} s, {result.frames_per_second:,.0f} a second"
    )
    _report_results(result.labels, result.scores, labels, output)
    difference = first_difference(result, expected.labels.numpy(), expected.scores.numpy())
    if difference is not None:
        raise ToolError(f"RTL and golden model differ: {difference}")
    console.print(f"{len(images)} frames compared with the golden model: all scores are equal")
    if not stall:
        _report_cycles(design, result.cycles_per_frame, result.latency)


@app.command()
def build(
    network: NetworkArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    board: BoardOption,
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
    clock: Annotated[
        float | None,
        typer.Option("--clock", min=0.1, max=1000, help="MHz, if not the board's usual."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of place and route.")] = 1,
) -> None:
    """Build a bitstream: the accelerator, and the link to the host."""
    from xnorflow.boards.build import Stage
    from xnorflow.boards.build import build as run_build
    from xnorflow.boards.targets import find_target

    hertz = None if clock is None else round(clock * 1e6)
    design = _design(_network(network), board, cycles, fps, fastest, single_buffered, hertz)
    console.print(design_table(design))
    with console.status("building …") as status:

        def show(stage: Stage) -> None:
            status.update(f"{stage.value} …")

        report = run_build(
            design,
            find_target(board),
            out,
            clock=hertz,
            seed=seed,
            progress=show,
        )
    table = Table("", "", show_header=False)
    for cell, usage in report.usage.items():
        table.add_row(cell.value, f"{usage.used:,} of {usage.available:,}")
    table.add_row("clock", f"{report.clock / 1e6:g} MHz, could be {report.fmax / 1e6:.1f} MHz")
    table.add_row("frames a second", f"{report.frames_per_second:,.0f}")
    table.add_row("at the highest clock", f"{report.peak_frames_per_second:,.0f}")
    console.print(table)
    console.print(f"{report.bitstream} is written", soft_wrap=True)


@app.command()
def run(
    network: NetworkArgument,
    port: Annotated[
        str, typer.Option("--port", help="Serial port of a board, or: virtual, a simulated one.")
    ],
    dataset: DatasetOption = None,
    limit: LimitOption = None,
    frames: InputOption = None,
    output: OutputOption = None,
) -> None:
    """Send frames to a board that has the network's bitstream, and compare with golden."""
    from xnorflow.boards.host import Board
    from xnorflow.sw.golden import golden

    loaded = _network(network)
    images, labels = _frames(loaded, dataset, limit, frames)
    # A simulated board takes as long as it takes.
    timeout = 60.0 if port == VIRTUAL else 2.0
    with _port(loaded, port) as opened, Board(opened, timeout=timeout) as board:
        board.check(loaded)
        with _bar("classifying", len(images)) as advance:
            results = board.classify(images, progress=lambda done: advance(done, len(images)))
    console.print(
        f"{len(images)} frames, {results.cycles.max()} cycles from the last word to the result, "
        f"{board.retries} retries"
    )
    _report_results(results.labels, results.scores, labels, output)
    differing = (results.scores != golden(loaded, images).scores.numpy()).any(axis=1).sum()
    if differing:
        raise LinkError(f"{differing} of {len(images)} frames differ from the golden model")
    console.print("all scores are those of the golden model")


@app.command()
def boards() -> None:
    """List the boards, and what their FPGAs have."""
    from xnorflow.boards.targets import TARGETS

    table = Table("name", "board", "FPGA", "LUTs", "block RAMs", "multipliers", "clock")
    for target in TARGETS:
        device = target.device
        table.add_row(
            target.name,
            target.title,
            device.name,
            f"{device.luts:,}",
            f"{device.block_rams} × {device.block_ram_bits / 1024:g} kbit",
            str(device.multipliers),
            f"{target.clock / 1e6:g} MHz",
        )
    console.print(table)


def _report_cycles(design: "Design", cycles: int | None, latency: int) -> None:
    """Say whether the measured cycles are the predicted ones; they must be."""
    measured = [("latency", latency, design.latency, design.latency_is_exact)]
    if cycles is not None:
        measured.append(("cycles a frame", cycles, design.cycles_per_frame, True))
    for what, found, predicted, exact in measured:
        console.print(f"{what}: {found}, predicted {'' if exact else 'at least '}{predicted}")
        if found < predicted or (exact and found != predicted):
            raise ToolError(f"the simulated {what} is not the predicted one")


# -- shared ---------------------------------------------------------------------------------------


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise DataError(f"hidden layers must be widths such as 96,64,64, not {text!r}") from None


def _network(text: str) -> Network:
    """Load a network from a file, or from the zoo."""
    from xnorflow.xnf import load

    if not text.startswith("zoo:"):
        return load(text)
    folder = Path(__file__).parent / "zoo"
    path = folder / f"{text.removeprefix('zoo:')}.xnf"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.xnf")))
        raise DataError(f"the zoo has no {path.stem!r}: choose from {names}")
    return load(path)


def _frames(
    network: Network, dataset: str | None, limit: int | None, source: Path | None
) -> "tuple[NDArray[Any], NDArray[Any] | None]":
    """Frames of a data set with their labels, or those of a file without any."""
    from xnorflow.frames import check_frames

    if (dataset is None) == (source is None):
        raise DataError("give either --dataset or --input")
    if dataset is not None:
        data = _load(dataset)
        return (
            check_frames(data.test_images.numpy(), network.input)[:limit],
            data.test_labels.numpy()[:limit],
        )
    assert source is not None
    try:
        with source.open("rb") as file:
            frames = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from None
    except (ValueError, EOFError, SyntaxError, TokenError, MemoryError):
        raise DataError(f"{source} is not a .npy file of plain numbers") from None
    frames = check_frames(frames, network.input)[:limit]
    if not len(frames):
        raise DataError(f"{source} has no frames")
    return frames, None


def _report_results(
    labels: "NDArray[Any]",
    scores: "NDArray[Any]",
    expected: "NDArray[Any] | None",
    output: Path | None,
) -> None:
    if expected is not None:
        right = int((labels == expected).sum())
        console.print(f"accuracy: {right / len(labels):.2%} ({right} of {len(labels)})")
    if output is not None:
        buffer = io.BytesIO()
        np.save(buffer, scores)
        write_atomically(output, buffer.getvalue())
        console.print(f"scores are in {output}", soft_wrap=True)
    elif expected is None:
        for number, (label, row) in enumerate(zip(labels, scores, strict=True)):
            console.print(f"frame {number}: label {label}, scores {row.tolist()}")


def _design(
    network: Network,
    board: str,
    cycles: int | None,
    fps: float | None,
    fastest: bool,
    single_buffered: bool = False,
    clock: int | None = None,
) -> "Design":
    """Fold a network for a board, at the rate that the options ask for."""
    from xnorflow.boards.targets import find_target
    from xnorflow.hw.folding import fold, fold_fastest
    from xnorflow.hw.steps import is_dense

    target = find_target(board)
    device = target.device
    if (cycles is not None) + (fps is not None) + fastest > 1:
        raise DesignError("give only one of --cycles, --fps and --fastest")
    if fastest:
        return fold_fastest(network, device, single_buffered=single_buffered)
    if fps is not None:
        clock = target.clock if clock is None else clock
        if fps <= 0 or clock < fps:
            raise DesignError(
                f"frames a second must be more than 0 and at most the clock, {clock}, not {fps:g}"
            )
        return fold(network, device, cycles=int(clock / fps), single_buffered=single_buffered)
    if cycles is not None:
        return fold(network, device, cycles=cycles, single_buffered=single_buffered)
    dense = all(
        is_dense(node, network.maps[node.source])
        for node in network.nodes
        if isinstance(node, BinaryConv | IntegerConv)
    )
    usual = network.input.size if dense else target.clock // 1000
    try:
        return fold(network, device, cycles=usual, single_buffered=single_buffered)
    except DesignError:
        return fold_fastest(network, device, single_buffered=single_buffered)


def _load(dataset: str) -> "ImageData":
    from xnorflow.sw.data import Dataset, load
    from xnorflow.sw.start import choice

    return load(choice(Dataset, dataset, "data set"))


def _labels(dataset: str) -> tuple[str, ...] | None:
    """Names of the classes of a data set that is known."""
    from xnorflow.sw.data import Dataset

    return next((known.classes for known in Dataset if known.value == dataset), None)


@contextmanager
def _port(network: Network, port: str) -> Iterator[str]:
    """Path of a serial port; of a simulated board's pseudo-terminal for ``virtual``."""
    if port != VIRTUAL:
        yield port
        return
    from xnorflow.boards.host import BAUD
    from xnorflow.boards.link import LinkTop
    from xnorflow.boards.targets import ICEBREAKER
    from xnorflow.sim.virtual_board import virtual_board

    clock, divisor = ICEBREAKER.clock, ICEBREAKER.clock // BAUD
    design = _design(network, ICEBREAKER.name, None, None, fastest=False)
    console.print("compiling the board; the first time takes a minute …")
    with virtual_board(LinkTop(design, clock=clock, divisor=divisor), divisor=divisor) as path:
        yield path


@contextmanager
def _bar(what: str, total: int) -> "Iterator[Callable[[int, int], None]]":
    """Progress bar; gives a function of the number done and of all."""
    with Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, all_: bar.update(task, completed=done, total=all_)


def main() -> None:
    """Run the command line; a user's error becomes one sentence and exit code 1."""
    try:
        app()
    except XnorflowError as error:
        text = Text.assemble(("error:", "bold red"), " ", str(error))
        Console(stderr=True).print(text, soft_wrap=True)
        sys.exit(1)
