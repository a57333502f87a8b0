"""A module and data of the user's own, from training to RTL."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import xnorflow
from xnorflow.cli import main
from xnorflow.errors import DataError, FormatError
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.data import read_data
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.own_model import load_module
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.train import train


EXAMPLE = Path(__file__).parent.parent / "examples" / "own_model.py"

PLAIN = """
import torch
from xnorflow import nn


class MyNet(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Flatten(),
            nn.BinaryLinear(64, 16, nn.SignWeight(), nn.InputThreshold()),
            torch.nn.BatchNorm1d(16),
            nn.BinaryLinear(16, 3, nn.SignWeight(shared_scale=True), nn.Sign()),
        )


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.IntegerConv2d(1, 4, 3, mean=(0.5,), deviation=(0.25,), padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.conv = nn.BinaryConv2d(4, 4, 3, nn.SignWeight(), nn.RSign(4), padding=1)
        self.norm1 = torch.nn.BatchNorm2d(4)
        self.act = torch.nn.PReLU(4)
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.stem(x))
        x = self.act(self.norm1(self.conv(x)) + x)
        return self.fc(x.mean((2, 3)))


class Sized(torch.nn.Linear):
    pass


class Broken(torch.nn.Module):
    def __init__(self):
        raise KeyError("size")


def number():
    return 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with modules, and with data of three classes that can be told apart."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_model.py").write_text(PLAIN)
    rng = np.random.default_rng(1)
    labels = np.arange(390) % 3
    means = rng.integers(40, 215, (3, 8, 8, 1))
    images = np.clip(means[labels] + rng.normal(0, 30, (390, 8, 8, 1)), 0, 255).astype(np.uint8)
    np.savez(
        folder / "own.npz",
        x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:],
    )  # fmt: skip
    np.save(folder / "x.npy", images[300:])
    np.save(folder / "y.npy", labels[300:])
    return folder


@pytest.fixture
def cli(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xnorflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run


def test_importing_the_package_is_light():
    heavy = "torch", "amaranth", "numpy", "typer"
    script = f"import sys, xnorflow; assert not {{*sys.modules}} & {{*{heavy}}}; xnorflow.load"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = xnorflow.nothing
    assert all(hasattr(xnorflow, name) for name in dir(xnorflow))


def test_help_is_light():
    script = (
        "import sys; sys.argv = ['xnorflow', '--help']\n"
        "from xnorflow.cli import main\n"
        "try: main()\n"
        "except SystemExit: assert not {*sys.modules} & {'torch', 'amaranth', 'numpy'}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_example_goes_all_the_way(folder, tmp_path, capsys):
    assert len(EXAMPLE.read_text().splitlines()) <= 60
    spec = importlib.util.spec_from_file_location("own_model", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(folder / "own.npz", tmp_path, epochs=2)
    out = capsys.readouterr().out
    assert "RTL = golden: True" in out
    assert "labels: 0 of 90 differ" in out
    assert (tmp_path / "rtl" / "accelerator.v").exists()


def test_a_module_is_trained_lowered_and_evaluated(cli, folder):
    code, out, _ = cli(
        "train", "my_model.py:MyNet", "--data", "own.npz", "-o", "run", "--epochs", 40
    )
    assert code == 0, out
    share = float(re.search(r"([\d.]+)% of the test", out)[1])
    assert share > 80
    weights = "run/model.safetensors"
    code, out, _ = cli("lower", "my_model.py:MyNet", weights, "-o", "net.xnf", "--data", "own.npz")
    assert code == 0
    assert "labels: 0 of 90 differ" in out
    for arguments in (
        ("net.xnf", "--data", "own.npz"),
        ("my_model.py:MyNet", weights, "--data", "own.npz"),
        ("net.xnf", "--input", "x.npy", "--labels", "y.npy"),
    ):
        code, out, _ = cli("eval", *arguments)
        assert (code, f"accuracy: {share:.2f}%" in out) == (0, True)


def test_a_residual_module_is_trained_on_a_grid(cli, folder):
    name = "my_model.py:Residual"
    code, out, _ = cli(
        "train", name, "--data", "own.npz", "-o", "res", "--epochs", 2, "--grid", "12,6"
    )
    assert code == 0, out
    share = re.search(r"([\d.]+)% of the test", out)[1]
    code, out, _ = cli("eval", name, "res/model.safetensors", "--data", "own.npz")
    assert (code, f"accuracy: {share}%" in out) == (0, True)


def test_the_seed_decides_the_result(folder, tmp_path):
    data = read_data(folder / "own.npz")
    recipe = Recipe("test", epochs=3, batch_size=64)

    def make():
        return load_module(f"{folder}/my_model.py:Residual")

    whole = train(make, recipe, data, tmp_path / "a", grid=Grid(12, 6))
    again = train(make, recipe, data, tmp_path / "b", grid=Grid(12, 6))
    loaded = load_checkpoint(tmp_path / "a" / "model.safetensors", make())
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
        assert torch.equal(value, loaded.model.state_dict()[name])
    assert loaded.provenance.model == "Residual"
    assert (loaded.grid, loaded.frame, loaded.labels) == (Grid(12, 6), data.frame, data.classes)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("none.py:MyNet", "there is no file none.py"),
        ("my_model.py:None_", "my_model.py has no None_"),
        ("my_model.py:Sized", "cannot be made without arguments"),
        ("my_model.py:Broken", "fails: KeyError: 'size'"),
        ("my_model.py:number", "makes no torch.nn.Module, but a int"),
        ("bad.py:MyNet", "bad.py cannot be imported: SyntaxError"),
    ],
)
def test_bad_modules(folder, monkeypatch, name, match):
    monkeypatch.chdir(folder)
    (folder / "bad.py").write_text("class")
    with pytest.raises(DataError, match=match):
        load_module(name)


def test_a_module_must_fit_the_data(folder):
    data = read_data(folder / "own.npz")
    recipe = Recipe("test", epochs=1)
    with pytest.raises(DataError, match="does not take batches of 1 channels and 8×8 pixels"):
        train(lambda: torch.nn.Linear(3, 3), recipe, data, folder / "no")
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))
    with pytest.raises(DataError, match=r"must return \(N, 3\) logits .* not \(2, 5\)"):
        train(lambda: flat, recipe, data, folder / "no")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("lower", "my_model.py:MyNet", "-o", "a.xnf"), "needs its trained weights"),
        (("eval", "zoo:mnist-tfc-sign", "x.npy", "--data", "mnist"), "brings its own weights"),
        (("train", "my_model.py:MyNet", "-o", "r", "--method", "sign"), "--method is not for a"),
        (("train", "tfc", "-o", "r", "--grid", "8,4"), "--grid is for a module of your own"),
        (("train", "tfc", "-o", "r", "--data", "nowhere"), "is no file or folder, and no data set"),
    ],
)
def test_what_does_not_go_together(cli, arguments, match):
    code, _, err = cli(*arguments)
    assert code == 1
    assert match in err


def test_a_checkpoint_of_a_module_needs_that_module(cli, folder):
    data = read_data(folder / "own.npz")
    make = [lambda name=name: load_module(f"{folder}/my_model.py:{name}") for name in
            ("MyNet", "Residual")]  # fmt: skip
    train(make[0], Recipe("test", epochs=1), data, folder / "small")
    path = folder / "small" / "model.safetensors"
    with pytest.raises(FormatError, match="of a module of one's own, which must be given"):
        load_checkpoint(path)
    with pytest.raises(FormatError, match="its tensors do not fit"):
        load_checkpoint(path, make[1]())
    code, _, err = cli("lower", "small/model.safetensors", "-o", "a.xnf")
    assert code == 1
    assert "which must be given" in err


def test_a_named_model_is_trained_on_data_of_ones_own(cli, folder):
    arguments = "--data", "own.npz", "--epochs", 3
    code, out, err = cli("train", "mlp", "-o", "named", "--hidden", "16,8", *arguments)
    assert (code, err) == (0, "")
    share = re.search(r"([\d.]+)% of the test", out)[1]
    code, out, _ = cli("eval", "named/model.safetensors", "--data", "own.npz")
    assert (code, f"accuracy: {share}%" in out) == (0, True)
