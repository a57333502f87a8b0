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
from dataclasses import replace

from accuracy import zoo_networks
from record import update
from rich.console import Console

from xnorflow.hw.device import ECP5_85F
from xnorflow.hw.folding import fold
from xnorflow.hw.generate import generate
from xnorflow.sim.simulate import compile_accelerator, simulate
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden
from xnorflow.xnf import load as load_network


CYCLES = {
    "mnist-sfc-sign": 98,
    "mnist-lfc-sign": 4096,
    "fashion-lfc-adabin": 4096,
    "mnist-conv-up5k": 14_400,
    "fashion-conv": 20_000,
    "cifar10-cnv": 48_600,
    "cifar10-resnet20-adabin": 18_432,
    "cifar10-resnet20-reactnet": 18_432,
    "cifar10-resnet20-siman": 18_432,
    "cifar10-resnet20-siman-bipolar": 18_432,
    "cifar10-resnet20-dybnn": 18_432,
    "fashion-small-reactnet": 14_112,
    "fashion-small-dybnn": 14_112,
}
"""Cycles a frame that the folding may take; otherwise one pixel a cycle."""

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

LARGER = replace(ECP5_85F, name="LFE5U-85F with twice its block RAMs", block_rams=416)
DEVICES = {"cifar10-resnet20-dybnn": LARGER}
"""What the folding may spend, where a network does not fit; otherwise those of an 85F."""


def main() -> None:
    """Measure, print and record."""
    console = Console()
    every = "--all" in sys.argv
    for name in [name for name in sys.argv[1:] if name != "--all"] or zoo_networks():
        network = load_network(f"zoo/{name}.xnf")
        images = load(Dataset(network.provenance.dataset)).test_images
        images = images[: None if every else IMAGES.get(name)]
        design = fold(network, DEVICES.get(name, ECP5_85F), cycles=CYCLES.get(name, 784))
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
