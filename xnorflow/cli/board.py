"""Commands for boards: which there are, and frames for one that is plugged in, or simulated."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from xnorflow.boards.line import BAUD
from xnorflow.cache import redirect_tools
from xnorflow.cli.bitstream import build_for
from xnorflow.cli.options import (
    BaudOption,
    DataOption,
    InputOption,
    LabelsOption,
    LimitOption,
    NetworkArgument,
    OutputOption,
)
from xnorflow.cli.shared import bar, console, load_frames, load_network, report_results
from xnorflow.errors import LinkError
from xnorflow.files import check_output


if TYPE_CHECKING:
    from xnorflow.ir import Network


__all__ = ["boards", "flash", "load", "run"]

VIRTUAL = "virtual"
"""Port of the simulated board."""
AUTO = "auto"
"""Port that is looked for."""


def run(
    network: NetworkArgument,
    port: Annotated[
        str,
        typer.Option(
            "--port",
            help="Serial port of a board; auto, to find it; or virtual, for a simulated board.",
        ),
    ],
    data: DataOption = None,
    limit: LimitOption = None,
    frames: InputOption = None,
    labels: LabelsOption = None,
    output: OutputOption = None,
    baud: BaudOption = BAUD,
) -> None:
    """Send frames to a board that has the network's bitstream, and compare with golden."""
    from xnorflow.boards.host import Board
    from xnorflow.sw.golden import golden

    loaded = load_network(network)
    if output is not None:
        check_output(output)
    images, truth = load_frames(loaded, data, limit, frames, labels)
    # A simulated board takes as long as it takes, and its line has no rate.
    timeout, rate = (60.0, None) if port == VIRTUAL else (2.0, baud)
    with _port(loaded, port, baud) as opened, Board(opened, baud=rate, timeout=timeout) as board:
        board.check(loaded)
        with bar("classifying", len(images)) as advance:
            results = board.classify(images, progress=lambda done: advance(done, len(images)))
    console.print(
        f"{len(images)} frames, {results.cycles.max()} cycles from the last word to the result, "
        f"{board.retries} retries"
    )
    report_results(results.labels, results.scores, truth, output, loaded.heads)
    with bar("golden model", len(images)) as advance:
        expected = golden(loaded, images, progress=advance)
    differing = (results.scores != expected.scores.numpy()).any(axis=1).sum()
    if differing:
        raise LinkError(f"{differing} of {len(images)} frames differ from the golden model")
    console.print("all scores are those of the golden model")


def load(
    network: NetworkArgument,
    design: Annotated[
        Path,
        typer.Option(
            "--design",
            help="Folder of `xnorflow build --weights runtime` whose bitstream the board has.",
        ),
    ],
    port: Annotated[
        str, typer.Option("--port", help="Serial port of a board; auto, to find it.")
    ] = AUTO,
    baud: BaudOption = BAUD,
) -> None:
    """Load another network of the same shape into a board, without a new bitstream."""
    from xnorflow.boards.host import Board
    from xnorflow.hw.compile.kept import kept_design
    from xnorflow.hw.compile.weights import load_image

    loaded = load_network(network)
    with console.status("planning the board's design …"):
        image = load_image(kept_design(design), loaded)
    with Board(_found(baud) if port == AUTO else port, baud=baud) as board:
        board.load(image)
    console.print(f"{loaded.name} is loaded: {len(image):,} bytes, {board.retries} retries")


def boards() -> None:
    """List the boards, and what their FPGAs have."""
    from xnorflow.boards.targets import TARGETS

    table = Table()
    # What one must type is never cut, however narrow the terminal is.
    table.add_column("name", no_wrap=True)
    for head in ("FPGA", "LUTs", "BRAMs", "DSPs", "clock"):
        table.add_column(head)
    for target in TARGETS:
        device = target.device
        table.add_row(
            target.name,
            device.name,
            f"{device.luts:,}",
            f"{device.block_rams}×{device.block_ram_bits / 1024:g}k",
            str(device.multipliers),
            f"{target.clock / 1e6:g} MHz",
        )
    console.print(table)


def flash(
    bitstream: Annotated[
        str,
        typer.Argument(help="A bitstream, or a network, whose bitstream is built first."),
    ],
    board: Annotated[
        str, typer.Option("--board", help="One of `xnorflow boards`, or my_board.py:MyBoard.")
    ],
    cable: Annotated[
        str | None,
        typer.Option("--cable", help="Programming cable, as openFPGALoader calls it."),
    ] = None,
    permanent: Annotated[
        bool, typer.Option("--permanent", help="Into the flash memory, for the next power-on.")
    ] = False,
) -> None:
    """Load a bitstream onto a board."""
    from xnorflow.boards.flash import find_loader
    from xnorflow.boards.flash import flash as run_flash
    from xnorflow.boards.targets import find_target

    target = find_target(board)
    find_loader(target, cable)  # what is missing is said before anything is built
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as folder:
        path = Path(bitstream)
        if bitstream.startswith("zoo:") or path.suffix == ".xnf":
            kept = "nothing is kept"
            path = build_for(bitstream, target, Path(folder), kept=kept)
        with console.status("loading …"):
            run_flash(path, target, cable=cable, permanent=permanent)
    console.print(f"the {target.title} is loaded")
    if target.wiring:
        console.print(f"to talk to it: {target.wiring}", soft_wrap=True)


def _found(baud: int) -> str:
    from xnorflow.boards.ports import find_port

    with console.status("looking for the board …"):
        port = find_port(baud)
    console.print(f"the board is at {port}")
    return port


@contextmanager
def _port(network: "Network", port: str, baud: int) -> Iterator[str]:
    """Path of a serial port; of a simulated board's pseudo-terminal for ``virtual``."""
    if port != VIRTUAL:
        yield _found(baud) if port == AUTO else port
        return
    from xnorflow.boards.link import LinkTop
    from xnorflow.boards.plan import smallest_design
    from xnorflow.boards.targets import ICEBREAKER
    from xnorflow.sim.virtual_board import virtual_board

    # The fewer cycles a bit takes, the sooner it is simulated.
    clock, divisor = ICEBREAKER.clock, ICEBREAKER.clock // BAUD
    redirect_tools()
    with console.status("folding …"):
        design = smallest_design(network)
    console.print(f"compiling the board, an {design.device.name}; the first time takes a minute …")
    with virtual_board(LinkTop(design, clock=clock, divisor=divisor), divisor=divisor) as path:
        yield path
