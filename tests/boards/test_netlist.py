"""The synthesised netlist computes what the RTL does: the last equality before a bitstream."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.hw.networks import random_mlp
from xnorflow.boards.netlist import write_netlist
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families import find_device
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.sim.description import Description
from xnorflow.sim.simulate import first_difference, simulate
from xnorflow.sw.golden import golden


NETWORK = random_mlp(3, side=6, widths=(8, 6), classes=4, popcount=True)


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory):
    """The netlist for an iCE40, in place of the Verilog that it comes from."""
    folder = tmp_path_factory.mktemp("netlist")
    return write_netlist(fold(NETWORK, UP5K, cycles=36), folder, counted=True)


def compare(verilog):
    """First difference between the results of what is in a folder and the golden model's."""
    folder = verilog.parent
    frames = np.random.default_rng(0).integers(0, 256, (100, 6, 6, 1), dtype=np.uint8)
    expected = golden(NETWORK, frames)
    result = simulate(folder, frames, cache=folder / "cache")
    nets = Description.load(folder).nets
    assert (result.toggles is None) == (nets == 0)
    assert result.toggles is None or 0.01 < result.toggles / nets < 1
    return first_difference(result, expected.labels.numpy(), expected.scores.numpy())


def test_netlist_equals_the_golden_model(synthesised):
    assert "SB_CARRY" in synthesised.read_text()
    assert compare(synthesised) is None


def test_a_device_may_lack_block_rams_and_multipliers(tmp_path):
    bare = replace(UP5K, luts=99_999, block_rams=0, multipliers=0)
    netlist = write_netlist(fold(NETWORK, bare, cycles=36), tmp_path)
    cells = set(re.findall(r"^  (SB_\w+) #\(", netlist.read_text(), re.M))
    assert "SB_LUT4" in cells
    assert not cells & {"SB_RAM40_4K", "SB_MAC16"}
    assert compare(netlist) is None


@pytest.mark.slow
def test_a_changed_look_up_table_is_found(synthesised):
    netlist = synthesised.read_text()
    found = re.search(r"LUT_INIT\(16'h(\w{4})\)\s*\) \\core\.fc1\.popcount_0", netlist)
    inverted = f"{int(found[1], 16) ^ 0xFFFF:04x}"
    synthesised.write_text(netlist[: found.start(1)] + inverted + netlist[found.end(1) :])
    assert compare(synthesised)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GW1N-9C", "GW5A-25A", "CCGM1A1", "XC7A35T"])
def test_netlists_of_other_families_do(tmp_path, name):
    device = find_device(name)
    if device.family.synthesis.startswith("synth_gowin"):
        device = replace(device, luts=99_999, block_rams=0, multipliers=0)
    assert compare(write_netlist(fold(NETWORK, device, cycles=36), tmp_path)) is None


def test_refuses_cells_without_models(tmp_path):
    design = fold(NETWORK, find_device("GW1N-9C"), cycles=36)
    with pytest.raises(DesignError, match=r"^there are no models of MULT9X9, SPX9 of GW1N-9C$"):
        write_netlist(design, tmp_path)


def test_refuses_an_ecp5(tmp_path):
    with pytest.raises(DesignError, match=r"^there are no models of what LFE5U-85F is made of$"):
        write_netlist(fold(NETWORK, ECP5_85F, cycles=36), tmp_path)
