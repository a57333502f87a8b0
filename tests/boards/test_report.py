import json

import pytest

from xnorflow.boards.report import CriticalPath, Timing, Usage, read_timing, read_usage
from xnorflow.errors import ToolError
from xnorflow.hw.families.device import Cell


ICE40_LOG = """\
Info: Packing LUT-FFs..
Info:      737 LCs used as LUT4 only
Info:      313 LCs used as LUT4 and DFF
Info: Packing non-LUT FFs..
Info:      287 LCs used as DFF only
Info: Packing carries..
Info:       21 LCs used as CARRY only
Info: Constraining chains...
Info:       32 LCs used to legalise carry chains.

Info: Device utilisation:
Info: \t         ICESTORM_LC:    1383/   5280    26%
Info: \t        ICESTORM_RAM:       1/     30     3%
Info: \t               SB_IO:       5/     39    12%
Info: \t        ICESTORM_DSP:       0/      8     0%

Info: Placed 6 cells based on constraints.
Info: Max frequency for clock 'clk': 36.29 MHz (PASS at 24.00 MHz)
"""

ECP5_LOG = """\
Info: Device utilisation:
Info: \t          TRELLIS_IO:       6/    365     1%
Info: \t              DP16KD:       1/    208     0%
Info: \t          MULT18X18D:       0/    156     0%
Info: \t          TRELLIS_FF:     546/  83640     0%
Info: \t        TRELLIS_COMB:   90044/  83640   107%
Info: \t        TRELLIS_RAMW:       0/  10455     0%

ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'TRELLIS_COMB'
"""


def test_reads_the_usage_of_an_ice40():
    assert read_usage(ICE40_LOG) == {
        Cell.LUT: Usage(1383, 5280),
        Cell.FLIP_FLOP: Usage(600, 5280),
        Cell.BLOCK_RAM: Usage(1, 30),
        Cell.MULTIPLIER: Usage(0, 8),
    }


def test_reads_the_usage_of_an_ecp5_even_if_it_does_not_fit():
    assert read_usage(ECP5_LOG) == {
        Cell.LUT: Usage(90044, 83640),
        Cell.FLIP_FLOP: Usage(546, 83640),
        Cell.BLOCK_RAM: Usage(1, 208),
        Cell.MULTIPLIER: Usage(0, 156),
    }


def test_a_log_without_usage():
    assert read_usage("ERROR: Failed to open '--json' file") == {}


def path(start, end):
    """A path of a flip-flop, two wires and a table, as nextpnr reports it."""
    cells = [
        "fc1.count_TRELLIS_FF_Q_1",
        "act1.level_TRELLIS_FF_Q_DI_LUT4_Z",
        "act1.level_TRELLIS_FF_Q",
    ]
    steps = [
        ("clk-to-q", 0.5, 0, 0),
        ("routing", 1.0, 0, 1),
        ("logic", 0.25, 1, 1),
        ("routing", 2.0, 1, 2),
        ("setup", 1.25, 2, 2),
    ]
    return {
        "from": start,
        "to": end,
        "path": [
            {"type": kind, "delay": delay, "from": {"cell": cells[a]}, "to": {"cell": cells[b]}}
            for kind, delay, a, b in steps
        ],
    }


def report(paths=(), **clocks):
    return json.dumps({
        "critical_paths": list(paths),
        "fmax": {k: {"achieved": a, "constraint": c} for k, (a, c) in clocks.items()},
    })


def test_reads_the_clock_nearest_to_its_limit():
    assert read_timing(report(clk=(36.5, 12.0))) == Timing(36.5e6, None)
    clocks = {"slow": (20.0, 1.0), "tight": (110.0, 100.0), "wide": (250.0, 100.0)}
    assert read_timing(report(**clocks)).fmax == 110e6


def test_reads_the_critical_path():
    ends = [("<async>", "clk"), ("wide", "wide"), ("clk", "<async>"), ("clk", "clk")]
    paths = [path(*(f"posedge {end}" for end in each)) for each in ends]
    paths[3]["path"][0]["from"]["cell"] = "link.fc2.weights.0.0$DP16KD"
    timing = read_timing(report(paths, clk=(36.5, 12.0), wide=(250.0, 12.0)))
    assert timing.critical_path == CriticalPath("link.fc2.weights.0.0", "act1.level", 2.0, 3.0)
    assert str(timing.critical_path) == (
        "link.fc2.weights.0.0 to act1.level: 5.0 ns, of which 2.0 logic and 3.0 routing"
    )


def test_a_report_without_clock():
    with pytest.raises(ToolError, match=r"^nextpnr's report has no clock$"):
        read_timing(report())


GATEMATE_LOG = """\
Info: Device utilisation:
Info: \t              CPE_LT:    2233/  40960     5%
Info: \t              CPE_FF:     615/  40960     1%
Info: \t            RAM_HALF:       1/     64     1%
"""
GOWIN_LOG = """\
Info: Device utilisation:
Info: \t                LUT4:    1057/   8640    12%
Info: \t                 ALU:     298/   6480     4%
Info: \t                 DFF:     577/   6480     8%
Info: \t               BSRAM:       1/     26     3%
Info: \t           MULT18X18:       0/     20     0%
"""


def test_a_gatemate_s_look_up_table_is_two_cells():
    assert read_usage(GATEMATE_LOG) == {
        Cell.LUT: Usage(1117, 20480),
        Cell.FLIP_FLOP: Usage(615, 40960),
        Cell.BLOCK_RAM: Usage(1, 64),
    }


def test_a_gowin_s_carries_take_look_up_tables():
    assert read_usage(GOWIN_LOG)[Cell.LUT] == Usage(1355, 8640)
    # What is counted twice, before and after packing, counts once.
    assert read_usage(GOWIN_LOG + GOWIN_LOG) == read_usage(GOWIN_LOG)
