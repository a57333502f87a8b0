"""Estimated resources against those after synthesis and packing, of accelerators and their units.

    python bench/estimate.py                     # all designs
    python bench/estimate.py mnist-conv-up5k     # only this network's

Synthesises accelerators, without the host link, and each of their steps once more on its own, and
compares them with `xnorflow.hw.estimate`. What is counted says bench/synthesis.py. Writes
results/estimate.json.
"""

import sys
from dataclasses import dataclass

from density import ZOO, untrained
from record import update
from rich.console import Console
from synthesis import PACKAGES, measure, measure_units

from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.device import Device
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.ir import Network
from xnorflow.ir.xnf import load


@dataclass(frozen=True)
class Case:
    """A network on a device, at a rate."""

    network: str
    device: Device
    cycles: int


CNV = ZOO.stem
CASES = (
    Case("mnist-tfc-sign", UP5K, 784),
    Case("mnist-tfc-adabin", UP5K, 784),
    Case("mnist-conv-up5k", UP5K, 28_800),
    Case("mnist-sfc-sign", ECP5_85F, 196),
    Case("fashion-conv", ECP5_85F, 20_000),
    Case(CNV, ECP5_85F, 48_600),
    Case(CNV, ECP5_85F, 8_100),
)


def main() -> None:
    """Synthesise, compare, print and record."""
    console = Console()
    for case in CASES:
        if sys.argv[1:] and case.network not in sys.argv[1:]:
            continue
        design = fold(read(case.network), case.device, cycles=case.cycles, fill=1.0)
        steps = [
            {
                "step": stage.name,
                "unit": stage.component.__name__,
                "estimated": values(design.resources(stage)),
                "synthesised": values(found),
            }
            for stage, found in zip(design.stages, measure_units(design), strict=True)
        ]
        guess, found = estimate(design), measure(design)
        row = {
            "network": f"{case.network}, {case.device.name}, {design.cycles_per_frame} cycles",
            "estimated": values(guess),
            "synthesised": values(found),
            "error": round(guess.luts / found.luts - 1, 3),
            "steps": steps,
        }
        console.print({key: value for key, value in row.items() if key != "steps"})
        for step in steps:
            console.print(*step.values())
        update("estimate", "python bench/estimate.py", PACKAGES, row)


def read(name: str) -> Network:
    """A network of the zoo; CNV with random weights as long as there is none."""
    return untrained() if name == CNV and not ZOO.exists() else load(f"zoo/{name}.xnf")


def values(resources: Resources) -> list[int]:
    """LUTs, block RAMs, multipliers."""
    return [resources.luts, resources.block_rams, resources.multipliers]


if __name__ == "__main__":
    main()
