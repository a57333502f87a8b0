"""From nothing to a bitstream: what `make demo` runs.

Fetches MNIST, trains a small binary MLP, lowers it to integers, generates an accelerator for the
iCEBreaker, simulates it bit for bit, places and routes it. Everything lands in build/demo; an
interrupted run goes on where it stopped.
"""

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from xnorflow.boards.build import build
from xnorflow.boards.report import Cell
from xnorflow.boards.targets import ICEBREAKER
from xnorflow.errors import LoweringError, ToolError, XnorflowError
from xnorflow.hw.folding import fold
from xnorflow.hw.generate import generate
from xnorflow.sim.simulate import compile_accelerator, first_difference, simulate
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset, fetch, load
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models import Named
from xnorflow.sw.recipes import DEMO
from xnorflow.sw.train import MODEL_FILE, train
from xnorflow.xnf import save


FOLDER = Path("build/demo")
CYCLES = 784  # a pixel a cycle
SIMULATED = 1000  # test images through the RTL


def main() -> None:
    """Go the whole road."""
    console = Console(highlight=False)
    begin = time.perf_counter()

    console.rule("1. data")
    fetch(Dataset.MNIST)
    data = load(Dataset.MNIST)
    console.print(
        f"MNIST: {len(data.train_images):,} training, {len(data.test_images):,} test images"
    )

    console.rule("2. training")
    model_file = FOLDER / MODEL_FILE
    if model_file.exists():
        console.print(f"{model_file} is there already")
        checkpoint = load_checkpoint(model_file)
    else:
        checkpoint = train(Named.TFC.config(), DEMO, data, FOLDER, progress=True)

    console.rule("3. integers")
    network = lower(
        checkpoint.model, name="demo", labels=data.classes, provenance=checkpoint.provenance
    )
    save(network, FOLDER / "demo.xnf")
    comparison = compare(checkpoint.model, network, data.test_images)
    console.print(str(comparison))
    if comparison.differing:
        raise LoweringError("the integer network is not what was trained")
    expected = golden(network, data.test_images)
    accuracy = float((expected.labels == data.test_labels).double().mean())

    console.rule("4. hardware")
    design = fold(network, ICEBREAKER.device, cycles=CYCLES)
    verilog = generate(design, FOLDER / "rtl")
    console.print(f"{verilog}: {len(verilog.read_text().splitlines()):,} lines")

    console.rule("5. simulation")
    console.print("compiling the RTL with Verilator …")
    compile_accelerator(FOLDER / "rtl", cache=FOLDER / "simulation")
    images = data.test_images[:SIMULATED].numpy()
    with Progress(
        TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task("simulating", total=SIMULATED)
        result = simulate(
            FOLDER / "rtl",
            images,
            cache=FOLDER / "simulation",
            progress=lambda done, _: bar.update(task, completed=done),
        )
    difference = first_difference(
        result, expected.labels[:SIMULATED].numpy(), expected.scores[:SIMULATED].numpy()
    )
    if difference:
        raise ToolError(f"RTL and golden model differ: {difference}")
    measured = result.cycles_per_frame, result.latency
    if measured != (design.cycles_per_frame, design.latency):
        raise ToolError("the simulated cycles are not the predicted ones")
    console.print(f"{SIMULATED:,} frames compared with the golden model: all scores are equal")

    console.rule("6. bitstream")
    with console.status("") as status:
        report = build(
            design,
            ICEBREAKER,
            FOLDER / "icebreaker",
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
        ("highest clock", f"{report.fmax / 1e6:.1f} MHz"),
        ("frames a second", f"{report.frames_per_second:,.0f} at {report.clock / 1e6:g} MHz"),
        ("time", f"{(time.perf_counter() - begin) / 60:.1f} minutes"),
        ("network", str(FOLDER / "demo.xnf")),
        ("Verilog", str(verilog)),
    ):
        table.add_row(what, value)
    console.print(table)
    console.print(f"The bitstream is {report.bitstream}")


if __name__ == "__main__":
    try:
        main()
    except XnorflowError as error:
        sys.exit(f"error: {error}")
