"""Names in generated Verilog: nothing but names changes, and what they become says something."""

import re

import pytest

from tests.hw.networks import dynamic_net, random_conv_net
from xnorflow.hw.compile import verilog as module
from xnorflow.hw.compile.axi import AxiStreamTop
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.names import readable
from xnorflow.hw.compile.ports import AxiPorts
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.ecp5 import ECP5_85F


NETS = {"conv": (random_conv_net(1), 400), "dynamic": (dynamic_net(), 600)}

IDENTIFIER = re.compile(r"\.?(?:\\(\S+) |(?<![\w'\"])([A-Za-z_]\w*))")


@pytest.fixture(scope="module", params=NETS)
def texts(request):
    """Verilog of an accelerator, before and after its names are chosen."""
    network, cycles = NETS[request.param]
    found = []

    def keep(text):
        found.extend([text, readable(text)])
        return found[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "readable", keep)
        component_verilog(AxiStreamTop(fold(network, ECP5_85F, cycles=cycles), AxiPorts(32)), "top")
    return found


def modules(text):
    return re.split(r"^(?=module )", text, flags=re.MULTILINE)


def numbered(text):
    """A module with numbers for names, in the order in which they first come."""
    numbers = {}

    def number(found):
        name = found[1] or found[2]
        if found[0].startswith("."):
            return " . "  # a port of an instance: the other module's name
        return f" {numbers.setdefault(name, len(numbers))} "

    return re.sub(r" +", " ", IDENTIFIER.sub(number, text))


def test_only_names_change(texts):
    for before, after in zip(*map(modules, texts), strict=True):
        assert numbered(before) == numbered(after)


def test_instances_connect_ports_that_are_there(texts):
    parts = modules(texts[1])
    ports = {}
    for part in parts[1:]:
        name = re.match(r"module (?:\\(\S+) |(\w+))", part)
        declared = re.findall(r"^  (?:in|out)put (?:\[\S+\] )?\\?(\S+?) ?;", part, re.MULTILINE)
        ports[name[1] or name[2]] = set(declared)
    checked = 0
    for part in parts:
        instances = re.findall(
            r"^  (?:\\(\S+) |(\w+)) \\?\S+  ?\(\n((?:    \..*\n)+)  \);", part, re.MULTILINE
        )
        for escaped, plain, connections in instances:
            child = escaped or plain
            connected = set(re.findall(r"^    \.\\?(\S+?) ?\(", connections, re.MULTILINE))
            if child in ports:
                assert connected == ports[child]
                checked += 1
    assert checked > 20


def test_no_name_is_a_number_of_the_tools(texts):
    before, after = texts
    assert re.findall(r"\\\S*\$\S* ", before)
    assert not re.findall(r"\\\S*\$\S* ", after)


def test_streams_are_named_by_what_drives_them(texts):
    (core,) = (part for part in modules(texts[1]) if part.startswith("module \\top.core "))
    wires = re.findall(r"^  wire (?:\[\S+\] )?(\w+);", core, re.MULTILINE)
    assert "label__o__valid" in wires
    assert "guard__o_verdict__payload" in wires
    header = core[: core.index("\n")]
    assert {"o__payload", "o__ready", "o__valid"} <= set(re.findall(r"\w+", header))


def test_values_are_named_by_what_they_do(texts):
    (guard,) = (part for part in modules(texts[1]) if part.startswith("module \\top.core.guard "))
    assert "  assign not_last_word = ~ last_word;" in guard
    assert "    else fsm_state <= fsm_state_next;" in guard
    assert re.search(r"else if \((\w+)\) word <= word_next\[\d+:0\];", guard)
    assert "  assign fsm_state_is_2 = fsm_state == 2'h2;" in guard


MODULE = """
module m (\\i__valid$3 , clk);
  input clk;
  wire clk;
  input \\i__valid$3 ;
  wire \\i__valid$3 ;
  wire \\a$1 ;
  wire \\$2 ;
  wire not_clk;
  wire a_1;
  assign \\$2  = ~ clk;
  assign \\a$1  = \\$2  & not_clk & a_1;
endmodule
"""


def test_names_that_are_taken_get_a_number():
    text = readable(MODULE)
    assert "module m (i__valid, clk);" in text
    assert "assign not_clk_2 = ~ clk;" in text
    assert "assign a_1_2 = not_clk_2 & not_clk & a_1;" in text
