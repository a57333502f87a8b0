"""Sweeps: what a file asks for, what is trained, and what is said of it."""

import json

import numpy as np
import pytest

from xnorflow.errors import DataError
from xnorflow.parallel import Outcome, Workers, run_pieces
from xnorflow.sw.sweep import Summary, load_sweep, runs_of, summarise, train_run


TOML = """
model = "my_model.py:MyNet"
data = "stripes.npz"
seeds = 2
held_out = 60

[settings]
epochs = 2
batch_size = 32
learning_rate = [0.01, 1]
"""
MODEL = """
from torch import nn
from xnorflow.nn import BinaryLinear, Sign, SignWeight

class MyNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Flatten(), nn.BatchNorm1d(784), BinaryLinear(784, 3, SignWeight(), Sign()),
            nn.BatchNorm1d(3),
        )
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, data):
    """A folder with a sweep, a module of one's own and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.toml").write_text(TOML)
    (tmp_path / "my_model.py").write_text(MODEL)
    np.savez(
        tmp_path / "stripes.npz",
        x_train=data.train_images.numpy(), y_train=data.train_labels.numpy(),
        x_test=data.test_images.numpy(), y_test=data.test_labels.numpy(),
    )  # fmt: skip
    return tmp_path


def changed(folder, old, new):
    path = folder / "changed.toml"
    assert old in TOML
    path.write_text(TOML.replace(old, new))
    return path


def test_every_setting_by_every_seed(folder):
    runs = runs_of(load_sweep(folder / "sweep.toml"))
    assert [run.name for run in runs] == [
        "epochs=2-batch_size=32-learning_rate=0.01-seed=1",
        "epochs=2-batch_size=32-learning_rate=1.0-seed=1",
        "epochs=2-batch_size=32-learning_rate=0.01-seed=2",
        "epochs=2-batch_size=32-learning_rate=1.0-seed=2",
    ]
    assert len({run.key for run in runs}) == 4


@pytest.mark.parametrize(
    ("old", "new"), [("held_out = 60", "held_out = 61"), ("epochs = 2", "epochs = 3")]
)
def test_what_decides_on_results_is_in_the_key(folder, old, new):
    keys = [run.key for run in runs_of(load_sweep(folder / "sweep.toml"))]
    assert not set(keys) & {run.key for run in runs_of(load_sweep(changed(folder, old, new)))}
    (folder / "my_model.py").write_text(f"{MODEL}\n# another\n")
    assert not set(keys) & {run.key for run in runs_of(load_sweep(folder / "sweep.toml"))}


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seeds = 2", "seeds = 2 3", "is no TOML file"),
        ("seeds = 2", "seed = 2", "a sweep has no 'seed': choose from model, data"),
        ("seeds = 2", "seeds = [1, true]", "seeds must be a list of whole numbers"),
        ("seeds = 2", "seeds = 0", "there must be a seed"),
        ("held_out = 60", "held_out = 0", "held_out must be a number of training images"),
        ('"stripes.npz"', "3", "data must be a text, not 3"),
        ("epochs = 2", "epoch = 2", "'epoch' is not a setting: choose from method, epochs"),
        ("epochs = 2", "epochs = 2.5", "epochs must be of type int, not 2.5"),
        ("epochs = 2", "epochs = []", "epochs has no value"),
        ("epochs = 2", 'optimiser = "lion"', "optimiser must be one of adam, sgd, not 'lion'"),
        ("epochs = 2", 'method = "sign"', "method is not for a module of your own"),
    ],
)
def test_says_what_is_wrong(folder, old, new, text):
    with pytest.raises(DataError, match=f"changed.toml.*{text}"):
        load_sweep(changed(folder, old, new))


def test_trains_as_often_as_needed_and_goes_on(folder):
    sweep = load_sweep(folder / "sweep.toml")
    run = runs_of(sweep)[0]

    def once():
        common = sweep, str(folder / "out")
        (outcome,) = run_pieces(
            train_run, {run.key: run}, common=common, workers=Workers(1), store=folder / "results"
        )
        return outcome

    first = once()
    assert first.error is None
    assert first.value["held_out"] > 0.8
    assert (folder / "out" / f"{run.name}-{run.key[:6]}" / "model.safetensors").is_file()
    again = once()
    assert again.known
    assert again.value == first.value


def test_means_and_deviations_the_best_first(folder):
    runs = runs_of(load_sweep(folder / "sweep.toml"))
    accuracies = [0.5, 0.75, 0.25, None]
    outcomes = {
        run.key: Outcome(run.key, error="failed")
        if accuracy is None
        else Outcome(run.key, {"held_out": accuracy})
        for run, accuracy in zip(runs, accuracies, strict=True)
    }
    better, worse = summarise(runs, outcomes)
    assert better == Summary(runs[1].setting, 1, 0.75, None)
    assert worse == Summary(runs[0].setting, 2, 0.375, pytest.approx(0.25 / 2**0.5))
    assert summarise(runs[:1], {})[0].mean is None


def test_the_command_prints_a_table(folder, monkeypatch, capsys):
    from xnorflow.cli import main

    path = changed(folder, "learning_rate = [0.01, 1]", "learning_rate = [0.01, -1]")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["xnorflow", "sweep", str(path), "-o", "out", "--workers", "1"])
    with pytest.raises(SystemExit) as exit_:
        main()
    out, err = capsys.readouterr()
    assert exit_.value.code == 0, err
    assert "learning_rate=-1.0-seed=2: a learning rate must be positive, not -1.0" in out
    assert "right of 60 training images" in out
    best, failed = json.loads((folder / "out" / "sweep.json").read_text())
    assert best["setting"] == {"epochs": 2, "batch_size": 32, "learning_rate": 0.01}
    assert best["runs"] == 2
    assert failed["mean"] is None
