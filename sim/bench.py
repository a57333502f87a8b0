"""Builds Verilog for cocotb, and runs a bench module on it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

from cocotb_tools.runner import Runner, VerilatorControlFile, get_runner

from xnorflow.errors import ToolError
from xnorflow.sim.tools import find_icarus, find_verilator


__all__ = [
    "Build",
    "LanguageLevel",
    "Report",
    "Simulator",
    "available_simulators",
    "build_bench",
    "run_bench",
]


_RANDOM_START = ["+verilator+rand+reset+2", "+verilator+seed+1"]
"""Verilator knows no undefined values: what would be undefined at first is random."""


class Simulator(Enum):
    """Simulators that benches run on; the values are cocotb's names."""

    VERILATOR = "verilator"
    ICARUS = "icarus"


def available_simulators() -> list[Simulator]:
    """Verilator, which every installation has, and Icarus where it is installed."""
    return [Simulator.VERILATOR] + ([Simulator.ICARUS] if find_icarus() else [])


class LanguageLevel(Enum):
    """Levels of the language; the values are those of Icarus' option ``-g``."""

    VERILOG_2001 = "2001"
    VERILOG_2005 = "2005"
    SYSTEMVERILOG_2009 = "2009"
    SYSTEMVERILOG_2012 = "2012"


@dataclass(frozen=True)
class Build:
    """A design, compiled for cocotb.

    Attributes
    ----------
    simulator : Simulator
        What it was compiled for.
    top : str
        Name of the top module.
    directory : Path
        Where it is, and where benches leave their logs and results.
    """

    simulator: Simulator
    top: str
    directory: Path


@dataclass(frozen=True)
class Report:
    """Outcome of the tests of a bench: their names, and the messages of those that failed."""

    passed: list[str]
    failed: dict[str, str]


def build_bench(
    simulator: Simulator,
    verilog: Path,
    top: str,
    directory: Path,
    *,
    probes: Sequence[str] = (),
    level: LanguageLevel = LanguageLevel.SYSTEMVERILOG_2012,
) -> Build:
    """Compile a Verilog file for benches.

    Parameters
    ----------
    simulator : Simulator
        What to compile it for.
    verilog : Path
        The whole design, in one file.
    top : str
        Name of its top module.
    directory : Path
        Folder for the compiled design.
    probes : sequence of str
        Patterns, as in ``"o__*"``, of the inner signals that benches look at. Ports of the top
        module are always visible. (Verilator compiles faster the less is visible.)
    level : LanguageLevel
        What Icarus reads the file as.

    Raises
    ------
    ToolError
        If the simulator is missing or fails; the log is in ``directory``.
    """
    build = Build(simulator, top, directory)
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "build.log"
    sources: list[Path | VerilatorControlFile] = [verilog]
    arguments = [f"-g{level.value}"]
    environment: dict[str, str] = {}
    if simulator is Simulator.VERILATOR:
        control = directory / "visible.vlt"
        places = [f'-module "{top}" -var "*"', *(f'-module "*" -var "{p}"' for p in probes)]
        lines = ["`verilator_config", *(f"public_flat_rw {place}" for place in places)]
        control.write_text("\n".join(lines) + "\n")
        sources.insert(0, VerilatorControlFile(control))
        arguments = ["--no-public-flat-rw", "-Wno-lint", "-Wno-style", "--output-split", "5000"]
        arguments += ["--x-initial", "unique", "--x-assign", "unique"]
        environment = dict(find_verilator().environment)
        # Benches are short: compiling takes longer than running.
        flags = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
        environment["MAKEFLAGS"] = f"{environment.get('MAKEFLAGS', '')} {flags}".strip()
    with patch.dict(os.environ, environment):
        try:
            _runner(simulator).build(
                sources=sources,
                hdl_toplevel=top,
                build_dir=directory,
                build_args=arguments,
                timescale=("1ns", "1ps"),
                log_file=log,
            )
        except RuntimeError:
            raise ToolError(f"{simulator.value} cannot compile {verilog}; see {log}") from None
    return build


def run_bench(build: Build, module: str, *, variables: Mapping[str, str] | None = None) -> Report:
    """Run the tests of a bench module.

    Parameters
    ----------
    build : Build
        What `build_bench` gave.
    module : str
        Python module with cocotb tests.
    variables : mapping of str to str, optional
        Environment variables for the bench.

    Raises
    ------
    ToolError
        If the simulation ends before the bench does.
    """
    log = build.directory / f"{module}.log"
    results = build.directory / f"{module}.xml"
    results.unlink(missing_ok=True)
    try:
        _runner(build.simulator).test(
            test_module=module,
            hdl_toplevel=build.top,
            hdl_toplevel_lang="verilog",
            build_dir=build.directory,
            extra_env=variables or {},
            results_xml=str(results),
            seed=0,
            plusargs=_RANDOM_START if build.simulator is Simulator.VERILATOR else [],
            timescale=("1ns", "1ps"),
            log_file=log,
        )
    except (RuntimeError, SystemExit):  # under pytest, failed tests are a reason to exit
        if not results.exists():
            raise ToolError(f"the simulation of {build.top} broke off; see {log}") from None
    return _read(results)


def _runner(simulator: Simulator) -> Runner:
    return get_runner(simulator.value)


def _read(results: Path) -> Report:
    """Read the outcome of the tests from cocotb's JUnit file."""
    passed: list[str] = []
    failed: dict[str, str] = {}
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = case.get("name", "")
        problem = next((child for child in case if child.tag in ("failure", "error")), None)
        if problem is None:
            passed.append(name)
        else:
            failed[name] = problem.get("message") or problem.get("error_msg") or problem.tag
    return Report(passed, failed)
