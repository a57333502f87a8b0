"""Comments over modules, and a file for each module."""

import os
import re
import subprocess

import pytest

from tests.hw.networks import random_conv_net, random_mlp
from xnorflow.errors import FormatError
from xnorflow.hw.compile.emit import generate, verilog_text
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.ports import AxiPorts
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.folding import Folding
from xnorflow.sim.simulate import compile_accelerator
from xnorflow.sim.tools import find_verilator


@pytest.fixture(scope="module")
def design():
    network = random_mlp(1, side=5, widths=(10, 7), classes=4)
    foldings = {"fc1": Folding(4, 9), "fc2": Folding(3, 8), "fc3": Folding(2, 3)}
    return plan(network, foldings, 3, ECP5_85F)


def comments(text):
    found = re.findall(r"^// (.*)\nmodule \\?(\S+?)[ (]", text, re.MULTILINE)
    return {module.removeprefix("accelerator."): comment for comment, module in found}


def test_a_module_says_layer_unit_folding_and_cycles(design):
    said = comments(verilog_text(design, ports=AxiPorts(32)))
    fc1 = "fc1: MatrixVectorUnit, 10 neurons of 25 synapses, PE 4, SIMD 9, 9 cycles a frame"
    assert said["core.fc1"] == fc1
    assert said["core.fc1.operands"] == f"operands of {fc1}"
    assert said["core.act1"] == "act1: Threshold, lanes 4, 3 cycles a frame"
    assert said["core"] == "network random-mlp-1, for LFE5U-85F: a frame in 9 cycles"
    assert said["core.guard"].startswith("FrameGuard: ")
    assert said["gearbox"].startswith("InputGearbox: ")


def test_a_unit_that_holds_a_layer_of_another_name_says_so():
    said = comments(verilog_text(fold(random_conv_net(1), ECP5_85F, cycles=400)))
    assert said["core.act2"].startswith(
        "act2: UnrolledUnit of layer conv2, 4 neurons of 6 synapses"
    )


@pytest.mark.parametrize("behavioural", [False, True])
def test_every_module_has_a_comment(design, behavioural):
    text = verilog_text(design, behavioural=behavioural)
    assert len(comments(text)) == len(re.findall("^module ", text, re.MULTILINE)) > 10


def test_files_are_the_modules(design, tmp_path):
    whole = generate(design, tmp_path / "whole").read_text()
    path = generate(design, tmp_path / "split", split=True)
    names = (tmp_path / "split" / "accelerator.f").read_text().splitlines()
    assert names[0] == path.name == "accelerator.v"
    assert sorted(names) == sorted(file.name for file in (tmp_path / "split").glob("*.v"))
    assert "accelerator.core.fc1.operands.constants.rom.v" in names
    for name in names:
        text = (tmp_path / "split" / name).read_text()
        assert re.findall(r"^module \\?(\S+?)[ (]", text, re.MULTILINE) == [name[:-2]]
        assert text.endswith("\nendmodule\n")
        assert text[re.search(r"^// .*\nmodule", text, re.MULTILINE).start() :] in whole
    listed = (tmp_path / "split" / "component.xml").read_text()
    assert all(f">{name}<" in listed for name in names)
    assert all(f"{{{name}}}" in (tmp_path / "split" / "vivado.tcl").read_text() for name in names)


def test_tools_take_the_list(design, tmp_path):
    generate(design, tmp_path, split=True)
    verilator = find_verilator()
    command = [verilator.executable, "--lint-only", "-Wall", "-f", "accelerator.f"]
    done = subprocess.run(
        [*command, "--top-module", "accelerator"],
        cwd=tmp_path,
        env={**os.environ, **verilator.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_split_is_not_simulated(design, tmp_path):
    generate(design, tmp_path, split=True)
    message = f"^{tmp_path} has a file for each module: generate it without --split$"
    with pytest.raises(FormatError, match=message):
        compile_accelerator(tmp_path)


def test_files_of_an_earlier_run_are_gone(design, tmp_path):
    generate(design, tmp_path, split=True)
    generate(design, tmp_path)
    assert [file.name for file in tmp_path.glob("*.v")] == ["accelerator.v"]
    assert not (tmp_path / "accelerator.f").exists()
