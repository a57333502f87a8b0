"""Boards on the command line: plans for devices, boards of users, flashing, ports."""

import pytest

from xnorflow.boards import flash as flash_module
from xnorflow.errors import LinkError


def test_a_device_stands_for_a_board(cli, files):
    code, out, _ = cli("plan", "net.xnf", "--device", "GW1NR-LV9QN88PC6/I5")
    assert code == 0
    assert "on GW1N-9C" in out
    assert "at 27 MHz" in out
    assert cli("generate", "net.xnf", "-o", "rtl", "--device", "XC7A35T")[0] == 0
    assert (files / "rtl" / "accelerator.v").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device", "LFE5U-99F"], "there is no device 'LFE5U-99F'; did you mean LFE5U-"),
        (["--board", "icestik"], "there is no board 'icestik'; did you mean icestick"),
        (["--board", "icestick", "--device", "iCE40HX1K"], "give only one of --board and --dev"),
        (["--board", "mine.py:Mine"], "there is no file mine.py"),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_is_unknown_is_one_sentence(cli, options, sentence):
    code, _, err = cli("plan", "net.xnf", *options)
    assert code == 1
    assert err.startswith(f"error: {sentence}")
    assert err.count("\n") == 1


def test_a_bitstream_is_loaded(cli, files, monkeypatch):
    (files / "openFPGALoader").write_text("#!/bin/sh\necho $@ > arguments\n")
    (files / "openFPGALoader").chmod(0o755)
    monkeypatch.setattr(flash_module, "find_loader", lambda *_: files / "openFPGALoader")
    (files / "net.bin").write_text("bits")
    code, out, _ = cli("flash", "net.bin", "--board", "upduino3", "--permanent")
    assert code == 0
    assert "the UPduino 3 is loaded" in out
    assert "to talk to it: solder the jumper" in out
    assert (files / "arguments").read_text() == "-b ice40_generic -f net.bin\n"


def test_a_network_is_built_first(cli, files, monkeypatch):
    built = []

    def run_build(design, target, folder, **_):
        built.append(target.name)
        raise LinkError("enough")

    monkeypatch.setattr("xnorflow.boards.build.build", run_build)
    code, _, err = cli("flash", "net.xnf", "--board", "icebreaker")
    assert (code, err, built) == (1, "error: enough\n", ["icebreaker"])


@pytest.mark.usefixtures("files")
def test_a_port_is_looked_for(cli, monkeypatch):
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    code, _, err = cli("run", "net.xnf", "--port", "auto", "--input", "frames.npy")
    assert code == 1
    assert err.startswith("error: there is no USB-UART: plug the board in")


@pytest.mark.usefixtures("files")
def test_a_board_without_pins_for_spi_is_one_sentence(cli):
    code, _, err = cli("build", "net.xnf", "-o", "out", "--board", "ulx3s-85f", "--link", "spi")
    assert code == 1
    assert err.startswith("error: the ULX3S 85F names no pins for SPI: ")
    assert err.count("\n") == 1
