"""What an iCE40UP5K draws: as published, and by changes that are counted in a netlist."""

import json

import numpy as np
import pytest

from xnorflow.boards.netlist import with_nets
from xnorflow.boards.power import (
    MEASURED,
    PER_BUSY_CELL,
    PER_CELL,
    PER_CLOCK,
    PER_TOGGLE,
    draw,
    per_toggle,
)
from xnorflow.errors import DesignError
from xnorflow.sim.activity import read_toggles
from xnorflow.sim.description import Description


NETLIST = """
module cells(a, b);
endmodule
module top(clk, o);
  wire \\core.sum ;
  SB_LUT4 #(
    .LUT_INIT(16'h8000)
  ) first (
    .I0(clk),
    .O(\\core.sum )
  );
  SB_DFFE second (
    .C(clk),
    .D(\\core.sum ),
    .Q(o[3])
  );
  SB_CARRY third (
    .CO(carry)
  );
endmodule
"""


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row.what} {row.clock} MHz")
def test_published_rows_are_reproduced(row):
    found = draw(row.cells, row.clock, reference=row.reference)
    assert found.low == pytest.approx(row.microamperes, rel=0.2)


def test_constants_are_about_what_is_known():
    assert pytest.approx(44, abs=0.5) == PER_CLOCK
    assert pytest.approx(0.012, abs=0.0005) == PER_CELL
    assert pytest.approx(0.16, abs=0.005) == PER_BUSY_CELL


def test_a_multiplier_of_two_counters_is_reproduced():
    """By its changes, as bench/power.py counts them, beside its counter and oscillator."""
    toggles = 62.1
    assert per_toggle(toggles) == pytest.approx(PER_TOGGLE, abs=0.005)
    alone = draw(28, 12).low
    assert draw(208, 12, toggles=toggles).counted - alone == pytest.approx(996 - 645, rel=0.01)


def test_bounds_hold_what_is_counted():
    found = draw(2000, 12, multipliers=4, toggles=300)
    assert found.low < found.counted < found.high
    assert draw(2000, 12).counted is None


def test_outputs_of_logic_cells_are_shown():
    text, nets = with_nets(NETLIST, "top")
    assert nets == 2
    assert "module top(clk, o, nets);" in text
    assert "assign nets = {\\core.sum , o[3]};\nendmodule" in text
    assert "output [1:0] nets;" in text
    assert "module cells(a, b);" in text
    with pytest.raises(DesignError, match=r"^the netlist has no logic cells in a module bottom$"):
        with_nets(NETLIST, "bottom")


def test_changes_of_all_runs_count(tmp_path):
    design = Description.load(described(tmp_path))
    paths = [tmp_path / "results0", tmp_path / "results1"]
    for path, counts in zip(paths, [(10, 30), (30, 10)], strict=True):
        np.array(counts, np.uint64).tofile(f"{path}.toggles")
    assert read_toggles(design, paths) == 1.0


def described(folder):
    values = {
        "frame_shape": [1, 1, 1], "pixel_type": "uint8", "input_lanes": 1, "words_per_frame": 1,
        "frames_per_packet": "one", "labels": [], "classes": 1, "result_element_bits": 8,
        "cycles_per_frame": 1, "latency": 1, "steps": [], "axi_width": None, "reset": "rst",
        "nets": 7,
    }  # fmt: skip
    (folder / "design.json").write_text(json.dumps(values))
    return folder
