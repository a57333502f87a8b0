"""The command line as a user types it: what it prints, what it writes, how it refuses."""

import errno
import json
import os
import re
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.hw.networks import First, dynamic_net, input_net, random_conv_net, random_mlp
from tests.sw.test_adabin_import import release
from xnorflow import __version__
from xnorflow.boards.build import Stage
from xnorflow.boards.report import Usage
from xnorflow.cli import main
from xnorflow.cli.shared import load_network
from xnorflow.files import locked
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.families.device import Cell
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import Int
from xnorflow.ir.xnf import load, save
from xnorflow.sw import fit
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.data import ImageData, published
from xnorflow.sw.golden import golden


NETWORK = random_mlp(1, popcount=True)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Folder of compiled simulations."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path, compiled):
    """Run the command line in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    # Whose compiled simulations are kept is for a test of its own.
    monkeypatch.setenv("XNORFLOW_DATA", str(published.cache_folder()))
    monkeypatch.setenv("XNORFLOW_CACHE", str(compiled))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xnorflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)


@pytest.fixture
def files(tmp_path, frames):
    """A network and frames for it."""
    save(NETWORK, tmp_path / "net.xnf")
    np.save(tmp_path / "frames.npy", frames)
    return tmp_path


def test_help_names_every_command(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in ("data", "train", "import", "lower", "info", "eval", "plan", "generate",
                    "simulate", "build", "run", "boards"):  # fmt: skip
        assert command in out
        assert cli(command, "--help")[:2] == cli(command, "-h")[:2]
        assert cli(command, "-h")[0] == 0
    assert cli("-h")[1] == out
    assert cli("data", "fetch", "-h")[0] == 0


def test_says_its_version(cli):
    assert cli("--version") == (0, f"xnorflow {__version__}\n", "")


def test_info_lists_the_layers(cli, files):
    code, out, _ = cli("info", "net.xnf")
    assert code == 0
    for node in NETWORK.nodes:
        assert node.name in out


def test_eval_writes_the_scores(cli, files, frames):
    code, out, _ = cli("eval", "net.xnf", "--input", "frames.npy", "--output", "scores.npy")
    assert code == 0
    assert "scores are in scores.npy" in out
    assert np.array_equal(np.load("scores.npy"), golden(NETWORK, frames).scores.numpy())


def test_eval_takes_the_number_of_threads(cli, files, frames, monkeypatch):
    given = []

    def note(network, images, *, threads=None, **options):
        given.append(threads)
        return golden(network, images, threads=threads, **options)

    monkeypatch.setattr("xnorflow.sw.golden.golden", note)
    arguments = ("eval", "net.xnf", "--input", "frames.npy", "--output", "scores.npy")
    assert cli(*arguments)[0] == 0
    assert cli(*arguments, "--threads", 3)[0] == 0
    assert given == [None, 3]
    assert np.array_equal(np.load("scores.npy"), golden(NETWORK, frames).scores.numpy())
    code, _, err = cli(*arguments, "--threads", 0)
    assert code == 2
    assert "Invalid value for '--threads'" in err


def test_eval_prints_scores_that_nobody_saves(cli, files, frames):
    _, out, _ = cli("eval", "net.xnf", "--input", "frames.npy", "--limit", 2)
    scores = golden(NETWORK, frames).scores
    assert f"scores {scores[1].tolist()}" in out
    assert "frame 2" not in out


def test_simulate_compares_with_golden(cli, files, frames):
    code, out, _ = cli("simulate", "net.xnf", "--input", "frames.npy", "--output", "scores.npy")
    assert code == 0
    assert "5 frames compared with the golden model: all scores are equal" in out
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
    code, _, err = cli("simulate", "net.xnf", "--input", "frames.npy")
    assert code == 1
    assert "error: RTL and golden model differ: frame" in err


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
    assert description["cycles_per_frame"] == 407
    assert description["single_buffered"]

    code, out, _ = cli("simulate", "dynamic.xnf", "--input", "wide.npy", *options)
    assert code == 0
    assert "12 frames compared with the golden model: all scores are equal" in out
    assert "cycles a frame: 407, predicted 407" in out


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
    code, _, err = cli(name, "dynamic.xnf", *options, "--cycles", 406, "--single-buffered")
    assert code == 1
    assert err == (
        "error: dynamic takes more than 406 cycles a frame with buffers of one frame, "
        "however it is folded\n"
    )


def test_generate_takes_a_rate(cli, files):
    code, out, _ = cli("generate", "net.xnf", "-o", "rtl", "--cycles", 8)
    assert code == 0
    assert "8 cycles a frame" in out
    assert (files / "rtl" / "accelerator.v").read_text().startswith("// xnorflow")
    assert (files / "rtl" / "design.json").exists()


def test_train_and_lower(cli, mnist):
    code, out, _ = cli("train", "-o", "run", "--hidden", "16,8", "--epochs", 1)
    assert code == 0
    assert "the model is in run/model.safetensors" in out
    code, out, _ = cli("lower", "run/model.safetensors", "-o", "mine.xnf", "--data", "mnist")
    assert code == 0
    assert "act2: 0 of 80,000 values differ" in out
    assert load("mine.xnf").provenance.epochs == 1
    code, out, _ = cli("eval", "mine.xnf", "--data", "mnist")
    assert code == 0
    assert "accuracy: " in out


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


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_boards_and_data_are_listed(cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    boards = cli("boards")[1]
    for name in ("icebreaker", "ulx3s-85f"):
        assert f" {name} " in boards
    if columns >= 80:
        assert "…" not in boards
        assert max(map(len, boards.splitlines())) <= columns
    assert "fashion-mnist" in cli("data", "list")[1]


def test_layers_have_their_whole_names_on_a_narrow_terminal(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    network = load_network("zoo:fashion-small-dybnn")
    out = cli("info", "zoo:fashion-small-dybnn")[1]
    assert all(f" {node.name} " in out for node in network.nodes)


# -- room for the link ----------------------------------------------------------------------------


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
    def make(plan, design, target, directory, bitstream, clock, begin):
        for stage in Stage:
            if stage is not Stage.ELABORATE:
                begin(stage)
        time.sleep(1.1)
        return 36.29e6, {Cell.LUT: Usage(1383, 5280)}

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


# -- Ctrl-C ---------------------------------------------------------------------------------------


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "place", "sentence"),
    [
        (
            ["eval", "net.xnf", "--input", "frames.npy"],
            "xnorflow.sw.golden.golden",
            "nothing has been written; the same command starts again",
        ),
        (
            ["simulate", "net.xnf", "--input", "frames.npy"],
            "xnorflow.sim.simulate.simulate",
            "nothing is kept but what has been compiled; the same command starts again",
        ),
        (
            ["build", "net.xnf", "-o", "bits", "--board", "icebreaker"],
            "xnorflow.boards.build._make",
            "there is no bitstream, and the tools' files so far are in bits; the same command "
            "starts again",
        ),
        (
            ["train", "-o", "run", "--hidden", "8,8", "--fresh"],
            "xnorflow.sw.train.fit",
            "no epoch is done, so nothing is kept; `xnorflow train -o run --hidden 8,8 --fresh` "
            "starts again",
        ),
        (
            ["data", "fetch", "mnist"],
            "xnorflow.sw.data.fetch",
            "nothing has been written; the same command starts again",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_ctrl_c_says_what_is_kept(cli, files, mnist, monkeypatch, arguments, place, sentence):
    monkeypatch.setattr(place, interrupt)
    code, _, err = cli(*arguments)
    assert code == 130
    assert err == f"interrupted: {sentence}\n"


def test_ctrl_c_says_how_a_training_goes_on(cli, tmp_path, monkeypatch, mnist):
    few = replace(
        mnist, train_images=mnist.train_images[:600], train_labels=mnist.train_labels[:600]
    )
    monkeypatch.setattr(published, "load", lambda _: few)
    step = fit._Training.training_step

    def stop(self, batch, index):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    train = "train", "-o", "my run", "--hidden", "8,8", "--epochs", 2
    goes_on = "`xnorflow train -o 'my run' --hidden 8,8 --epochs 2` goes on with the next one\n"
    with monkeypatch.context() as patch:
        patch.setattr(fit._Training, "training_step", stop)
        code, _, err = cli(*train, "--fresh")
        assert code == 130
        assert err == f"interrupted: the epochs that are done are kept in my run; {goes_on}"
        # It has not yet begun, and the other one is still there.
        patch.setattr("xnorflow.sw.train.fit", interrupt)
        code, _, err = cli(*train, "--fresh")
        assert code == 130
        assert err == (
            "interrupted: the former training is still in my run; `xnorflow train -o 'my run' "
            "--hidden 8,8 --epochs 2 --fresh` starts afresh\n"
        )
        code, _, err = cli(*train)
        assert err == f"interrupted: the epochs that are done are kept in my run; {goes_on}"
    epochs = []
    monkeypatch.setattr(
        fit._Training, "training_step",
        lambda self, batch, index: epochs.append(self.current_epoch) or step(self, batch, index),
    )  # fmt: skip
    assert cli(*train)[0] == 0
    assert set(epochs) == {1}


# -- what the machine lacks -----------------------------------------------------------------------


def test_simulations_are_kept_for_the_user(cli, files, compiled):
    (files / "elsewhere").mkdir()
    assert cli("simulate", "net.xnf", "--input", "frames.npy")[0] == 0
    assert list((compiled / "simulation").glob("accelerator-*"))
    assert not (files / "build").exists()


def test_an_evaluation_shows_its_progress_from_the_first_second(cli, files, monkeypatch):
    """There is a bar before the first frame is done, and before PyTorch is there a status."""
    seen = []

    @contextmanager
    def bar(what, total):
        seen.append((what, total))
        yield lambda done, all_: seen.append((done, all_))

    def status(text):
        seen.append(text)
        return nullcontext()

    monkeypatch.setattr("xnorflow.cli.networks.bar", bar)
    monkeypatch.setattr("xnorflow.cli.networks.console.status", status)
    assert cli("eval", "net.xnf", "--input", "frames.npy")[0] == 0
    assert seen == ["loading PyTorch and the frames …", ("evaluating", 5), (5, 5)]


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


# -- wrong requests -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "none.xnf"], "none.xnf cannot be read: No such file or directory"),
        (["info", "frames.npy"], "frames.npy is not a valid .xnf file: "),
        (["info", "zoo:none"], "the zoo has no 'none': choose from "),
        (["eval", "net.xnf"], "give either --data or --input"),
        (
            ["eval", "net.xnf", "--data", "svhn"],
            "'svhn' is no file or folder, and no data set: choose from mnist, fashion-mnist",
        ),
        (["eval", "net.xnf", "--input", "none.npy"], "none.npy cannot be read: No such file"),
        (["eval", "net.xnf", "--input", "net.xnf"], "net.xnf is not a .npy file of plain numbers"),
        (
            ["eval", "net.xnf", "--input", "wide.npy"],
            "frames must be an array of integers of shape (n, 4, 4, 1), "
            "not of uint8 of shape (2, 5, 5, 1)",
        ),
        (["eval", "net.xnf", "--input", "empty.npy"], "empty.npy has no frames"),
        (
            ["eval", "net.xnf", "--input", "frames.npy", "--output", "none/scores.npy"],
            "none/scores.npy cannot be written: No such file or directory",
        ),
        (["generate", "net.xnf", "-o", "net.xnf"], "the folder net.xnf cannot be created"),
        (
            ["generate", "net.xnf", "-o", "rtl", "--board", "basys"],
            "there is no board 'basys'; those that are known: icebreaker, ulx3s-85f",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--cycles", "3", "--fastest"],
            "give only one of cycles, frames a second and fastest",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--fps", "1e12"],
            "frames a second must be more than 0 and at most the clock, 50000000, not 1e+12",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--fps", "0"],
            "frames a second must be more than 0 and at most the clock, 50000000, not 0",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--fps", "nan"],
            "frames a second must be more than 0 and at most the clock, 50000000, not nan",
        ),
        (["eval", "net.xnf", "--input", "zip.npy"], "zip.npy is not a .npy file"),
        (
            ["eval", "net.xnf", "--input", "huge.npy"],
            "huge.npy is not a .npy file of plain numbers",
        ),
        (["train", "huge", "-o", "run"], "'huge' is not a model: choose from tfc,"),
        (["train", "-o", "run", "--method", "x"], "'x' is not a method: choose from sign, adabin,"),
        (["train", "-o", "run", "--hidden", "a,b"], "must be whole numbers such as 96,64,64"),
        (
            ["train", "-o", "run", "--hidden", "64,0"],
            "dense layers must have 1 to 65536 values, not 0",
        ),
        (["lower", "net.xnf", "-o", "x.xnf"], "net.xnf is not a valid checkpoint: "),
        (["lower", "net.xnf", "-o", "."], ". cannot be written: Is a directory"),
        (["lower", "net.xnf", "-o", "no/x.xnf"], "no/x.xnf cannot be written: No such file or dir"),
        (["import", "adabin-resnet20", "net.xnf", "-o", "folder.xnf"], "Is a directory"),
        (["data", "fetch", "mnist", "--from", "/nowhere"], "there is no folder /nowhere"),
        (
            ["simulate", "net.xnf", "--input", "frames.npy", "--output", "."],
            ". cannot be written: Is a directory",
        ),
        (["data", "fetch", "svhn"], "'svhn' is not a data set: choose from mnist, fashion-mnist"),
        (["run", "net.xnf", "--port", "none", "--input", "frames.npy"], "none cannot be opened: "),
    ],
)
def test_a_wrong_request_gets_one_sentence(cli, files, mnist, arguments, message):
    np.save("wide.npy", np.zeros((2, 5, 5, 1), np.uint8))
    np.save("empty.npy", np.zeros((0, 4, 4, 1), np.uint8))
    (files / "zip.npy").write_bytes(b"PK\x03\x04 and no more")
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 4, 4, 1), np.uint8))
    with (files / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (10**13, 4, 4, 1)})
    (files / "folder.xnf").mkdir()
    before = sorted(files.iterdir())

    code, out, err = cli(*arguments)

    assert code == 1
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(files.iterdir()) == before


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


def test_signed_frames_go_the_whole_road(cli, tmp_path):
    network = input_net(Int(12), First.DENSE)
    save(network, tmp_path / "signed.xnf")
    frames = np.random.default_rng(0).integers(-2048, 2048, (4, *network.input.shape))
    np.save("frames.npy", frames.astype(">i2"))
    np.save("beyond.npy", frames.astype(np.int16) - 1000)
    expected = golden(network, frames).scores.numpy()

    for command in ["eval"], ["simulate"], ["run", "--port", "virtual"]:
        arguments = command[0], "signed.xnf", *command[1:], "--output", "scores.npy"
        code, _, err = cli(*arguments, "--input", "frames.npy")
        assert (code, err) == (0, "")
        np.testing.assert_array_equal(np.load("scores.npy"), expected)
        code, _, err = cli(*arguments, "--input", "beyond.npy")
        assert (code, err) == (1, "error: frames must have values from -2048 to 2047\n")


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "x"], ["--nonsense"]])
def test_options_out_of_range_are_refused(cli, files, arguments):
    code, _, err = cli("eval", "net.xnf", "--input", "frames.npy", *arguments)
    assert code == 2
    assert "Invalid value" in err or "No such option" in err


# -- networks of others ---------------------------------------------------------------------------


@pytest.fixture
def cifar(monkeypatch):
    """A few random images in place of CIFAR-10."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 32, 32, 3), np.uint8), rng.integers(0, 10, 40)
    images, labels = torch.tensor(images), torch.tensor(labels)
    classes = tuple("abcdefghij")
    found = ImageData("cifar10", images[:32], labels[:32], images[32:], labels[32:], classes)
    monkeypatch.setattr(published, "load", lambda _: found)
    return found


def test_import_measures_and_writes_a_network(cli, cifar, tmp_path):
    release(tmp_path / "release.th")
    arguments = "release.th", "-o", "net.xnf", "--limit", 4, "--bits", 17
    code, out, _ = cli("import", "adabin-resnet20", *arguments)
    assert code == 0
    assert "of 4 test images are right" in out
    assert "in integers of 17 bits, 10 of them fractional" in out
    assert load(tmp_path / "net.xnf").maps["unit18_act"].shape == (8, 8, 64)


def test_training_images_choose_the_bits_of_an_import(cli, cifar, tmp_path, monkeypatch):
    def look(model, images, grid):
        assert torch.equal(images, cifar.train_images)
        return replace(grid, bits=15)

    release(tmp_path / "release.th")
    monkeypatch.setattr("xnorflow.sw.adabin_import.calibrate", look)
    arguments = "release.th", "-o", "net.xnf", "--limit", 1, "--fraction", 8
    code, out, _ = cli("import", "adabin-resnet20", *arguments)
    assert code == 0
    assert "in integers of 15 bits, 8 of them fractional" in out


def test_training_goes_on_from_an_import(cli, cifar, tmp_path):
    release(tmp_path / "release.th")
    arguments = "release.th", "-o", "start.safetensors", "--limit", 1
    assert cli("import", "adabin-resnet20", *arguments, "--bits", 12, "--fraction", 6)[0] == 0
    arguments = "--from", "start.safetensors", "--data", "cifar10", "--epochs", 1
    code, out, _ = cli("train", "-o", "runs", *arguments)
    assert code == 0
    assert "of the test images are right" in out
    grid = load_checkpoint(tmp_path / "runs" / "model.safetensors").model.config.grid
    assert (grid.bits, grid.fraction) == (12, 6)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("finn-cnv", "a.th", "-o", "a.xnf"), "'finn-cnv' cannot be imported"),
        (("adabin-resnet20", "a.th", "-o", "a.pth"), "must end in .xnf or .safetensors"),
        (("adabin-resnet20", "a.th", "-o", "a.xnf"), "a.th"),
        (("adabin-resnet20", "a.th", "-o", "a.xnf", "--bits", 99), "from 2 to 24, not 99"),
    ],
)
def test_import_refuses_in_one_sentence(cli, arguments, text):
    code, out, err = cli("import", *arguments)
    assert (code, out) == (1, "")
    assert text in err
    assert err.count("\n") == 1
