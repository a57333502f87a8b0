"""From nothing to a bitstream: what `make demo` and `make demo-conv` run.

    python examples/demo.py         # a perceptron
    python examples/demo.py conv    # three convolutions

Fetches MNIST, trains a small binary network, lowers it to integers, generates an accelerator for
the iCEBreaker, simulates it bit for bit, places and routes it. Everything lands in build/; an
interrupted run goes on where it stopped.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from xnorflow.boards.build import build
from xnorflow.boards.plan import link_resources
from xnorflow.boards.targets import ICEBREAKER
from xnorflow.cache import redirect_tools
from xnorflow.errors import LoweringError, ToolError, XnorflowError
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.device import Cell
from xnorflow.ir.xnf import save
from xnorflow.sim.simulate import compile_accelerator, first_difference, simulate
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset, fetch, load
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.recipes import DEMO, DEMO_CONV, Recipe
from xnorflow.sw.start import task_of
from xnorflow.sw.train import MODEL_FILE, train


@dataclass(frozen=True)
class Demo:
    """A network, and how it is shown: cycles a frame, and test images through the RTL."""

    model: str
    recipe: Recipe
    folder: Path
    cycles: int
    simulated: int


DEMOS = {
    "mlp": Demo("tfc", DEMO, Path("build/demo"), 784, 1000),  # a pixel a cycle
    "conv": Demo("conv-s", DEMO_CONV, Path("build/demo-conv"), 28_800, 100),
}


def main(demo: Demo) -> None:
    """Go the whole road."""
    console = Console(highlight=False)
    begin = time.perf_counter()
    folder, simulated = demo.folder, demo.simulated

    console.rule("1. data")
    fetch(Dataset.MNIST)
    data = load(Dataset.MNIST)
    console.print(
        f"MNIST: {len(data.train_images):,} training, {len(data.test_images):,} test images"
    )

    console.rule("2. training")
    model_file = folder / MODEL_FILE
    if model_file.exists():
        console.print(f"{model_file} is there already; remove it to train again")
        checkpoint = load_checkpoint(model_file)
    else:
        checkpoint = train(
            ModelSpec(demo.model, task_of(data)), demo.recipe, data, folder, progress=True
        )

    console.rule("3. integers")
    network = lower(
        checkpoint.model,
        input=checkpoint.frame,
        name="demo",
        labels=data.classes,
        provenance=checkpoint.provenance,
    )
    save(network, folder / "demo.xnf")
    comparison = compare(checkpoint.model, network, data.test_images)
    console.print(str(comparison))
    if comparison.differing:
        raise LoweringError("the integer network is not what was trained")
    expected = golden(network, data.test_images)
    accuracy = float((expected.labels == data.test_labels).double().mean())

    console.rule("4. hardware")
    redirect_tools()
    design = fold(network, ICEBREAKER.device, cycles=demo.cycles, beside=link_resources)
    verilog = generate(design, folder / "rtl")
    console.print(f"{verilog}: {len(verilog.read_text().splitlines()):,} lines")

    console.rule("5. simulation")
    console.print("compiling the RTL with Verilator …")
    compile_accelerator(folder / "rtl", cache=folder / "simulation")
    images = data.test_images[:simulated].numpy()
    with Progress(
        TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task("simulating", total=simulated)
        result = simulate(
            folder / "rtl",
            images,
            cache=folder / "simulation",
            progress=lambda done, _: bar.update(task, completed=done),
        )
    difference = first_difference(
        result, expected.labels[:simulated].numpy(), expected.scores[:simulated].numpy()
    )
    if difference:
        raise ToolError(f"RTL and golden model differ: {difference}")
    if result.cycles_per_frame != design.cycles_per_frame:
        raise ToolError("the simulated cycles are not the predicted ones")
    console.print(f"{simulated:,} frames compared with the golden model: all scores are equal")

    console.rule("6. bitstream")
    with console.status("") as status:
        report = build(
            design,
            ICEBREAKER,
            folder / "icebreaker",
            progress=lambda stage: status.update(f"{stage.value} …"),
        )

    table = Table("", "", show_header=False, title=f"{ICEBREAKER.title}, with the UART link")
    for what, value in (
        ("accuracy, all 10,000 test images", f"{accuracy:.2%}"),
        ("bits that differ from PyTorch", f"{comparison.differing}"),
        ("scores that differ in the RTL", f"0 of {result.scores.size:,}"),
        ("cycles a frame, predicted = simulated", f"{design.cycles_per_frame}"),
        *(
            (cell.value, f"{report.usage[cell].used:,} of {report.usage[cell].available:,}")
            for cell in (Cell.LUT, Cell.BLOCK_RAM)
        ),
        ("highest clock", f"{report.timing.fmax / 1e6:.1f} MHz"),
        ("frames a second", f"{report.frames_per_second:,.0f} at {report.clock / 1e6:g} MHz"),
        ("time", f"{(time.perf_counter() - begin) / 60:.1f} minutes"),
        ("network", str(folder / "demo.xnf")),
        ("Verilog", str(verilog)),
    ):
        table.add_row(what, value)
    console.print(table)
    console.print(f"The bitstream is {report.bitstream}")


if __name__ == "__main__":
    try:
        main(DEMOS[sys.argv[1] if sys.argv[1:] else "mlp"])
    except XnorflowError as error:
        sys.exit(f"error: {error}")
