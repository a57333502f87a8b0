"""Highest clock of each kind of unit, placed and routed alone.

    python bench/units.py                    # all designs
    python bench/units.py mnist-sfc-sign     # only this one

Of the stages of a design in bench/designs.py, that with the most look-up tables stands for each
kind. Seed 1, out of context: paths that begin or end at a port do not count. Adds to
results/units.json, which shows what limits a design before it is placed as a whole.
"""

import sys
from collections.abc import Iterator
from typing import Any

from designs import DESIGNS
from record import update
from rich.console import Console
from synthesis import PACKAGES, place_units

from xnorflow.hw.compile.design import Design
from xnorflow.ir.xnf import load


NAMES = "mnist-sfc-sign", "fashion-conv", "cifar10-cnv", "cifar10-resnet20-adabin"
"""For an ECP5: nextpnr places a unit for an iCE40 only with a pin for each bit of its ports."""


def main() -> None:
    """Place, print and record."""
    for name in sys.argv[1:] or NAMES:
        case = DESIGNS[name]
        for row in rows(name, case.fold(load(f"zoo/{name}.xnf"))):
            Console().print(row)
            update("units", "python bench/units.py", PACKAGES, row)


def rows(name: str, design: Design) -> Iterator[dict[str, Any]]:
    """A row for each kind of unit, with the path that limits it."""
    chosen: dict[str, str] = {}
    for stage in sorted(design.stages, key=lambda stage: design.resources(stage).luts):
        chosen[stage.component.__name__] = stage.name
    for (unit, stage), timing in zip(
        chosen.items(), place_units(design, chosen.values()), strict=True
    ):
        yield {
            "network": f"{name}, {design.device.name}: {unit}",
            "stage": stage,
            "fmax_mhz": round(timing.fmax / 1e6, 1),
            "critical_path": str(timing.critical_path),
        }


if __name__ == "__main__":
    main()
