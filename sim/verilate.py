"""Compiles Verilog and a C++ harness into a program, once."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from xnorflow.errors import ToolError
from xnorflow.files import make_folder
from xnorflow.sim.tools import find_verilator


__all__ = ["CACHE", "HARNESSES", "verilate"]

HARNESSES = Path(__file__).parent / "harness"
"""Folder of the C++ harnesses."""

CACHE = Path("build/simulation")
"""Folder of compiled programs, unless told otherwise."""

_FLAGS = (
    "--cc", "--exe", "--build", "-O3",
    "--x-assign", "fast", "--x-initial", "fast", "--noassert",
    "-Wno-lint", "-Wno-style",  # `generate` answers for these
    # Files of even size, for two compilers at once. -O1 compiles in two thirds of the time of -O2
    # and runs as fast; what runs once, such as filling ROMs, is not worth optimising.
    "--build-jobs", "2", "--output-split", "8000",
    "-MAKEFLAGS", "OPT_FAST=-O1", "-MAKEFLAGS", "OPT_SLOW=-O0", "-MAKEFLAGS", "OPT_GLOBAL=-O1",
    "-CFLAGS", "-std=c++17",
)  # fmt: skip


def verilate(verilog: Path, top: str, harness: Path, cache: Path) -> Path:
    """Compile a Verilog file with a harness, or find the program of an earlier call.

    Parameters
    ----------
    verilog : Path
        The whole design, in one file.
    top : str
        Name of its top module. The harness sees it as class ``Vtop``.
    harness : Path
        C++ source with ``main``.
    cache : Path
        Folder of compiled programs, named by a hash of all that goes into them.

    Returns
    -------
    Path
        The program.

    Raises
    ------
    ToolError
        If Verilator or its tools are missing, or fail.
    """
    verilator = find_verilator()
    digest = hashlib.sha256()
    for part in (top, *_FLAGS, str(verilator.executable)):
        digest.update(part.encode() + b"\0")
    for source in (verilog, harness):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    program = cache / f"{harness.stem}-{digest.hexdigest()[:20]}"
    if program.exists():
        return program

    make_folder(cache)
    try:
        with tempfile.TemporaryDirectory(dir=cache, prefix=".build-") as build:
            done = subprocess.run(
                [
                    str(verilator.executable), *_FLAGS, "--top-module", top, "--prefix", "Vtop",
                    "-Mdir", build, "-o", "program", str(harness.resolve()), str(verilog.resolve()),
                ],
                env={**os.environ, **verilator.environment},
                capture_output=True,
                text=True,
            )  # fmt: skip
            if done.returncode != 0:
                raise ToolError(
                    f"Verilator failed on {verilog}: {_reason(done.stdout + done.stderr)}"
                )
            # The program appears under its name only when it is whole.
            (Path(build) / "program").replace(program)
    except OSError as error:
        raise ToolError(f"nothing can be compiled in {cache}: {error.strerror}") from None
    return program


def _reason(log: str) -> str:
    """The line of a log that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no message"])[0]
