"""The command that builds a bitstream."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from xnorflow.boards.line import BAUD, Line
from xnorflow.cache import redirect_tools
from xnorflow.cli.interrupted import on_interrupt
from xnorflow.cli.options import (
    BaudOption,
    ClockOption,
    CyclesOption,
    FastestOption,
    LineOption,
    NetworkArgument,
    RateOption,
    RecomputeOption,
    SeedsOption,
    SingleOption,
    WeightsOption,
)
from xnorflow.cli.report import facts_of, write_report
from xnorflow.cli.shared import choose_design, console, in_hertz, load_network, stages
from xnorflow.hw.compile.weights_mode import WeightsMode


if TYPE_CHECKING:
    from xnorflow.boards.targets import Target


__all__ = ["build", "build_for"]


def build(
    network: NetworkArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    board: Annotated[
        str,
        typer.Option("--board", help="One of `xnorflow boards`, or my_board.py:MyBoard."),
    ],
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
    recompute: RecomputeOption = False,
    weights: WeightsOption = WeightsMode.FIXED,
    clock: ClockOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of place and route.")] = 1,
    seeds: SeedsOption = 1,
    link: LineOption = Line.UART,
    baud: BaudOption = BAUD,
) -> None:
    """Build a bitstream: the accelerator, and the link to the host.

    Of several seeds, from --seed on, the fastest is kept; as many are at work at once as there are
    cores.
    """
    from xnorflow.boards.targets import find_target

    target = find_target(board)
    bitstream = build_for(
        network,
        target,
        out,
        kept=f"the tools' files so far are in {out}; the same command starts again",
        clock=clock,
        seed=seed,
        seeds=seeds,
        reported=True,
        line=link,
        baud=baud,
        cycles=cycles,
        fps=fps,
        fastest=fastest,
        runtime_weights=weights is WeightsMode.RUNTIME,
        single_buffered=single_buffered,
        recompute=recompute,
    )
    console.print(f"{bitstream} is written; to load it:", soft_wrap=True)
    command = ["xnorflow", "flash", str(bitstream), "--board", board]
    console.print(f"  {target.loading or shlex.join(command)}", soft_wrap=True)
    if target.wiring and link is Line.UART:
        console.print(f"to talk to it: {target.wiring}", soft_wrap=True)


def build_for(
    network: str,
    target: "Target",
    out: Path,
    *,
    kept: str,
    clock: float | None = None,
    seed: int = 1,
    seeds: int = 1,
    reported: bool = False,
    line: Line = Line.UART,
    baud: int = BAUD,
    **rate: Any,
) -> Path:
    """Build a bitstream for a board, and show what it takes; ``kept`` is, if it is interrupted.

    If it is to be ``reported``, what it takes goes into the report of the folder, too.
    """
    from xnorflow.boards.build import Stage
    from xnorflow.boards.build import build as run_build
    from xnorflow.boards.top import highest_serial_clock
    from xnorflow.hw.compile.kept import keep_design
    from xnorflow.tables import design_table

    redirect_tools()
    design = choose_design(load_network(network), target, clock=clock, linked=True, **rate)
    console.print(design_table(design))
    with on_interrupt(lambda: f"there is no bitstream, and {kept}"), stages() as begin:

        def show(stage: Stage) -> None:
            begin(stage.value)

        report = run_build(
            design,
            target,
            out,
            clock=None if clock is None else in_hertz(clock),
            seed=seed,
            seeds=seeds,
            workers=os.cpu_count() or 1,
            line=line,
            baud=baud,
            progress=show,
        )
    keep_design(design, out)
    table = Table("", "", show_header=False)
    for cell, usage in report.usage.items():
        table.add_row(cell.value, f"{usage.used:,} of {usage.available:,}")
    guessed = "" if target.device.family.fmax_margin == 1 else ", by delays that are partly guesses"
    fastest = f"{report.timing.fmax / 1e6:.1f} MHz{guessed}"
    table.add_row("clock", f"{report.clock / 1e6:g} MHz, could be {fastest}")
    if seeds > 1:
        found = ", ".join(f"{each.seed}: {each.timing.fmax / 1e6:.1f}" for each in report.seeds)
        table.add_row("MHz by seed", found)
    if report.timing.critical_path is not None:
        table.add_row("critical path", str(report.timing.critical_path))
    table.add_row("frames a second", f"{report.frames_per_second:,.0f}")
    table.add_row("at the highest clock", f"{report.peak_frames_per_second:,.0f}")
    if line is Line.SPI:
        highest = highest_serial_clock(design, report.clock)
        table.add_row("SPI clock", f"up to {highest / 1e6:g} MHz")
    console.print(table)
    if reported:
        from xnorflow.report.placement import build_facts

        facts = facts_of(design, target, clock)
        built = build_facts(report, facts.layers, seed=report.seeds[0].seed)
        write_report(out, "build", facts, build=built)
    return report.bitstream
