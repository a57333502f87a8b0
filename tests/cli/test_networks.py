"""Commands that describe and evaluate networks, as a user types them."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from tests.cli.conftest import NETWORK
from tests.hw.networks import First, input_net, random_mlp
from xnorflow import __version__
from xnorflow.cli.shared import load_network
from xnorflow.ir import Int
from xnorflow.ir.xnf import load, save
from xnorflow.sw.golden import golden


def test_help_names_every_command(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in ("data", "train", "import", "export", "lower", "info", "eval", "plan",
                    "generate", "simulate", "build", "flash", "run", "boards"):  # fmt: skip
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


def test_layers_have_their_whole_names_on_a_narrow_terminal(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    network = load_network("zoo:fashion-small-dybnn")
    out = cli("info", "zoo:fashion-small-dybnn")[1]
    assert all(f" {node.name} " in out for node in network.nodes)


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


def test_a_network_becomes_an_onnx_file_and_one_again(cli, files, frames):
    code, out, _ = cli("export", "qonnx", "net.xnf", "-o", "net.onnx")
    assert (code, "net.onnx is written" in out) == (0, True)
    code, _, err = cli("export", "finn", "net.xnf", "-o", "net.onnx")
    assert (code, "'finn' is nothing that can be exported" in err) == (1, True)
    save(random_mlp(1), files / "plain.xnf")
    assert cli("export", "qonnx", "plain.xnf", "-o", "plain.onnx")[0] == 0
    arguments = "import", "qonnx", "plain.onnx", "-o", "again.xnf", "--scale", "1"
    assert cli(*arguments)[0] == 0
    labels = [golden(load(files / name), frames).labels for name in ("plain.xnf", "again.xnf")]
    assert labels[0].tolist() == labels[1].tolist()
