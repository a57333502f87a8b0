import json
import os
import subprocess

import pytest

from tests.hw.networks import random_mlp
from xnorflow.errors import FormatError
from xnorflow.hw.compile.axi import result_element_bits
from xnorflow.hw.compile.emit import describe, generate, verilog_text
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.ir import Gate
from xnorflow.sim.tools import find_verilator


@pytest.fixture(scope="module")
def design():
    return fold(random_mlp(5, popcount=True), ECP5_85F, cycles=8)


def test_the_same_design_gives_the_same_bytes(design, tmp_path):
    again = fold(random_mlp(5, popcount=True), ECP5_85F, cycles=8)
    generate(design, tmp_path / "a")
    generate(again, tmp_path / "b")

    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("[!.]*.*"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_names_say_layer_and_role(design):
    text = verilog_text(design)
    for name in (
        "fc1",
        "fc1.popcount_0",
        "fc1.operands.constants",
        "act1.constants",
        "label",
        "guard",
    ):
        assert f"\\accelerator.core.{name} " in text


@pytest.mark.parametrize(
    ("gate", "popcount", "device"),
    [(Gate.XNOR, True, ECP5_85F), (Gate.AND, False, UP5K)],
)
def test_verilator_finds_nothing_to_say(gate, popcount, device, tmp_path):
    design = fold(random_mlp(6, gate=gate, popcount=popcount), device, cycles=20)
    path = generate(design, tmp_path)
    verilator = find_verilator()
    done = subprocess.run(
        [verilator.executable, "--lint-only", "-Wall", path],
        env={**os.environ, **verilator.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "%Warning" not in done.stderr + done.stdout
    assert done.returncode == 0


def test_description_is_complete(design, tmp_path):
    generate(design, tmp_path)
    description = json.loads((tmp_path / "design.json").read_text())
    assert description == describe(design)
    assert description["cycles_per_frame"] == design.cycles_per_frame
    assert description["latency"] == design.latency
    assert description["result_element_bits"] == result_element_bits(design)
    assert description["frame_shape"] == [4, 4, 1]


def test_says_where_it_cannot_write(design, tmp_path):
    (tmp_path / "file").write_text("")
    message = f"^the folder {tmp_path}/file/out cannot be created: Not a directory$"
    with pytest.raises(FormatError, match=message):
        generate(design, tmp_path / "file" / "out")
