"""Reports of nextpnr: the cells that a design takes, and how fast it is."""

import json
import re
from dataclasses import dataclass

from xnorflow.errors import ToolError
from xnorflow.hw.families import FAMILIES
from xnorflow.hw.families.device import Cell


__all__ = ["Usage", "read_fmax", "read_usage"]

_CELLS = {name: cell for family in FAMILIES for name, cell in family.cells.items()}


@dataclass(frozen=True)
class Usage:
    """Number of cells of a kind that a design takes, and that there are."""

    used: int
    available: int


def read_usage(log: str) -> dict[Cell, Usage]:
    """Read the cells that a design takes from nextpnr's log, be it that it does not fit."""
    usage = {}
    for name, used, available in re.findall(r"Info:\s+(\w+): +(\d+)/ *(\d+) +\d+%", log):
        if name in _CELLS:
            usage[_CELLS[name]] = Usage(int(used), int(available))
    if Cell.LUT in usage and Cell.FLIP_FLOP not in usage:
        # iCE40: the flip-flops are counted while they are packed into logic cells.
        packed = re.findall(r"Info: +(\d+) LCs used as (?:LUT4 and DFF|DFF only)", log)
        flip_flops = sum(int(count) for count in packed)
        usage[Cell.FLIP_FLOP] = Usage(flip_flops, usage[Cell.LUT].available)
    return usage


def read_fmax(report: str) -> float:
    """Read the clock frequency in Hz that a routed design reaches from nextpnr's report.

    Of several clocks, it is the one that comes nearest to its limit.

    Raises
    ------
    ToolError
        If the report has no clock.
    """
    clocks = json.loads(report)["fmax"].values()
    if not clocks:
        raise ToolError("nextpnr's report has no clock")
    tightest = min(clocks, key=lambda clock: clock["achieved"] / clock["constraint"])
    return tightest["achieved"] * 1e6
