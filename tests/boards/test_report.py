import json

import pytest

from xnorflow.boards.report import Usage, read_fmax, read_usage
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


def report(**clocks):
    return json.dumps({
        "fmax": {k: {"achieved": a, "constraint": c} for k, (a, c) in clocks.items()}
    })


def test_reads_the_clock_nearest_to_its_limit():
    assert read_fmax(report(clk=(36.5, 12.0))) == 36.5e6
    assert read_fmax(report(slow=(20.0, 1.0), tight=(110.0, 100.0), wide=(250.0, 100.0))) == 110e6


def test_a_report_without_clock():
    with pytest.raises(ToolError, match=r"^nextpnr's report has no clock$"):
        read_fmax(report())
