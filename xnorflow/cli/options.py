"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from xnorflow.boards.line import Line
from xnorflow.hw.compile.ports import ResetPort
from xnorflow.hw.compile.weights_mode import WeightsMode
from xnorflow.hw.streams.packets import FramesPerPacket


__all__ = [
    "AllOption",
    "AxiWidthOption",
    "BaudOption",
    "BoardOption",
    "ClockOption",
    "CyclesOption",
    "DataOption",
    "DeviceOption",
    "FastestOption",
    "InputOption",
    "LabelsOption",
    "LimitOption",
    "LineOption",
    "NetworkArgument",
    "OutputOption",
    "PacketsOption",
    "RateOption",
    "RecomputeOption",
    "ReportOption",
    "ResetOption",
    "SchedulerOption",
    "SeedsOption",
    "SingleOption",
    "ThreadsOption",
    "WeightsArgument",
    "WeightsOption",
    "WorkersOption",
]

NetworkArgument = Annotated[
    str,
    typer.Argument(
        help="A .xnf file, zoo:NAME for a network that ships with xnorflow, a trained model of "
        "`xnorflow train` (.safetensors), or a module of your "
        "own, my_model.py:MyNet, followed by its weights."
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Labelled data: mnist, fashion-mnist, cifar10, a folder with a folder of images for "
        "each class, an .npz file (x_train, y_train, x_test, y_test), or an .npy file with "
        "--labels.",
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", help="Labels of the frames of an .npy file: another .npy file."),
]
WeightsArgument = Annotated[
    Path | None,
    typer.Argument(help="Trained weights of a module of your own, from `xnorflow train`."),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first so many frames.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All frames, as without --limit.")]
InputOption = Annotated[
    Path | None, typer.Option("--input", help="Raw frames: a .npy file of integers, N×H×W×C.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", help="Write the scores here: a .npy file, N×classes.")
]
BoardOption = Annotated[
    str | None,
    typer.Option(
        "--board",
        help="Board whose FPGA sets the budget, ulx3s-85f if none is given: one of `xnorflow "
        "boards`, or one of your own, my_board.py:MyBoard.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", help="An FPGA without a board: its name or part number, as iCE40HX8K."
    ),
]
CyclesOption = Annotated[
    int | None, typer.Option("--cycles", min=1, help="Most clock cycles a frame.")
]
RateOption = Annotated[
    float | None, typer.Option("--fps", help="Least frames a second, at the clock.")
]
ClockOption = Annotated[
    float | None,
    typer.Option("--clock", min=0.1, max=1000, help="MHz, if not the board's usual."),
]
FastestOption = Annotated[bool, typer.Option("--fastest", help="As fast as fits the board's FPGA.")]
SingleOption = Annotated[
    bool,
    typer.Option(
        "--single-buffered",
        help="Buffers of one frame for dynamic thresholds: the least memory, at the cost of "
        "cycles.",
    ),
]
RecomputeOption = Annotated[
    bool,
    typer.Option(
        "--recompute",
        help="Compute every second map twice that would wait for dynamic thresholds: half of the "
        "buffers, at less than half of the rate.",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Add what comes out to the report in this folder."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Frames in parallel; usually as many as cores."),
]
PacketsOption = Annotated[
    FramesPerPacket,
    typer.Option(
        "--frames-per-packet",
        help="What TLAST ends: one frame, or a packet of any whole number of frames.",
    ),
]
AxiWidthOption = Annotated[
    int | None,
    typer.Option(
        "--axi-width",
        help="Bits of TDATA of both AXI4-Streams, 32 for instance, which then have TKEEP. Without "
        "it, a transfer is a word of the accelerator, and a whole result.",
    ),
]
ResetOption = Annotated[
    ResetPort,
    typer.Option(
        "--reset", help="Name of the reset: rst, active high, or aresetn, active low, with aclk."
    ),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, help="Of place and route: the fastest of so many is kept.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler", help="Address of a Dask scheduler whose workers do it, tcp://host:8786."
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that share the work; more than one need Dask.",
    ),
]
BaudOption = Annotated[
    int,
    typer.Option(
        "--baud",
        min=1,
        help="Bits per second on the serial line, up to 3000000 with a clock of 12 MHz or more; as "
        "the bitstream was built.",
    ),
]
LineOption = Annotated[
    Line,
    typer.Option("--link", help="What leads to the host: a UART, or SPI for a microcontroller."),
]
WeightsOption = Annotated[
    WeightsMode,
    typer.Option(
        "--weights",
        help="Whether weights and thresholds are fixed, or others can be loaded at run time.",
    ),
]
