"""What nextpnr says about a design: the cells that it takes, and how fast it is."""

import json
import re
from dataclasses import dataclass
from enum import Enum

from xnorflow.errors import ToolError


__all__ = ["Cell", "Usage", "read_fmax", "read_usage"]


class Cell(Enum):
    """Kinds of cells that a design may run out of."""

    LUT = "look-up tables"
    FLIP_FLOP = "flip-flops"
    BLOCK_RAM = "block RAMs"
    MULTIPLIER = "multipliers"


_CELLS = {
    "ICESTORM_LC": Cell.LUT,  # a logic cell: look-up table, carry and flip-flop
    "ICESTORM_RAM": Cell.BLOCK_RAM,
    "ICESTORM_DSP": Cell.MULTIPLIER,
    "TRELLIS_COMB": Cell.LUT,
    "TRELLIS_FF": Cell.FLIP_FLOP,
    "DP16KD": Cell.BLOCK_RAM,
    "MULT18X18D": Cell.MULTIPLIER,
}


@dataclass(frozen=True)
class Usage:
    """How many cells of a kind a design takes, and how many there are."""

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
