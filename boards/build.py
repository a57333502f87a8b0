# amaranth: UnusedElaboratable=no
"""From a design to a bitstream: Amaranth, Yosys, nextpnr and the family's packer."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from xnorflow.boards.line import BAUD, Line
from xnorflow.boards.netlist import tidy_netlist
from xnorflow.boards.plan import check_plan
from xnorflow.boards.report import Timing, Usage
from xnorflow.boards.route import REPORT, Placement, Refusal, route, run_tool
from xnorflow.boards.target import Target
from xnorflow.boards.tools import find_tools
from xnorflow.boards.top import BoardTop
from xnorflow.errors import DesignError, ToolError
from xnorflow.files import locked, remove_file
from xnorflow.hw.arithmetic.carry_adders import CarryCells
from xnorflow.hw.compile.design import Design
from xnorflow.hw.families.device import Cell


__all__ = ["PLACED", "BuildReport", "Stage", "build", "place"]

_TOP = "top"
PLACED = f"{_TOP}.pnr.json"
"""Netlist of a build's folder after place and route, with the place of every cell."""


class Stage(Enum):
    """Steps of a build, in this order."""

    ELABORATE = "elaborate"
    SYNTHESISE = "synthesise"
    PLACE_AND_ROUTE = "place and route"
    PACK = "pack"


@dataclass(frozen=True)
class BuildReport:
    """A bitstream, and what the tools say about it.

    Attributes
    ----------
    target : Target
    bitstream : Path
    usage : mapping of Cell to Usage
        Cells taken and available; a look-up table of an iCE40 is a whole logic cell.
    clock : int
        Frequency that the accelerator runs at, in Hz.
    timing : Timing
        How fast it could run, after routing.
    cycles_per_frame : int
    seeds : tuple of Placement
        What was placed and routed, the fastest first: the bitstream is of that one.
    """

    target: Target
    bitstream: Path
    usage: Mapping[Cell, Usage]
    clock: int
    timing: Timing
    cycles_per_frame: int
    seeds: tuple[Placement, ...] = ()

    @property
    def frames_per_second(self) -> float:
        """Frames that the accelerator classifies in a second; the serial line brings fewer."""
        return self.clock / self.cycles_per_frame

    @property
    def peak_frames_per_second(self) -> float:
        """The same at the highest clock."""
        return self.timing.fmax / self.cycles_per_frame


@dataclass(frozen=True)
class _Job:
    """What is to be built, and how."""

    design: Design
    target: Target
    directory: Path
    clock: int
    baud: int
    line: Line
    seeds: Sequence[int]
    workers: int
    begin: Callable[[Stage], None]


def build(
    design: Design,
    target: Target,
    directory: Path,
    *,
    clock: int | None = None,
    baud: int = BAUD,
    line: Line = Line.UART,
    seed: int = 1,
    seeds: int = 1,
    workers: int = 1,
    progress: Callable[[Stage], None] | None = None,
) -> BuildReport:
    """Build the bitstream of a design with its host link.

    Parameters
    ----------
    design : Design
        For ``target.device``.
    target : Target
        The board.
    directory : Path
        Where intermediate files and logs go, and in the end, and only if all went well, the
        bitstream. It is made if it is missing.
    clock : int
        Frequency of the accelerator in Hz, if not the board's usual one.
    baud : int
        Bits per second on a serial line to the host.
    line : Line
        What leads to the host.
    seed : int
        Of nextpnr.
    seeds : int
        How many, from ``seed`` on, the netlist is placed and routed with; the fastest is kept.
    workers : int
        How many of them are at work at once.
    progress : callable
        Called when a stage begins.

    Raises
    ------
    DesignError
        If the design does not fit, or is too slow for the clock, or the clock cannot be made.
    ToolError
        If a tool is missing or fails, or files cannot be written.
    FormatError
        If the folder cannot be made, or another run writes to it.

    Examples
    --------
    >>> from pathlib import Path
    >>> board = xnorflow.find_target("icebreaker")
    >>> design = xnorflow.choose_for(network, board)  # doctest: +SKIP
    >>> xnorflow.build(design, board, Path("out"))  # doctest: +SKIP
    """
    clock = target.clock if clock is None else clock
    bitstream = directory / f"{target.name}.{target.device.family.suffix}"
    job = _Job(
        design, target, directory, clock, baud, line, range(seed, seed + seeds), workers,
        progress or (lambda _: None),
    )  # fmt: skip
    check_plan(design, target)
    with locked(directory):
        remove_file(bitstream)
        plan = _elaborate(job)
        with _explained(directory):
            placements = _make(job, plan, bitstream)
    best = placements[0]
    return BuildReport(
        target, bitstream, best.usage, clock, best.timing, design.cycles_per_frame,
        tuple(placements),
    )  # fmt: skip


def place(
    design: Design,
    target: Target,
    directory: Path,
    *,
    clock: int | None = None,
    seeds: Sequence[int] = (1,),
) -> list[Placement]:
    """Place and route a design with its host link, however fast it is; there is no bitstream.

    The parameters and errors are those of `build`. Placements are the fastest first.
    """
    clock = target.clock if clock is None else clock
    job = _Job(design, target, directory, clock, BAUD, Line.UART, seeds, 1, lambda _: None)
    check_plan(design, target)
    with locked(directory):
        plan = _elaborate(job)
        with _explained(directory):
            return _route(job, plan)[0]


@contextmanager
def _explained(directory):
    """Make a sentence of an OSError."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"{error.filename or directory}: {error.strerror}") from None


def _elaborate(job):
    """Amaranth's plan of a build: its files and commands."""
    job.begin(Stage.ELABORATE)
    target = job.target
    platform = target.platform()
    platform.get_carry_adders = partial(_carry_adders, platform, CarryCells("carry_adders"))
    return platform.build(
        BoardTop(job.design, target, clock=job.clock, baud=job.baud, line=job.line),
        name=_TOP,
        do_build=False,
        nextpnr_opts=f"{target.device.family.placement} --seed {job.seeds[0]} "
        f"--freq {job.clock / 1e6:g} --timing-allow-fail --report {REPORT}",
        synth_opts=target.device.synthesis_options,
    )


def _carry_adders(platform, cells, adders):
    """Adders as a module of Verilog in a file of its own."""
    instance = cells.get(adders)
    platform.add_file(f"{instance.type}.v", cells.modules[instance.type])
    return instance


def _make(job, plan, bitstream):
    """Run the tools; gives the placements, the fastest first."""
    placements, packing = _route(job, plan)
    _check_clock(job, placements[0].timing)
    job.begin(Stage.PACK)
    run_tool(packing, job.directory)
    (job.directory / f"{_TOP}{bitstream.suffix}").replace(bitstream)
    return placements


def _route(job, plan):
    """Synthesise, place and route; gives the placements, and the command that packs the first."""
    design, target, directory = job.design, job.target, job.directory
    # What may come after packing is for loaders other than ours.
    commands = json.loads(plan.files["build_top.json"])["commands"][:3]
    tools = find_tools([name for name, *_ in commands])
    synthesis, placement, packing = ([str(tools[name]), *rest] for name, *rest in commands)

    plan.files[f"{_TOP}.il"] = _without_brackets(plan.files[f"{_TOP}.il"])
    for name, content in plan.files.items():
        (directory / name).write_text(content, encoding="utf-8")
    job.begin(Stage.SYNTHESISE)
    run_tool(synthesis, directory, directory / f"{_TOP}.rpt")
    tidy_netlist(directory / f"{_TOP}.json", target.device.family)
    if "--write" not in placement:  # as Gowin's packer has it
        placement += ["--write", PLACED]
    job.begin(Stage.PLACE_AND_ROUTE)
    placements = route(
        placement, directory, job.seeds, needs=[*plan.files, f"{_TOP}.json"],
        refusal=Refusal(design.network.name, target.title), workers=job.workers,
    )  # fmt: skip
    return placements, packing


def _check_clock(job, timing):
    """Refuse what is too slow for its clock."""
    margin = job.target.device.family.fmax_margin
    if timing.fmax >= job.clock * margin:
        return
    kept = "" if margin == 1 else f" with the margin of {margin - 1:.0%} that is kept here"
    another = "another seed" if len(job.seeds) == 1 else "other seeds"
    raise DesignError(
        f"{job.design.network.name} is too slow: routed for the {job.target.title} it reaches "
        f"{timing.fmax / 1e6:.2f} MHz, not {job.clock / 1e6:g} MHz{kept}, because of the path from "
        f"{timing.critical_path}; try {another}, or a lower clock"
    )


def _without_brackets(rtlil: str) -> str:
    """RTLIL in which elements of arrays have names with a point, as fields of structures have.

    abc9 takes a wire that is called ``lanes[3]`` for bit 3 of ``lanes``, and then fails.
    """
    return re.sub(r"\\\S+", lambda name: re.sub(r"\[(\d+)\]", r".\1", name[0]), rtlil)
