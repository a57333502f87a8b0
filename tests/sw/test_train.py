import csv
import errno
import os
import re
import threading
from dataclasses import replace

import pytest
import torch

from tests.training import MODEL, RECIPE, TASK, check_goes_on, same_model
from xnorflow.errors import DataError, FormatError, NetworkError
from xnorflow.sw.batches import accuracy
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.fit import _Training
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.progress import ProgressBar
from xnorflow.sw.recipes import Optimiser, Recipe
from xnorflow.sw.train import MODEL_FILE, train
from xnorflow.sw.training_state import OutOfTimeError


@pytest.mark.parametrize(
    ("method", "optimiser"),
    [*((method, Optimiser.ADAM) for method in Method), (Method.SIGN, Optimiser.SGD)],
)
def test_learns(data, tmp_path, method, optimiser):
    rate = {Optimiser.ADAM: 0.01, Optimiser.SGD: 0.1}[optimiser]
    recipe = replace(RECIPE, epochs=8, optimiser=optimiser, learning_rate=rate)
    checkpoint = train(MODEL.with_method(method.value), recipe, data, tmp_path)
    assert checkpoint.provenance.float_accuracy > 0.9
    assert checkpoint.provenance.method == method.value
    stored = load_checkpoint(tmp_path / MODEL_FILE)
    assert same_model(stored, checkpoint)
    assert stored.provenance == checkpoint.provenance
    assert (
        accuracy(stored.model, data.test_images, data.test_labels)
        == checkpoint.provenance.float_accuracy
    )


@pytest.mark.parametrize("method", Method)
def test_convolutions_learn(data, tmp_path, method):
    convs = [[8, 3, 1, 1, 2], [8, 3, 2]]
    spec = ModelSpec("conv-net", TASK, {"convs": convs, "method": method.value})
    checkpoint = train(spec, replace(RECIPE, epochs=5), data, tmp_path)
    assert checkpoint.provenance.float_accuracy > 0.9
    assert checkpoint.provenance.model == "conv-net"
    assert same_model(load_checkpoint(tmp_path / MODEL_FILE), checkpoint)


def test_says_how_long_an_epoch_takes(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("xnorflow.sw.progress._TIMED_STEPS", 2)
    texts = []
    update = ProgressBar.on_train_batch_end

    def spy(self, *args):
        update(self, *args)
        texts.append(self._bar.tasks[0].description)

    monkeypatch.setattr(ProgressBar, "on_train_batch_end", spy)
    train(MODEL, RECIPE, data, tmp_path, progress=True)
    assert texts[0] == "training"
    assert re.fullmatch(r"epoch 1/4, about \d+ s each", texts[1])
    assert re.fullmatch(r"epoch 1/4, train accuracy [0-9.]+%", texts[7])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_goes_on_after_an_interruption(data, tmp_path, monkeypatch, error):
    model = MODEL.with_method("adabin")
    check_goes_on(data, tmp_path, monkeypatch, error, model, RECIPE)


@pytest.mark.parametrize("optimiser", Optimiser)
def test_goes_on_within_an_epoch(data, tmp_path, monkeypatch, optimiser):
    """Slices that end after a few steps, wherever that is, lead to the same model and log."""
    average = {"averaging": 0.9, "measured": True} if optimiser is Optimiser.SGD else {}
    recipe = replace(RECIPE, optimiser=optimiser, label_smoothing=0.1, **average)
    model = MODEL.with_method("adabin")
    whole = train(model, recipe, data, tmp_path / "whole")
    clock = iter(range(10**6))
    monkeypatch.setattr("xnorflow.sw.training_state.time.monotonic", lambda: next(clock))
    slices = 0
    while True:
        try:
            now = next(clock)
            parts = train(model, recipe, data, tmp_path / "parts", deadline=now + 5)
            break
        except OutOfTimeError:
            slices += 1
    assert slices > 4
    assert same_model(parts, whole)
    losses = [
        sorted(
            float(row["train_loss"])
            for path in (tmp_path / folder / "logs").glob("*/metrics.csv")
            for row in csv.DictReader(path.read_text().splitlines())
            if row["train_loss"]
        )
        for folder in ("whole", "parts")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == recipe.epochs


def test_averages_parameters(data, tmp_path, monkeypatch):
    seen = []
    step = _Training.training_step

    def watching_step(self, batch, index):
        seen.append(self.model.get_parameter("fc1.weight").detach().clone())
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", watching_step)
    recipe = replace(RECIPE, epochs=2)
    last = train(MODEL, recipe, data, tmp_path / "last").model.get_parameter("fc1.weight")
    weights, seen = [*seen[1:], last], seen[:1]
    average = seen[0]
    for weight in weights:
        average = 0.8 * average + 0.2 * weight
    recipe = replace(recipe, averaging=0.8, measured=True)
    model = train(MODEL, recipe, data, tmp_path / "averaged").model
    torch.testing.assert_close(model.get_parameter("fc1.weight"), average)
    # The same once more, from the state of a complete training.
    again = train(MODEL, recipe, data, tmp_path / "averaged").model
    assert torch.equal(again.get_parameter("fc1.weight"), model.get_parameter("fc1.weight"))


def test_is_reproducible(data, tmp_path):
    first = train(MODEL, RECIPE, data, tmp_path / "first")
    torch.rand(7)
    again = train(MODEL, RECIPE, data, tmp_path / "again", progress=True)
    other = train(MODEL, Recipe("test", 4, 32, seed=2), data, tmp_path / "other")
    assert same_model(first, again)
    assert not same_model(first, other)


@pytest.mark.parametrize("where", ["write", "flush"])
def test_a_full_disk_gets_one_sentence(data, tmp_path, monkeypatch, capfd, where):
    """Logs are written by a thread of TensorBoard's, which has nothing to say for itself."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"tensorboard.summary.writer.record_writer.RecordWriter.{where}", full)
    message = f"^the folder {tmp_path} cannot be written to: No space left on device$"
    hook = threading.excepthook
    with pytest.raises(FormatError, match=message):
        train(MODEL, RECIPE, data, tmp_path)
    assert threading.excepthook is hook
    assert capfd.readouterr() == ("", "")


def test_two_trainings_do_not_share_a_folder(data, tmp_path, monkeypatch):
    step = _Training.training_step

    def train_again(self, batch, index):
        if self.global_step == 0:
            with pytest.raises(FormatError, match=r"^another run is writing to the folder "):
                train(MODEL, RECIPE, data, tmp_path)
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", train_again)
    train(MODEL, replace(RECIPE, epochs=1), data, tmp_path)


def test_can_start_afresh(data, tmp_path):
    train(MODEL, Recipe("first", epochs=1), data, tmp_path)
    with pytest.raises(FormatError, match="is of a training with other settings: give another"):
        train(MODEL, RECIPE, data, tmp_path)
    train(MODEL, RECIPE, data, tmp_path, resume=False)
    assert load_checkpoint(tmp_path / MODEL_FILE).provenance.recipe == "test"


def test_refuses_a_damaged_state(data, tmp_path):
    train(MODEL, Recipe("first", epochs=1), data, tmp_path)
    state = tmp_path / "training.ckpt"
    for content in (b"", b"nonsense", state.read_bytes()[:5000]):
        state.write_bytes(content)
        with pytest.raises(FormatError, match=r"training\.ckpt is damaged, .*\(--fresh\)$"):
            train(MODEL, Recipe("first", epochs=1), data, tmp_path)


def test_refuses_a_state_with_a_flipped_bit(data, tmp_path):
    """PyTorch would load it, and go on with another number."""
    recipe = Recipe("first", epochs=1)
    model = train(MODEL, recipe, data, tmp_path).model
    state = tmp_path / "training.ckpt"
    content = bytearray(state.read_bytes())
    weight = next(model.parameters()).detach().numpy().tobytes()
    content[content.index(weight) + 3] ^= 1
    state.write_bytes(content)
    torch.load(state, weights_only=True)
    with pytest.raises(FormatError, match=r"training\.ckpt is damaged, .*\(--fresh\)$"):
        train(MODEL, recipe, data, tmp_path)


def test_logs_every_epoch(data, tmp_path):
    train(MODEL, RECIPE, data, tmp_path, held_out=60)
    with (tmp_path / "logs/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    held_out = [row["held_out_accuracy"] for row in rows if row["held_out_accuracy"]]
    trained = [row["train_accuracy"] for row in rows if row["train_accuracy"]]
    assert len(held_out) == len(trained) == 4
    assert float(held_out[-1]) > 0.8
    assert list((tmp_path / "logs/version_0").glob("events.out.tfevents.*"))


def test_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match=r"file/run cannot be created: Not a directory$"):
        train(MODEL, RECIPE, data, tmp_path / "file/run")


@pytest.mark.parametrize(
    ("task", "held_out", "message"),
    [
        (
            replace(TASK, classes=10),
            0,
            "the model must return (N, 3) logits for the classes of stripes, not (2, 10) of 2 "
            "images",
        ),
        (
            replace(TASK, shape=(1, 28, 27)),
            0,
            "the model does not take batches of 1 channels and 28×28 pixels: ",
        ),
        (TASK, 240, "images to hold out must be from 0 to 239, not 240"),
        (TASK, -1, "images to hold out must be from 0 to 239, not -1"),
    ],
)
def test_refuses_data_that_do_not_fit(data, tmp_path, task, held_out, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        train(replace(MODEL, task=task), RECIPE, data, tmp_path / "folder", held_out=held_out)
    assert not (tmp_path / "folder").exists()


def test_what_a_file_cannot_tell_is_refused_before_a_model_is_trained(data, tmp_path):
    with pytest.raises(NetworkError, match="provenance: recipe must be 0 to 200 printable"):
        train(MODEL, replace(RECIPE, name=201 * "a"), data, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.slow
def test_several_devices_share_the_work(data, tmp_path):
    options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_fork"}
    train(MODEL, RECIPE, data, tmp_path, **options)
    checkpoint = load_checkpoint(tmp_path / MODEL_FILE)
    assert checkpoint.provenance.float_accuracy > 0.9
