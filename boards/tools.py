"""Finds the programs that make bitstreams: native ones that are new enough, else YoWASP's."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from xnorflow.errors import ToolError


__all__ = ["find_tools"]

_OLDEST = {
    "yosys": ((0, 40), "-V"),  # the oldest that Amaranth writes for
    "nextpnr-ice40": ((0, 5), "--version"),
    "nextpnr-ecp5": ((0, 5), "--version"),  # the first whose reports count TRELLIS_COMB
    "nextpnr-himbaechel-gowin": ((0, 9), "--version"),  # the first that knows a GW5AST-138C
    "nextpnr-himbaechel-gatemate": ((0, 9), "--version"),  # the first with GateMate
}


def find_tools(names: list[str]) -> dict[str, Path]:
    """Find programs by name.

    All are native, or all from PyPI, since packers and placers share data bases of a version.

    Raises
    ------
    ToolError
        If one is missing.
    """
    native = {name: path for name in names if (path := _native(name))}
    if len(native) == len(names):
        return native
    wheels = {name: path for name in names if (path := _from_wheel(_wheel_name(name)))}
    missing = [name for name in names if name not in wheels]
    if missing:
        raise ToolError(
            f"{', '.join(missing)} cannot be found: install with `pip install 'xnorflow[boards]'`"
        )
    return wheels


def _wheel_name(name: str) -> str:
    """Name of a program in a wheel: YoWASP's have a prefix, Apicula's packer is plain Python."""
    return name if name == "gowin_pack" else f"yowasp-{name}"


def _native(name: str) -> Path | None:
    path = shutil.which(name)
    if path is None:
        return None
    if name in _OLDEST:
        oldest, option = _OLDEST[name]
        if _version(path, option) < oldest:
            return None
    return Path(path)


def _version(path: str, option: str) -> tuple[int, int]:
    """Version of a program; (0, 0) if it does not run or does not say."""
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    match = re.search(r"(?:Yosys |nextpnr-|Version )(\d+)\.(\d+)", done.stdout + done.stderr)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _from_wheel(name: str) -> Path | None:
    # Beside the running interpreter, whether its environment is active or not.
    path = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    return Path(path) if path else None
