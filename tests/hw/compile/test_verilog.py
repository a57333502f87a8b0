import cProfile
import pstats
import re

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.hw.networks import random_conv_net, random_mlp
from xnorflow.hw.arithmetic.constants import ConstantTable
from xnorflow.hw.compile.axi import AxiStreamTop
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.width_converters import WidthConverter


@pytest.fixture(scope="module")
def accelerator():
    design = fold(random_conv_net(1), ECP5_85F, cycles=400)
    return component_verilog(AxiStreamTop(design), "accelerator")


def test_nothing_waits_for_an_event(accelerator):
    """Blocks that wait for changes of what they read are not run at power-on by all simulators."""
    assert set(re.findall(r"always @.*", accelerator)) <= {
        "always @(posedge clk)",
        "always @(posedge clk) begin",
    }


def test_no_function_has_a_name_of_the_simulators(accelerator):
    functions = re.findall(r"function .*?(\S+) ?;", accelerator)
    assert functions
    assert not [name for name in functions if name.startswith("\\$")]


def test_registers_have_their_reset_values_from_power_on(accelerator):
    checked = 0
    for module in accelerator.split("\nmodule "):
        reset = dict(re.findall(r"if \(rst\) (\S+) +<= (\S+);", module))
        started = dict(re.findall(r"^  reg (?:\[\S+\] )?(\S+) += (\S+);", module, re.MULTILINE))
        assert {name: started[name] for name in reset} == reset
        checked += len(reset)
    assert checked


class Tables(wiring.Component):
    """A read-only memory in a module of its own, and a memory that is written."""

    rows = [3, 141, 59, 26] * 25

    def __init__(self):
        super().__init__({"en": In(1), "row": Out(8), "i": In(8), "o": Out(8), "o_ready": In(1)})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.table = table = ConstantTable(8, self.rows)
        m.submodules.fifo = fifo = Fifo(8, 16)
        m.d.comb += [table.en.eq(self.en), table.step.eq(1), self.row.eq(table.row)]
        m.d.comb += [fifo.i.payload.eq(self.i), fifo.i.valid.eq(self.en)]
        m.d.comb += [self.o.eq(fifo.o.payload), fifo.o.ready.eq(self.o_ready)]
        return m


def test_memories_have_their_contents_in_short_blocks():
    """A block's rows cost Yosys time that grows with their square."""
    text = component_verilog(Tables(), "tables")
    module = re.search(r"module \\tables\.table\.rom .*?endmodule", text, re.DOTALL)[0]
    blocks = re.findall(r"initial begin(.*?)end", module, re.DOTALL)
    rows = [re.findall(r"rows\[(\d+)\] = 8'h(\w\w);", block) for block in blocks]
    assert max(len(block) for block in rows) <= 32
    found = {int(address): int(row, 16) for block in rows for address, row in block}
    assert found == dict(enumerate(Tables.rows))
    assert "  \\tables.table.rom rom (" in text


def test_what_is_written_starts_undefined():
    """Filled with zeros, a simulation would not show that something depends on them."""
    text = component_verilog(Tables(), "tables")
    module = re.search(r"module \\tables\.fifo ?\(.*?endmodule", text, re.DOTALL)[0]
    assert re.search(r"reg \[7:0\] memory \[14:0\];", module)
    assert "initial" not in module


def growth(make):
    """How many times as large text and work become, of a component that is four times as large."""
    sizes = []
    for scale in (1, 4):
        component = make(scale)
        profile = cProfile.Profile()
        text = profile.runcall(component_verilog, component, "top")
        sizes.append((len(text), pstats.Stats(profile).total_calls))
    (bytes_1, calls_1), (bytes_4, calls_4) = sizes
    return bytes_4 / bytes_1, calls_4 / calls_1


def mlp(scale, **folded):
    network = random_mlp(1, side=14 * scale, widths=(16,), classes=4)
    return AxiStreamTop(fold(network, ECP5_85F, **folded))


GROWING = {
    "ratio of widths": lambda s: WidthConverter(unsigned(1), lanes=1, ratio=200 * s, words=200 * s),
    "uneven ratio": lambda s: WidthConverter(unsigned(2), lanes=1, ratio=200 * s, words=500 * s),
    "rows of constants": lambda s: ConstantTable(32, list(range(1000 * s))),
    "width of rows": lambda s: ConstantTable(500 * s, list(range(32))),
    # Inputs are 16 times as many, a word of them in as many cycles.
    "synapses": lambda s: mlp(1 if s == 1 else 2, cycles=800),
}


@pytest.mark.parametrize("what", GROWING)
def test_text_and_work_grow_in_proportion(what):
    text, work = growth(GROWING[what])
    assert text < 4.5
    assert work < 4.5


def test_a_wide_converter_is_small():
    """784 pixels to a word are a register that shifts, and no choice among 784."""
    text = component_verilog(WidthConverter(unsigned(8), lanes=1, ratio=784, words=784), "top")
    assert len(text) < 10_000


def test_same_component_same_text(accelerator):
    design = fold(random_conv_net(1), ECP5_85F, cycles=400)
    assert component_verilog(AxiStreamTop(design), "accelerator") == accelerator
    assert np.all([ord(character) < 128 for character in accelerator])
