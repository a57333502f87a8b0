"""Small models, how they are trained in tests, and trainings that are interrupted."""

import pytest
import torch

from xnorflow.ir import FeatureMap, Provenance, UInt
from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.fit import _Training
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import Augmentation, Recipe
from xnorflow.sw.train import train


TASK = Task((1, 28, 28), 3, IntegerPixels((0.4,), (0.3,)))
FRAME = FeatureMap(28, 28, 1, UInt(8))
MODEL = ModelSpec("mlp", TASK, {"hidden": (16, 16)})
SMALL = ModelSpec("residual", TASK, {"first": {"channels": 4}, "blocks": [[4, 1, 3], [8, 2, 3]]})
GRID = Grid(14, 6)
RECIPE = Recipe("test", epochs=4, batch_size=32, augmentation=Augmentation(shift=1.0))


def untrained(spec, grid=None):
    """Checkpoint of a model with its first weights."""
    channels, height, width = spec.task.shape
    frame = FeatureMap(height, width, channels, UInt(8))
    model = spec.build()
    model = model if grid is None else prepare(model, grid, frame)
    labels = tuple(map(str, range(spec.task.classes)))
    return Checkpoint(model.eval(), frame, labels, Provenance(), grid=grid, spec=spec)


def same_model(first, second):
    a, b = first.model.state_dict(), second.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def interrupt(monkeypatch, epoch, error):
    """Let training stop in the middle of ``epoch``."""
    step = _Training.training_step

    def stopping_step(self, batch, index):
        if self.current_epoch == epoch and index == 3:
            raise error
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", stopping_step)


def check_goes_on(data, folder, monkeypatch, error, model, recipe, **options):
    """A training that stops in the middle of an epoch goes on from its start, to the same model."""
    whole = train(model, recipe, data, folder / "whole", **options)
    with monkeypatch.context() as patch:
        interrupt(patch, 2, error)
        with pytest.raises(type(error)):
            train(model, recipe, data, folder / "parts", **options)
    left = sorted(path.name for path in (folder / "parts").iterdir())
    assert left == [".xnorflow.lock", "logs", "training.ckpt"]

    steps = []
    step = _Training.training_step

    def counting_step(self, batch, index):
        steps.append(self.global_step)
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", counting_step)
    parts = train(model, recipe, data, folder / "parts", **options)
    assert steps == list(range(2 * 7, 4 * 7))
    assert same_model(parts, whole)
