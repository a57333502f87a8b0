"""Commands for hardware: its plan, Verilog, simulation and bitstreams."""

import os
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from xnorflow.boards.line import BAUD, Line
from xnorflow.cache import redirect_tools
from xnorflow.cli.interrupted import on_interrupt
from xnorflow.cli.options import (
    AllOption,
    AxiWidthOption,
    BaudOption,
    BoardOption,
    ClockOption,
    CyclesOption,
    DataOption,
    DeviceOption,
    FastestOption,
    InputOption,
    LabelsOption,
    LimitOption,
    LineOption,
    NetworkArgument,
    OutputOption,
    PacketsOption,
    RateOption,
    RecomputeOption,
    ReportOption,
    ResetOption,
    SchedulerOption,
    SeedsOption,
    SingleOption,
    WeightsArgument,
    WeightsOption,
    WorkersOption,
)
from xnorflow.cli.report import facts_of, write_report
from xnorflow.cli.shared import bar, console, load_frames, load_network, report_results, stages
from xnorflow.cli.simulating import check_all, kept_by, report_cycles, run_frames, shared_by
from xnorflow.errors import ToolError
from xnorflow.files import check_output
from xnorflow.hw.compile.ports import AxiPorts, ResetPort
from xnorflow.hw.families.device import WeightsMode
from xnorflow.hw.streams.packets import FramesPerPacket


if TYPE_CHECKING:
    from xnorflow.boards.targets import Target
    from xnorflow.hw.compile.design import Design
    from xnorflow.hw.families.device import Device
    from xnorflow.ir import Network


__all__ = ["build", "build_for", "generate", "plan", "simulate"]


def plan(
    network: NetworkArgument,
    board: BoardOption = None,
    device: DeviceOption = None,
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
    recompute: RecomputeOption = False,
    weights: WeightsOption = WeightsMode.FIXED,
    clock: ClockOption = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="A line for every part of the pipeline.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="What binds, by layer, and what a step faster would cost."),
    ] = False,
    out: ReportOption = None,
) -> None:
    """Show how a network would be folded, and what it would cost; nothing is generated.

    A layer's line counts all that is built up to the next layer. The link to the host, which
    `build` adds, is counted separately. Without a rate, the design is the one that `build` would
    choose.
    """
    from xnorflow.boards.plan import link_resources
    from xnorflow.boards.targets import find_place
    from xnorflow.hw.compile.fold import FILL, budget_of, fold_faster
    from xnorflow.tables import explain_table, plan_table

    place = find_place(board, device)
    design = _choose(
        load_network(network),
        place,
        cycles=cycles,
        fps=fps,
        fastest=fastest,
        runtime_weights=weights is WeightsMode.RUNTIME,
        single_buffered=single_buffered,
        recompute=recompute,
        clock=clock,
        linked=True,
    )
    console.print(plan_table(design, link_resources(design), parts=parts))
    if explain:
        faster = fold_faster(design, beside=link_resources)
        console.print(explain_table(design, faster, budget_of(design.device), link_resources))
    hertz = place.clock if clock is None else _hertz(clock)
    console.print(
        f"{design.cycles_per_frame:,} cycles a frame: {hertz / design.cycles_per_frame:,.0f} "
        f"frames a second at {hertz / 1e6:g} MHz\n"
        f"latency {design.latency:,} cycles; input lanes: {design.input_lanes}\n"
        f"resources are estimates; of the look-up tables, {FILL:.0%} may be used"
    )
    if out is not None:
        write_report(out, "plan", facts_of(design, place, clock))


def generate(
    network: NetworkArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    board: BoardOption = None,
    device: DeviceOption = None,
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
    recompute: RecomputeOption = False,
    weights: WeightsOption = WeightsMode.FIXED,
    clock: ClockOption = None,
    frames_per_packet: PacketsOption = FramesPerPacket.ONE,
    axi_width: AxiWidthOption = None,
    reset: ResetOption = ResetPort.RST,
    split: Annotated[
        bool, typer.Option("--split", help="A file a module, and accelerator.f, which lists them.")
    ] = False,
) -> None:
    """Write Verilog and design.json.

    Without a rate, the design takes one pixel a cycle if all layers are dense, a thousand frames a
    second otherwise, or is as fast as fits the FPGA.
    """
    from xnorflow.boards.targets import find_place
    from xnorflow.hw.compile.emit import generate as generate_files
    from xnorflow.hw.compile.kept import keep_design
    from xnorflow.tables import design_table

    redirect_tools()
    ports = AxiPorts(axi_width, reset)
    place = find_place(board, device)
    design = _choose(
        load_network(network),
        place,
        cycles=cycles,
        fps=fps,
        fastest=fastest,
        runtime_weights=weights is WeightsMode.RUNTIME,
        single_buffered=single_buffered,
        recompute=recompute,
        clock=clock,
    )
    design = _with_packets(design, frames_per_packet)
    with console.status("writing Verilog …"):
        path = generate_files(design, out, ports=ports, split=split)
    keep_design(design, out)
    console.print(design_table(design))
    console.print(f"{path} is written", soft_wrap=True)
    write_report(out, "generate", facts_of(design, place, clock))


def simulate(
    network: NetworkArgument,
    weights: WeightsArgument = None,
    data: DataOption = None,
    limit: LimitOption = None,
    frames: InputOption = None,
    labels: LabelsOption = None,
    output: OutputOption = None,
    board: BoardOption = None,
    device: DeviceOption = None,
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    single_buffered: SingleOption = False,
    recompute: RecomputeOption = False,
    clock: ClockOption = None,
    frames_per_packet: PacketsOption = FramesPerPacket.ONE,
    axi_width: AxiWidthOption = None,
    reset: ResetOption = ResetPort.RST,
    stall: Annotated[
        float, typer.Option("--stall", min=0, max=0.95, help="Probability of waits on both sides.")
    ] = 0.0,
    behavioural: Annotated[
        bool,
        typer.Option("--behavioural", help="Popcounts in behavioural form, for many frames."),
    ] = False,
    all_: AllOption = False,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    out: ReportOption = None,
) -> None:
    """Run frames through the RTL, and compare every score with the golden model's.

    With --workers or --scheduler, processes share the frames, and an interrupted run goes on.
    """
    from xnorflow.boards.targets import find_place
    from xnorflow.hw.compile.emit import generate as generate_files
    from xnorflow.sim.simulate import compile_accelerator, first_difference

    check_all(limit, all_=all_)
    loaded = load_network(network, weights)
    ports = AxiPorts(axi_width, reset, watched=out is not None)  # for the report
    if output is not None:
        check_output(output)
    redirect_tools()
    with console.status("loading PyTorch and the frames …"):
        from xnorflow.sw.golden import golden

        images, truth = load_frames(loaded, data, limit, frames, labels)
    place = find_place(board, device)
    design = _choose(
        loaded,
        place,
        cycles=cycles,
        fps=fps,
        fastest=fastest,
        single_buffered=single_buffered,
        recompute=recompute,
        clock=clock,
    )
    design = _with_packets(design, frames_per_packet)
    with bar("golden model", len(images)) as advance:
        expected = golden(loaded, images, progress=advance)
    shared = shared_by(workers, scheduler)
    with (
        tempfile.TemporaryDirectory(prefix="xnorflow-") as folder,
        on_interrupt(lambda: kept_by(shared)),
    ):
        with console.status("writing Verilog and compiling it; the first time takes a minute …"):
            generate_files(design, folder, behavioural=behavioural, ports=ports)
            compile_accelerator(folder)
        result = run_frames(folder, images, stall=stall, workers=shared)
    form = "in behavioural form" if behavioural else "as they are built"
    console.print(
        f"{len(images)} frames in {result.seconds:.1f} s, {result.frames_per_second:,.0f} a "
        f"second; popcounts are simulated {form}"
    )
    report_results(result.labels, result.scores, truth, output, loaded.heads)
    wanted = None if expected.labels is None else expected.labels.numpy()
    difference = first_difference(result, wanted, expected.scores.numpy())
    if difference is not None:
        raise ToolError(f"RTL and golden model differ: {difference}")
    console.print(f"{len(images)} frames compared with the golden model: all scores are equal")
    if not stall:
        from xnorflow.hw.compile.axi import result_timing

        report_cycles(
            result_timing(design, ports),
            result.cycles_per_frame,
            result.latency,
            exact=design.latency_is_exact,
        )
    if out is not None:
        from xnorflow.report.gather import simulation_facts

        simulation = simulation_facts(design, result, truth, stall=stall, behavioural=behavioural)
        write_report(out, "simulate", facts_of(design, place, clock), simulation=simulation)


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
    design = _choose(load_network(network), target, clock=clock, linked=True, **rate)
    console.print(design_table(design))
    with on_interrupt(lambda: f"there is no bitstream, and {kept}"), stages() as begin:

        def show(stage: Stage) -> None:
            begin(stage.value)

        report = run_build(
            design,
            target,
            out,
            clock=None if clock is None else _hertz(clock),
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


def _with_packets(design: "Design", frames_per_packet: FramesPerPacket) -> "Design":
    """The design for other packets: a new one, if they are others."""
    if design.frames_per_packet is frames_per_packet:
        return design
    return replace(design, frames_per_packet=frames_per_packet)


def _choose(
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
        hertz = None if clock is None else _hertz(clock)
        return choose_for(network, place, clock=hertz, linked=linked, **rate)


def _hertz(clock: float) -> int:
    """Frequency in Hz of one in MHz."""
    return round(clock * 1e6)
