"""Commands for hardware, as a user types them."""

import errno
import json
import os
import re
import time

import numpy as np
import pytest

from tests.cli.conftest import NETWORK
from tests.hw.networks import dynamic_net, random_conv_net
from xnorflow.boards.build import Stage
from xnorflow.boards.report import Timing, Usage
from xnorflow.boards.route import Placement
from xnorflow.files import locked
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.families.device import Cell
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir.xnf import save
from xnorflow.sw.golden import golden


def test_simulate_compares_with_golden(cli, files, frames):
    code, out, _ = cli("simulate", "net.xnf", "--input", "frames.npy", "--output", "scores.npy")
    assert code == 0
    assert "5 frames compared with the golden model: all scores are equal" in out
    assert "popcounts are simulated as they are built" in out
    assert "predicted" in out
    assert np.array_equal(np.load("scores.npy"), golden(NETWORK, frames).scores.numpy())


def test_simulate_fails_when_the_hardware_is_wrong(cli, files, monkeypatch):
    from xnorflow.hw.ops import binary_conv

    rows = binary_conv.weight_rows
    monkeypatch.setattr(
        binary_conv,
        "weight_rows",
        lambda *args, **folds: [row ^ 1 for row in rows(*args, **folds)],
    )
    code, out, err = cli("simulate", "net.xnf", "--input", "frames.npy", "--behavioural")
    assert code == 1
    assert "popcounts are simulated in behavioural form" in out
    assert "error: RTL and golden model differ: frame" in err


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_share_the_frames(cli, files, workers):
    pytest.importorskip("distributed", reason="`pip install 'xnorflow[cluster]'`")
    many = np.random.default_rng(1).integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    np.save("many.npy", many)
    arguments = "simulate", "net.xnf", "--input", "many.npy", "--all", "--output", "scores.npy"
    code, out, err = cli(*arguments, "--workers", workers)
    assert code == 0, err
    assert "20 frames compared with the golden model: all scores are equal" in out
    assert re.search(r"latency: (\d+), predicted \1", out)
    assert np.array_equal(np.load("scores.npy"), golden(NETWORK, many).scores.numpy())
    code, _, err = cli(*arguments, "--limit", 3)
    assert (code, err.splitlines()[0]) == (
        1, "error: --limit is for some of the frames, and --all for all of them",
    )  # fmt: skip


def test_plan_shows_what_each_part_costs(cli, files):
    save(random_conv_net(1), files / "conv.xnf")
    code, out, _ = cli("plan", "conv.xnf", "--board", "icebreaker", "--cycles", 1000)
    assert code == 0
    for part in ("conv1", "conv2", "5,280"):
        assert part in out
    assert "conv1_windows" not in out
    code, detailed, _ = cli(
        "plan", "conv.xnf", "--board", "icebreaker", "--cycles", 1000, "--parts"
    )
    assert code == 0
    for part in ("conv1_windows", "conv2", "label", "5,280"):
        assert part in detailed

    def luts(text):
        """Look-up tables: the sum of all parts, then accelerator, link, total and budget."""
        column = [
            int(line.split("│")[6].replace(",", "")) for line in text.splitlines() if "│" in line
        ]
        return sum(column[:-4]), *column[-4:]

    # The frame guard is no part of the pipeline.
    layers, accelerator, link, total, there = luts(out)
    assert luts(detailed) == (layers, accelerator, link, total, there)
    assert layers < accelerator
    assert link > 500
    assert accelerator + link == total < there == 5280


def test_plan_explains_what_binds_and_what_a_step_faster_lacks(cli, files):
    save(random_conv_net(1), files / "conv.xnf")
    arguments = "plan", "conv.xnf", "--board", "icebreaker", "--explain"
    code, out, _ = cli(*arguments, "--cycles", 1000)
    assert code == 0
    assert re.search(r"look-up tables bind: [\d,]+ of 3,960 that may be used", out)
    assert re.search(r"a step faster, [\d,]+ cycles a frame, fits, too", out)
    _, out, _ = cli(*arguments, "--fastest")
    assert re.search(r"no folding is faster|a step faster, .*, lacks [\d,]+ ", out)


def test_what_follows_from_the_frame_is_shown(cli, files):
    save(dynamic_net(), files / "dynamic.xnf")
    _, out, _ = cli("info", "dynamic.xnf")
    assert "parameters of each frame in bits, act" in out
    _, out, _ = cli("plan", "dynamic.xnf", "--cycles", 324)
    assert "frames wait for their parameters in 1 of the parts, which take " in out
    _, out, _ = cli("plan", "dynamic.xnf", "--cycles", 324, "--parts")
    assert "stem_held" in out


def test_buffers_of_a_single_frame_run_as_predicted(cli, files):
    save(dynamic_net(), files / "dynamic.xnf")
    np.save("wide.npy", np.random.default_rng(0).integers(0, 256, (12, 6, 6, 2), np.uint8))
    options = "--cycles", 600, "--single-buffered"

    assert cli("generate", "dynamic.xnf", "-o", "rtl", *options)[0] == 0
    description = json.loads((files / "rtl" / "design.json").read_text())
    depths = {step["name"]: step["depth"] for step in description["steps"] if "depth" in step}
    assert depths["stem_held"] == 6 * 6 * 4
    assert description["cycles_per_frame"] == 518
    assert description["single_buffered"]

    code, out, _ = cli("simulate", "dynamic.xnf", "--input", "wide.npy", *options)
    assert code == 0
    assert "12 frames compared with the golden model: all scores are equal" in out
    assert "cycles a frame: 518, predicted 518" in out


@pytest.mark.parametrize(
    "command",
    [
        ["plan"],
        ["generate", "-o", "rtl"],
        ["simulate", "--input", "wide.npy"],
        ["build", "-o", "bits", "--board", "icebreaker"],
    ],
    ids=lambda command: command[0],
)
def test_a_rate_that_single_buffers_cannot_keep_is_refused(cli, files, command):
    save(dynamic_net(), files / "dynamic.xnf")
    np.save("wide.npy", np.zeros((1, 6, 6, 2), np.uint8))
    name, *options = command
    code, _, err = cli(name, "dynamic.xnf", *options, "--cycles", 127, "--single-buffered")
    assert code == 1
    assert err == (
        "error: dynamic takes more than 127 cycles a frame with buffers of one frame, "
        "however it is folded\n"
    )


def test_generate_takes_a_rate(cli, files):
    code, out, _ = cli("generate", "net.xnf", "-o", "rtl", "--cycles", 8)
    assert code == 0
    assert "8 cycles a frame" in out
    assert (files / "rtl" / "accelerator.v").read_text().startswith("// xnorflow")
    assert (files / "rtl" / "design.json").exists()


def test_frames_go_to_a_simulated_board(cli, files, frames, monkeypatch):
    # As on macOS, where no pseudo-terminal is as fast as a board's line.
    monkeypatch.delattr("termios.B1000000", raising=False)
    monkeypatch.setattr("serial.Serial.BAUDRATE_CONSTANTS", {})
    monkeypatch.setattr("serial.Serial._set_special_baudrate", pytest.fail)
    options = "--input", "frames.npy", "--output", "scores.npy"
    code, out, _ = cli("run", "net.xnf", "--port", "virtual", *options)
    assert code == 0
    assert "compiling the board, an iCE40UP5K" in out
    assert "all scores are those of the golden model" in out
    assert np.array_equal(np.load("scores.npy"), golden(NETWORK, frames).scores.numpy())


def test_packets_of_any_number_of_frames(cli, files):
    options = "--input", "frames.npy", "--frames-per-packet", "any"
    code, out, _ = cli("simulate", "net.xnf", *options)
    assert code == 0
    assert "all scores are equal" in out
    assert cli("generate", "net.xnf", "-o", "rtl", *options[2:])[0] == 0
    assert json.loads((files / "rtl" / "design.json").read_text())["frames_per_packet"] == "any"
    code, _, err = cli("generate", "net.xnf", "-o", "rtl", "--frames-per-packet", "four")
    assert code == 2
    assert "'one', 'any'" in err


def test_streams_of_a_width_and_an_active_low_reset(cli, files):
    options = "--axi-width", 32, "--reset", "aresetn"
    code, out, _ = cli("simulate", "net.xnf", "--input", "frames.npy", *options)
    assert code == 0
    assert "all scores are equal" in out
    assert "predicted" in out
    assert cli("generate", "net.xnf", "-o", "rtl", *options)[0] == 0
    text = (files / "rtl" / "accelerator.v").read_text()
    assert "input [3:0] s_axis_tkeep;" in text
    assert "input aresetn;" in text
    code, _, err = cli("generate", "net.xnf", "-o", "rtl", "--axi-width", 33)
    assert code == 1
    assert err == "error: the AXI width must be a multiple of 8 from 8 to 4096 bits, not 33\n"


def test_what_is_built_leaves_room_for_the_link(cli, files, monkeypatch):
    """Verilog without a board has no link; what goes onto a board does."""
    monkeypatch.setattr(
        "xnorflow.boards.plan.link_resources", lambda _: Resources(luts=ECP5_85F.luts)
    )
    assert cli("generate", "net.xnf", "-o", "rtl")[0] == 0
    for arguments in (
        ["plan", "net.xnf"],
        ["build", "net.xnf", "-o", "bits", "--board", "ulx3s-85f"],
        ["build", "net.xnf", "-o", "bits", "--board", "ulx3s-85f", "--cycles", "100"],
        ["build", "net.xnf", "-o", "bits", "--board", "ulx3s-85f", "--fastest"],
    ):
        code, _, err = cli(*arguments)
        assert code == 1
        assert "cycles a frame: with the link to the host, it would use about " in err
    assert not (files / "bits").exists()


def test_a_build_shows_how_long_each_stage_takes(cli, files, monkeypatch):
    def make(job, plan, bitstream):
        for stage in Stage:
            if stage is not Stage.ELABORATE:
                job.begin(stage)
        time.sleep(1.1)
        return [Placement(1, {Cell.LUT: Usage(1383, 5280)}, Timing(36.29e6, None))]

    monkeypatch.setattr("xnorflow.boards.build._make", make)
    code, out, _ = cli("build", "net.xnf", "-o", "bits", "--board", "icebreaker")
    assert code == 0
    for stage in Stage:
        (line,) = (line for line in out.splitlines() if f" {stage.value} " in line)
        assert re.search(r"0:00:0\d$", line.strip())
        assert line.startswith("✓")
    assert re.search(r"pack +0:00:0[1-9]", out)


def test_two_runs_do_not_generate_into_one_folder(cli, files):
    with locked(files / "rtl"):
        code, _, err = cli("generate", "net.xnf", "-o", "rtl")
    assert code == 1
    assert err.startswith("error: another run is writing to the folder rtl: ")
    assert cli("generate", "net.xnf", "-o", "rtl")[0] == 0
    # What is in the way is named.
    (files / "rtl" / "design.json").unlink()
    (files / "rtl" / "design.json").mkdir()
    code, _, err = cli("generate", "net.xnf", "-o", "rtl")
    assert (code, err) == (1, "error: rtl/design.json cannot be removed: Is a directory\n")


def test_simulations_are_kept_for_the_user(cli, files, compiled):
    (files / "elsewhere").mkdir()
    assert cli("simulate", "net.xnf", "--input", "frames.npy")[0] == 0
    assert list((compiled / "simulation").glob("accelerator-*"))
    assert not (files / "build").exists()


def test_a_full_disk_gets_one_sentence(cli, files, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/xnorflow-x")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    code, _, err = cli("simulate", "net.xnf", "--input", "frames.npy")
    assert code == 1
    assert err == "error: /tmp/xnorflow-x: No space left on device\n"


@pytest.mark.slow
def test_a_read_only_home_is_enough(cli, files, monkeypatch, frames):
    """The tools compile themselves into a folder of ours."""
    (files / "home").write_bytes(b"")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.delenv("XNORFLOW_CACHE")
    monkeypatch.setenv("HOME", str(files / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(files / "home" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(files))
    code, _, err = cli("simulate", "net.xnf", "--input", "frames.npy")
    assert (code, err) == (0, "")


def test_maps_that_are_computed_twice_are_asked_for(cli, files):
    save(dynamic_net(), files / "dynamic.xnf")
    options = "--cycles", 600, "--recompute"
    assert cli("generate", "dynamic.xnf", "-o", "rtl", *options)[0] == 0
    description = json.loads((files / "rtl" / "design.json").read_text())
    assert description["recompute"]
    assert description["single_buffered"]
