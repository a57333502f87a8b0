"""Commands for hardware: its plan, Verilog, simulation and bitstreams."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xnorflow.cache import redirect_tools
from xnorflow.cli.interrupted import on_interrupt
from xnorflow.cli.options import (
    AllOption,
    AxiWidthOption,
    BoardOption,
    ClockOption,
    CyclesOption,
    DataOption,
    DeviceOption,
    FastestOption,
    InputOption,
    LabelsOption,
    LimitOption,
    NetworkArgument,
    OutputOption,
    PacketsOption,
    RateOption,
    RecomputeOption,
    ReportOption,
    ResetOption,
    SchedulerOption,
    SingleOption,
    WeightsArgument,
    WeightsOption,
    WorkersOption,
)
from xnorflow.cli.report import facts_of, write_report
from xnorflow.cli.shared import (
    bar,
    choose_design,
    console,
    in_hertz,
    load_frames,
    load_network,
    report_results,
)
from xnorflow.cli.simulating import check_all, kept_by, report_cycles, run_frames, shared_by
from xnorflow.errors import ToolError
from xnorflow.files import check_output
from xnorflow.hw.compile.ports import AxiPorts, ResetPort
from xnorflow.hw.compile.weights_mode import WeightsMode
from xnorflow.hw.streams.packets import FramesPerPacket


if TYPE_CHECKING:
    from xnorflow.hw.compile.design import Design


__all__ = ["generate", "plan", "simulate"]


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
    design = choose_design(
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
    hertz = place.clock if clock is None else in_hertz(clock)
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
    design = choose_design(
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
    design = choose_design(
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


def _with_packets(design: "Design", frames_per_packet: FramesPerPacket) -> "Design":
    """The design for other packets: a new one, if they are others."""
    if design.frames_per_packet is frames_per_packet:
        return design
    return replace(design, frames_per_packet=frames_per_packet)
