"""What Vivado needs to take an accelerator for an IP core: ``component.xml`` and a Tcl script.

``component.xml`` is IP-XACT of IEEE 1685-2009, which is what Vivado reads and writes, with AMD's
names of buses (``xilinx.com:interface:axis``) and of parameters of clocks and resets.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from amaranth.lib.wiring import In

from xnorflow.hw.compile.axi import AxiStreamTop


__all__ = ["component_xml", "core_name", "vivado_script"]

VENDOR, LIBRARY, VERSION = "xnorflow", "networks", "1.0"

_SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
_XILINX = "http://www.xilinx.com"
_FAMILIES = (
    "artix7", "kintex7", "spartan7", "virtex7", "zynq",
    "kintexu", "virtexu", "artixuplus", "kintexuplus", "virtexuplus", "zynquplus", "versal",
)  # fmt: skip
_DEFAULT_PART = "xc7a35tcpg236-1"

# What an input is, if nothing drives it: marks that are absent, bytes that are all there.
_IDLE = {"s_axis_tuser": "0", "s_axis_tkeep": "1", "m_axis_tready": "1"}
_IDLE |= {"s_load_tdata": "0", "s_load_tvalid": "0", "s_load_tlast": "0"}


@dataclass(frozen=True)
class _Port:
    """A port of the Verilog module."""

    name: str
    width: int
    is_input: bool


def core_name(top: AxiStreamTop) -> str:
    """Name of the core: the network's, as an identifier of Verilog."""
    name = re.sub(r"\W+", "_", top.design.network.name, flags=re.ASCII).strip("_")
    return name if name[:1].isalpha() else f"net_{name}".rstrip("_")


def component_xml(top: AxiStreamTop, module: str, files: Sequence[str]) -> str:
    """Describe an accelerator in IP-XACT.

    Parameters
    ----------
    top : AxiStreamTop
        What the Verilog was generated from.
    module : str
        Name of its module.
    files : sequence of str
        Names of the Verilog files, beside ``component.xml``.
    """
    ET.register_namespace("spirit", _SPIRIT)
    ET.register_namespace("xilinx", _XILINX)
    root = ET.Element(_tag("component"))
    name = core_name(top)
    for key, value in zip(
        ("vendor", "library", "name", "version"), (VENDOR, LIBRARY, name, VERSION), strict=True
    ):
        _leaf(root, key, value)
    ports = _ports(top)
    interfaces = _node(root, "busInterfaces")
    streams = {"m_axis": "master", "s_axis": "slave"}
    if top.design.device.runtime_weights:
        streams["s_load"] = "slave"
    for prefix, mode in streams.items():
        _stream(interfaces, ports, prefix, mode)
    _clock_and_reset(interfaces, top)
    _model(root, ports, module)
    _file_sets(root, files)
    _leaf(root, "description", f"Streaming accelerator of the network {top.design.network.name}")
    parameter = _node(_node(root, "parameters"), "parameter")
    _leaf(parameter, "name", "Component_Name")
    value = {"resolve": "user", "id": "PARAM_VALUE.Component_Name", "order": "1"}
    _leaf(parameter, "value", f"{name}_v1_0", **value)
    _extensions(root, top)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _tag(name):
    return f"{{{_SPIRIT}}}{name}"


def _node(parent, name, /, **attributes):
    qualified = {_tag(key): value for key, value in attributes.items()}
    return ET.SubElement(parent, _tag(name), qualified)


def _leaf(parent, name, text, /, **attributes):
    _node(parent, name, **attributes).text = str(text)


def _ports(top) -> list[_Port]:
    """Ports of the Verilog module, clock and reset among them."""
    reset = top.ports.reset
    members = {
        name: _Port(name, member.shape, member.flow is In)
        for name, member in top.signature.members.items()
    }
    for name in (reset.clock, reset.value):
        members.setdefault(name, _Port(name, 1, is_input=True))
    return list(members.values())


def _interface(parent, name, library, kind, mode, maps):
    """A bus interface up to its port maps."""
    interface = _node(parent, "busInterface")
    _leaf(interface, "name", name)
    for element, suffix in (("busType", ""), ("abstractionType", "_rtl")):
        vlnv = {"vendor": "xilinx.com", "library": library, "version": "1.0"}
        _node(interface, element, name=f"{kind}{suffix}", **vlnv)
    _node(interface, mode)
    port_maps = _node(interface, "portMaps")
    for logical, physical in maps:
        port_map = _node(port_maps, "portMap")
        _leaf(_node(port_map, "logicalPort"), "name", logical)
        _leaf(_node(port_map, "physicalPort"), "name", physical)
    return interface


def _parameters(interface, name, values):
    """Parameters of a bus interface, with the identifiers that Vivado expects."""
    parameters = _node(interface, "parameters")
    for key, value in values.items():
        parameter = _node(parameters, "parameter")
        _leaf(parameter, "name", key)
        _leaf(parameter, "value", value, id=f"BUSIFPARAM_VALUE.{name.upper()}.{key}")


def _stream(parent, ports, prefix, mode):
    signals = [port for port in ports if port.name.startswith(f"{prefix}_")]
    maps = [(port.name.removeprefix(f"{prefix}_").upper(), port.name) for port in signals]
    interface = _interface(parent, prefix, "interface", "axis", mode, maps)
    widths = {logical: port.width for (logical, _), port in zip(maps, signals, strict=True)}
    _parameters(
        interface,
        prefix,
        {
            "TDATA_NUM_BYTES": widths["TDATA"] // 8,
            "TUSER_WIDTH": widths.get("TUSER", 0),
            "HAS_TREADY": 1,
            "HAS_TKEEP": int("TKEEP" in widths),
            "HAS_TLAST": 1,
        },
    )


def _clock_and_reset(parent, top):
    reset = top.ports.reset
    clock = _interface(parent, reset.clock, "signal", "clock", "slave", [("CLK", reset.clock)])
    streams = "m_axis:s_axis" + (":s_load" if top.design.device.runtime_weights else "")
    associated = {"ASSOCIATED_BUSIF": streams, "ASSOCIATED_RESET": reset.value}
    _parameters(clock, reset.clock, associated)
    element = _interface(parent, reset.value, "signal", "reset", "slave", [("RST", reset.value)])
    polarity = "ACTIVE_LOW" if reset.is_active_low else "ACTIVE_HIGH"
    _parameters(element, reset.value, {"POLARITY": polarity})


def _model(root, ports, module):
    model = _node(root, "model")
    views = _node(model, "views")
    for purpose in ("synthesis", "simulation"):
        view = _node(views, "view")
        _leaf(view, "name", f"xilinx_verilog{purpose}")
        _leaf(view, "envIdentifier", f"verilogSource:vivado.xilinx.com:{purpose}")
        _leaf(view, "language", "verilog")
        _leaf(view, "modelName", module)
        _leaf(_node(view, "fileSetRef"), "localName", f"verilog_{purpose}")
    elements = _node(model, "ports")
    for port in ports:
        element = _node(elements, "port")
        _leaf(element, "name", port.name)
        wire = _node(element, "wire")
        _leaf(wire, "direction", "in" if port.is_input else "out")
        if port.width > 1:
            vector = _node(wire, "vector")
            _leaf(vector, "left", port.width - 1, format="long")
            _leaf(vector, "right", 0, format="long")
        if port.name in _IDLE:
            value = int(_IDLE[port.name] * port.width, 2)
            form = {"format": "bitString", "bitStringLength": str(port.width)}
            _leaf(_node(wire, "driver"), "defaultValue", f"0x{value:x}", **form)


def _file_sets(root, files):
    sets = _node(root, "fileSets")
    for purpose in ("synthesis", "simulation"):
        file_set = _node(sets, "fileSet")
        _leaf(file_set, "name", f"verilog_{purpose}")
        for name in files:
            file = _node(file_set, "file")
            _leaf(file, "name", name)
            _leaf(file, "fileType", "verilogSource")


def _extensions(root, top):
    """Of AMD: the families of FPGAs, and where the core is in the catalogue."""

    def node(parent, name, text=None, **attributes):
        qualified = {f"{{{_XILINX}}}{key}": value for key, value in attributes.items()}
        element = ET.SubElement(parent, f"{{{_XILINX}}}{name}", qualified)
        element.text = text
        return element

    core = node(_node(root, "vendorExtensions"), "coreExtensions")
    families = node(core, "supportedFamilies")
    for family in _FAMILIES:
        node(families, "family", family, lifeCycle="Production")
    node(node(core, "taxonomies"), "taxonomy", "/UserIP")
    node(core, "displayName", f"xnorflow: {top.design.network.name}")
    node(core, "coreRevision", "1")


_SCRIPT = """\
# Takes the accelerator {name} into Vivado.
#
#   vivado -mode batch -source vivado.tcl                        a project with the core in it
#   vivado -mode batch -source vivado.tcl -tclargs PART          the same, for another FPGA
#   vivado -mode batch -source vivado.tcl -tclargs PART PERIOD   synthesis out of context, with
#                                                                a clock of PERIOD ns, and reports
#
# To have it in a project of your own, add this folder to its ip_repo_paths: component.xml makes it
# the core {vlnv}.

set here [file dirname [file normalize [info script]]]
set part [expr {{$argc > 0 ? [lindex $argv 0] : "{part}"}}]
set sources [list {files}]

if {{$argc > 1}} {{
    # Synthesis out of context: no project, no pins.
    foreach file $sources {{
        read_verilog [file join $here $file]
    }}
    synth_design -top {module} -part $part -mode out_of_context
    create_clock -name {clock} -period [lindex $argv 1] [get_ports {clock}]
    opt_design
    place_design
    route_design
    report_utilization -file [file join $here utilization.rpt]
    report_timing_summary -file [file join $here timing.rpt]
    write_checkpoint -force [file join $here {module}.dcp]
}} else {{
    # A project that has the core, with the products that synthesis and simulation need.
    create_project -force {name} [file join $here vivado] -part $part
    set_property ip_repo_paths [list $here] [current_project]
    update_ip_catalog -rebuild
    create_ip -vlnv {vlnv} -module_name {name}_0
    generate_target all [get_ips {name}_0]
    create_ip_run [get_ips {name}_0]
}}
"""


def vivado_script(top: AxiStreamTop, module: str, files: Iterable[str]) -> str:
    """Script in Tcl that makes a project of Vivado with the core, or synthesises it alone."""
    name = core_name(top)
    return _SCRIPT.format(
        name=name,
        vlnv=f"{VENDOR}:{LIBRARY}:{name}:{VERSION}",
        part=_DEFAULT_PART,
        files=" ".join(f"{{{file}}}" for file in files),
        module=module,
        clock=top.ports.reset.clock,
    )
