"""Compiles Verilog and a C++ harness into a program, once."""

import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

from xnorflow.cache import cache_folder
from xnorflow.errors import ToolError
from xnorflow.files import make_folder
from xnorflow.sim.tools import Verilator, find_verilator


__all__ = ["HARNESSES", "verilate"]

HARNESSES = Path(__file__).parent / "harness"
"""Folder of the C++ harnesses."""

_FLAGS = (
    "--cc", "--exe", "--build", "-O3",
    "--x-assign", "fast", "--x-initial", "fast", "--noassert",
    "-Wno-lint", "-Wno-style",  # `generate` answers for these
    # Bits of a vector may follow from each other; a loop of one bit would not settle.
    "-Wno-UNOPTFLAT",
    # Files of even size, for two compilers at once. -O1 compiles in two thirds of the time of -O2
    # and runs as fast; what runs once, such as filling ROMs, is not worth optimising.
    "--build-jobs", "2", "--output-split", "8000",
    "-MAKEFLAGS", "OPT_FAST=-O1", "-MAKEFLAGS", "OPT_SLOW=-O0", "-MAKEFLAGS", "OPT_GLOBAL=-O1",
    "-CFLAGS", "-std=c++17",
)  # fmt: skip


def verilate(verilog: Path, top: str, harness: Path, cache: Path | str | None = None) -> Path:
    """Compile a Verilog file with a harness, or find the program of an earlier call.

    Parameters
    ----------
    verilog : Path
        The whole design, in one file.
    top : str
        Name of its top module. The harness sees it as class ``Vtop``.
    harness : Path
        C++ source with ``main``.
    cache : Path, optional
        Folder of compiled programs, named by a hash of all that goes into them; ``simulation`` in
        the `cache_folder` by default. Of several calls for one program at once, one compiles it,
        and the others wait.

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
    for part in (top, *_FLAGS, str(verilator.executable), platform.machine()):
        digest.update(part.encode() + b"\0")
    for source in (verilog, harness):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    cache = make_folder(cache_folder() / "simulation" if cache is None else cache)
    program = cache / f"{harness.stem}-{digest.hexdigest()[:20]}"
    try:
        with FileLock(cache / f".{program.name}.lock"):
            if not program.exists():
                _compile(verilator, verilog, top, harness, program)
    except OSError as error:
        raise ToolError(f"nothing can be compiled in {cache}: {error.strerror}") from None
    return program


def _compile(verilator: Verilator, verilog: Path, top: str, harness: Path, program: Path) -> None:
    # After an interruption, compilers may still be at work there for a moment.
    with tempfile.TemporaryDirectory(
        dir=program.parent, prefix=".build-", ignore_cleanup_errors=True
    ) as build:
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
            raise ToolError(f"Verilator failed on {verilog}: {_reason(done.stdout + done.stderr)}")
        # The program appears under its name only when it is whole.
        (Path(build) / "program").replace(program)


def _reason(log: str) -> str:
    """The line of a log that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and "Exiting due to" not in line]
    warnings = [line for line in lines if line.startswith("%Warning")]
    return (errors or warnings or lines or ["no message"])[0]
