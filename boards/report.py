"""Reports of nextpnr: the cells that a design takes, and how fast it is."""

import json
import re
from dataclasses import dataclass
from typing import Any

from xnorflow.errors import ToolError
from xnorflow.hw.families import FAMILIES
from xnorflow.hw.families.device import Cell


__all__ = ["CriticalPath", "Timing", "Usage", "read_timing", "read_usage"]

_PARTS = {name: parts for family in FAMILIES for name, parts in family.cell_parts.items()}
_CELLS = {name: cell for family in FAMILIES for name, cell in family.cells.items()}

# How Yosys and nextpnr go on from the name of a signal to that of a cell.
_GENERATED = re.compile(
    r"_(?:TRELLIS_FF|SB_[A-Z]+|LUT4|CCU2C|PFUMX|L6MUX21|DFF|ALU|CC_)|\$|_\d+_\$"
)
_USAGE = r"Info:\s+(\w+): +(\d+)/ *(\d+) +\d+%"


@dataclass(frozen=True)
class Usage:
    """Number of cells of a kind that a design takes, and that there are."""

    used: int
    available: int


@dataclass(frozen=True)
class CriticalPath:
    """The slowest path between registers of a clock.

    Attributes
    ----------
    start, end : str
        Names of the registers or memories, with the units that they are in.
    logic, routing : float
        Nanoseconds in cells, setup included, and between them.
    """

    start: str
    end: str
    logic: float
    routing: float

    def __str__(self) -> str:
        total = self.logic + self.routing
        return (
            f"{self.start} to {self.end}: {total:.1f} ns, "
            f"of which {self.logic:.1f} logic and {self.routing:.1f} routing"
        )


@dataclass(frozen=True)
class Timing:
    """Frequency in Hz that a routed design reaches, and the path that sets it, if it has one."""

    fmax: float
    critical_path: CriticalPath | None


def read_usage(log: str) -> dict[Cell, Usage]:
    """Read the cells that a design takes from nextpnr's log, be it that it does not fit."""
    usage = {}
    for name, used, available in re.findall(_USAGE, log.rpartition("Device utilisation:")[2]):
        if name in _CELLS:
            before = usage.get(_CELLS[name], Usage(0, 0))
            parts = _PARTS.get(name, 1)
            usage[_CELLS[name]] = Usage(
                before.used + -(-int(used) // parts),
                max(before.available, int(available) // parts),
            )
    if Cell.LUT in usage and Cell.FLIP_FLOP not in usage:
        # iCE40: the flip-flops are counted while they are packed into logic cells.
        packed = re.findall(r"Info: +(\d+) LCs used as (?:LUT4 and DFF|DFF only)", log)
        flip_flops = sum(int(count) for count in packed)
        usage[Cell.FLIP_FLOP] = Usage(flip_flops, usage[Cell.LUT].available)
    return usage


def read_timing(report: str) -> Timing:
    """Read how fast a routed design is from nextpnr's report.

    Of several clocks, it is the one that comes nearest to its limit.

    Raises
    ------
    ToolError
        If the report has no clock.
    """
    content = json.loads(report)
    clocks = content["fmax"]
    if not clocks:
        raise ToolError("nextpnr's report has no clock")
    tightest = min(clocks, key=lambda name: clocks[name]["achieved"] / clocks[name]["constraint"])
    paths = [
        _critical_path(path["path"])
        for path in content["critical_paths"]
        if path["from"].split()[-1] == path["to"].split()[-1] == tightest
    ]
    return Timing(clocks[tightest]["achieved"] * 1e6, next(iter(paths), None))


def _critical_path(steps: list[dict[str, Any]]) -> CriticalPath:
    ends = (
        _GENERATED.split(cell)[0] for cell in (steps[0]["from"]["cell"], steps[-1]["to"]["cell"])
    )
    routing = sum(step["delay"] for step in steps if step["type"] == "routing")
    return CriticalPath(*ends, sum(step["delay"] for step in steps) - routing, routing)
