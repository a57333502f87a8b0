"""How many look-up tables a multiply-accumulate takes on an ECP5.

    python bench/density.py                 # SFC, LFC and CNV of zoo/
    python bench/density.py cifar10-cnv     # only this one
    python bench/density.py --untrained     # CNV with random weights

CNV is FINN's topology at full width, its first layer included. The figure is the look-up tables of
the whole accelerator (sliding windows, thresholds, pools and control are in it, the host link is
not) over the multiply-accumulates that it does in a cycle: those of a frame over the cycles of one.
Tables are counted after nextpnr's packing, as bench/synthesis.py says. Writes results/density.json.
"""

import argparse
from pathlib import Path

import torch
from record import update
from rich.console import Console
from synthesis import PACKAGES, measure
from torch import nn

from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.matrix import MatrixStage
from xnorflow.ir import FeatureMap, Network, UInt
from xnorflow.ir.xnf import load
from xnorflow.sw.lower import lower
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec


CYCLES = {"mnist-sfc-sign": 196, "mnist-lfc-sign": 784, "cifar10-cnv": 8100}
"""Of a frame: a value of the input in a quarter of a cycle, and in one; those of FINN's CNV."""


def main() -> None:
    """Synthesise, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(CYCLES), help="of zoo/")
    parser.add_argument("--untrained", action="store_true", help="random weights, fixed seed")
    arguments = parser.parse_args()
    if arguments.untrained:
        record(untrained(), CYCLES["cifar10-cnv"])
        return
    for name in arguments.networks:
        record(load(Path("zoo") / f"{name}.xnf"), CYCLES[name])


def record(network: Network, cycles: int) -> None:
    """Measure a network."""
    # Nothing else goes onto the device: it may be as full as it gets.
    design = fold(network, ECP5_85F, cycles=cycles, fill=1.0)
    macs = sum(
        stage.vectors * stage.matrix.size
        for stage in design.stages
        if isinstance(stage, MatrixStage)
    )
    found = measure(design)
    row = {
        "network": network.name,
        "device": design.device.name,
        "luts": found.luts,
        "block_rams": [found.block_rams, design.device.block_rams],
        "multipliers": [found.multipliers, design.device.multipliers],
        "macs_per_frame": macs,
        "cycles_per_frame": design.cycles_per_frame,
        "luts_per_mac": round(found.luts * design.cycles_per_frame / macs, 3),
    }
    Console().print(row)
    update("density", "python bench/density.py", PACKAGES, row)


def untrained() -> Network:
    """CNV with weights, means and variances that are random, but always the same."""
    torch.manual_seed(1)
    pixels = IntegerPixels(mean=(0.5,) * 3, deviation=(0.25,) * 3)
    model = ModelSpec("cnv", Task((3, 32, 32), 10, pixels)).build()
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    for norm in (module for module in model.modules() if isinstance(module, norms)):
        norm.get_buffer("running_mean").normal_(0, 10)
        norm.get_buffer("running_var").uniform_(100, 1000)
        torch.nn.init.normal_(norm.get_parameter("weight"), 1, 0.3)
        torch.nn.init.normal_(norm.get_parameter("bias"), 0, 0.3)
    frame = FeatureMap(32, 32, 3, UInt(8))
    return lower(model.eval(), input=frame, name="cifar10-cnv, untrained")


if __name__ == "__main__":
    main()
