"""From a design to a bitstream: Amaranth, Yosys, nextpnr and the family's packer."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from xnorflow.boards.host import BAUD
from xnorflow.boards.netlist import tidy_netlist
from xnorflow.boards.plan import check_plan
from xnorflow.boards.report import Timing, Usage, read_timing, read_usage
from xnorflow.boards.target import Target
from xnorflow.boards.tools import find_tools
from xnorflow.boards.top import BoardTop
from xnorflow.errors import DesignError, ToolError
from xnorflow.files import locked, remove_file
from xnorflow.hw.arithmetic.carry_adders import CarryCells
from xnorflow.hw.compile.design import Design
from xnorflow.hw.families.device import Cell


__all__ = ["PLACED", "BuildReport", "Stage", "build"]

_TOP = "top"
_REPORT = "timing.json"
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
    """

    target: Target
    bitstream: Path
    usage: Mapping[Cell, Usage]
    clock: int
    timing: Timing
    cycles_per_frame: int

    @property
    def frames_per_second(self) -> float:
        """Frames that the accelerator classifies in a second; the serial line brings fewer."""
        return self.clock / self.cycles_per_frame

    @property
    def peak_frames_per_second(self) -> float:
        """The same at the highest clock."""
        return self.timing.fmax / self.cycles_per_frame


def build(
    design: Design,
    target: Target,
    directory: Path,
    *,
    clock: int | None = None,
    baud: int = BAUD,
    seed: int = 1,
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
        Bits per second on the line to the host.
    seed : int
        Of nextpnr.
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
    begin = progress or (lambda _: None)
    clock = target.clock if clock is None else clock
    bitstream = directory / f"{target.name}.{target.device.family.suffix}"

    check_plan(design, target)
    with locked(directory):
        remove_file(bitstream)
        begin(Stage.ELABORATE)
        platform = target.platform()
        platform.get_carry_adders = partial(_carry_adders, platform, CarryCells("carry_adders"))
        plan = platform.build(
            BoardTop(design, target, clock=clock, baud=baud),
            name=_TOP,
            do_build=False,
            nextpnr_opts=f"{target.device.family.placement} --seed {seed} "
            f"--freq {clock / 1e6:g} --timing-allow-fail --report {_REPORT}",
            synth_opts=target.device.synthesis_options,
        )
        try:
            timing, usage = _make(plan, design, target, directory, bitstream, clock, begin)
        except OSError as error:
            raise ToolError(f"{error.filename or directory}: {error.strerror}") from None
    return BuildReport(target, bitstream, usage, clock, timing, design.cycles_per_frame)


def _carry_adders(platform, cells, adders):
    """Adders as a module of Verilog in a file of its own."""
    instance = cells.get(adders)
    platform.add_file(f"{instance.type}.v", cells.modules[instance.type])
    return instance


def _make(plan, design, target, directory, bitstream, clock, begin):
    """Run the tools; gives how fast it is, and the cells."""
    # What may come after packing is for loaders other than ours.
    synthesis, placement, packing, *_ = json.loads(plan.files["build_top.json"])["commands"]
    tools = find_tools([synthesis[0], placement[0], packing[0]])

    def run(stage, name, *arguments, log=None):
        begin(stage)
        _run([str(tools[name]), *arguments], directory, log)

    plan.files[f"{_TOP}.il"] = _without_brackets(plan.files[f"{_TOP}.il"])
    for name, content in plan.files.items():
        (directory / name).write_text(content, encoding="utf-8")
    run(Stage.SYNTHESISE, *synthesis, log=directory / f"{_TOP}.rpt")
    tidy_netlist(directory / f"{_TOP}.json", target.device.family)
    if "--write" not in placement:  # as Gowin's packer has it
        placement += ["--write", PLACED]
    log = directory / f"{_TOP}.tim"
    log.unlink(missing_ok=True)
    try:
        run(Stage.PLACE_AND_ROUTE, *placement)
    except ToolError:
        _check_fit(design, target, log)
        raise
    timing = read_timing((directory / _REPORT).read_text())
    margin = target.device.family.fmax_margin
    if timing.fmax < clock * margin:
        kept = "" if margin == 1 else f" with the margin of {margin - 1:.0%} that is kept here"
        raise DesignError(
            f"{design.network.name} is too slow: routed for the {target.title} it reaches "
            f"{timing.fmax / 1e6:.2f} MHz, not {clock / 1e6:g} MHz{kept}, because of the path from "
            f"{timing.critical_path}; try another seed, or a lower clock"
        )
    run(Stage.PACK, *packing)
    (directory / f"{_TOP}{bitstream.suffix}").replace(bitstream)
    return timing, read_usage(log.read_text())


def _without_brackets(rtlil: str) -> str:
    """RTLIL in which elements of arrays have names with a point, as fields of structures have.

    abc9 takes a wire that is called ``lanes[3]`` for bit 3 of ``lanes``, and then fails.
    """
    return re.sub(r"\\\S+", lambda name: re.sub(r"\[(\d+)\]", r".\1", name[0]), rtlil)


def _run(command: list[str], directory: Path, log: Path | None) -> None:
    """Run a tool in the folder of a build: those of YoWASP see no other.

    Some say in a ``log``, and nowhere else, why they fail.
    """
    if log is not None:
        log.unlink(missing_ok=True)
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr + done.stdout
        if log is not None and log.exists():
            said += log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines[-1:] or [f"exit code {done.returncode}"])[0]
        raise ToolError(f"{Path(command[0]).name} failed in {directory}: {reason}")


def _check_fit(design: Design, target: Target, log: Path) -> None:
    """Raise a DesignError if the log of a failed placement says that something is too large."""
    text = log.read_text() if log.exists() else ""
    usage = read_usage(text)
    excess = [
        f"{use.used} {cell.value} of {use.available} ({use.used - use.available} too many)"
        for cell, use in usage.items()
        if use.used > use.available
    ]
    if excess:
        raise DesignError(
            f"{design.network.name} does not fit the {target.title}: "
            f"it takes {' and '.join(excess)}"
        ) from None
    if "at utilisation limit" in text and Cell.LUT in usage:
        luts = usage[Cell.LUT]
        raise DesignError(
            f"{design.network.name} does not fit the {target.title}: no place is found for all of "
            f"its {luts.used} look-up tables among {luts.available}"
        ) from None
