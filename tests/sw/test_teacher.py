import json
import re
from dataclasses import asdict, replace

import pytest
import safetensors.torch
import torch

from tests.training import MODEL, RECIPE
from xnorflow.errors import DataError, FormatError
from xnorflow.sw.batches import accuracy
from xnorflow.sw.data import Dataset, values_of
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.recipes import teacher as recipe_of
from xnorflow.sw.teacher import (
    TEACHER_FILE,
    Body,
    Teacher,
    TeacherConfig,
    load_teacher,
    train_teacher,
)
from xnorflow.sw.train import MODEL_FILE, train


class Mistaken(torch.nn.Module):
    """Sees the brightest part of an image, and names the one below it."""

    def forward(self, images):
        parts = images[:, :, :27].reshape(len(images), 3, -1).mean(dim=2)
        return parts.roll(1, dims=1)


def header(config):
    return {"version": 1} | asdict(config) | {"body": config.body.value}


def test_what_is_learned_is_the_teachers(data, tmp_path):
    recipe = replace(RECIPE, epochs=12, temperature=2.0)
    model = train(MODEL, recipe, data, tmp_path, teacher=Mistaken()).model
    assert accuracy(model, data.test_images, (data.test_labels + 1) % 3) > 0.9


def test_a_teacher_learns_and_is_kept(data, tmp_path):
    recipe = replace(recipe_of(Dataset.MNIST), epochs=8, batch_size=24, learning_rate=0.02)
    teacher, share = train_teacher(recipe, Dataset.MNIST, data, tmp_path)
    assert share > 0.9
    kept = load_teacher(tmp_path / TEACHER_FILE, data.name)
    assert kept.config == teacher.config
    frames = values_of(data.test_images)
    with torch.no_grad():
        assert torch.equal(kept(frames), teacher(frames))


def test_a_teachers_file_is_read_once(tmp_path, monkeypatch):
    """So one that is replaced meanwhile cannot give the tensors of one, the header of another."""
    config = TeacherConfig("mnist", (8, 8, 1), 3, (0.5,), (0.25,))
    content = safetensors.torch.save(
        Teacher(config).state_dict(), {"xnorflow-teacher": json.dumps(header(config))}
    )
    monkeypatch.setattr("xnorflow.sw.teacher.read_file", lambda _: content)
    assert load_teacher(tmp_path / "gone", "mnist").config == config


def test_a_teacher_of_other_images_is_refused(tmp_path):
    config = TeacherConfig("mnist", (8, 8, 1), 3, (0.5,), (0.25,))
    metadata = {"xnorflow-teacher": json.dumps(header(config))}
    path = tmp_path / "file"
    path.write_bytes(safetensors.torch.save(Teacher(config).state_dict(), metadata))
    with pytest.raises(DataError, match=r"was trained on mnist, not on fashion-mnist$"):
        load_teacher(path, "fashion-mnist")


def test_a_trained_model_can_teach(data, tmp_path):
    checkpoint = train(MODEL, replace(RECIPE, epochs=1), data, tmp_path)
    teacher = load_teacher(tmp_path / MODEL_FILE, data.name)
    assert not teacher.training
    frames = values_of(data.test_images)
    with torch.no_grad():
        assert torch.equal(teacher(frames), checkpoint.model(frames))
    with pytest.raises(DataError, match=rf"was trained on {data.name}, not on other$"):
        load_teacher(tmp_path / MODEL_FILE, "other")


@pytest.mark.parametrize(
    ("teacher", "recipe", "message"),
    [
        (None, replace(RECIPE, temperature=2.0), "the recipe needs a teacher"),
        (Mistaken(), RECIPE, "the recipe learns from labels, not from a teacher"),
    ],
)
def test_recipe_and_teacher_belong_together(data, tmp_path, teacher, recipe, message):
    with pytest.raises(DataError, match=f"^{message}$"):
        train(MODEL, recipe, data, tmp_path, teacher=teacher)


def test_a_training_goes_on_with_the_same_teacher_only(data, tmp_path):
    class Two(Mistaken):
        def __init__(self, value):
            super().__init__()
            self.value = torch.nn.Parameter(torch.tensor(value))

    recipe = Recipe("test", epochs=1, batch_size=32, temperature=1.0)
    train(MODEL, recipe, data, tmp_path, teacher=Two(1.0))
    with pytest.raises(FormatError, match="with other settings"):
        train(MODEL, recipe, data, tmp_path, teacher=Two(2.0))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no teacher",
        safetensors.torch.save({}),
        safetensors.torch.save({}, {"xnorflow": "{}"}),
        safetensors.torch.save({}, {"xnorflow-teacher": "{}"}),
        safetensors.torch.save({}, {"xnorflow-teacher": "[]"}),
        safetensors.torch.save({}, {"xnorflow-teacher": "no JSON"}),
    ],
)
def test_refuses_other_files(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"^{re.escape(str(path))} is not a teacher$"):
        load_teacher(path, "mnist")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2),
        ("input_shape", []),
        ("input_shape", [28, 28]),
        ("input_shape", [8, 7, 1]),
        ("classes", 1),
        ("classes", 4),
        ("classes", True),
        ("mean", []),
        ("mean", [0.5, 0.5, 0.5]),
        ("mean", [float("nan")]),
        ("deviation", [0.0]),
    ],
)
def test_refuses_a_wrong_configuration(tmp_path, name, value):
    config = TeacherConfig("mnist", (8, 8, 1), 3, (0.5,), (0.25,))
    metadata = {"xnorflow-teacher": json.dumps(header(config) | {name: value})}
    path = tmp_path / "file"
    path.write_bytes(safetensors.torch.save(Teacher(config).state_dict(), metadata))
    with pytest.raises(FormatError, match=f"^{re.escape(str(path))} is not a teacher$"):
        load_teacher(path, "mnist")


def test_refuses_parameters_that_are_not_finite(tmp_path):
    config = TeacherConfig("mnist", (8, 8, 1), 3, (0.5,), (0.25,))
    state = Teacher(config).state_dict()
    state["dense.bias"][1] = float("nan")
    metadata = {"xnorflow-teacher": json.dumps(header(config))}
    path = tmp_path / "file"
    path.write_bytes(safetensors.torch.save(state, metadata))
    with pytest.raises(FormatError, match=f"^{re.escape(str(path))} is not a teacher$"):
        load_teacher(path, "mnist")


@pytest.mark.parametrize("told", [True, False])
def test_a_teachers_body_is_kept(tmp_path, told):
    """And one that is not told is the small one, as there was no other."""
    body = Body.RESNET18 if told else Body.SMALL
    config = TeacherConfig("mnist", (8, 8, 1), 3, (0.5,), (0.25,), body)
    teacher, told_of = Teacher(config).eval(), header(config)
    if not told:
        del told_of["body"]
    metadata = {"xnorflow-teacher": json.dumps(told_of)}
    safetensors.torch.save_file(teacher.state_dict(), tmp_path / "teacher", metadata)
    frames = torch.full((2, 1, 8, 8), 9.0)
    with torch.no_grad():
        kept = load_teacher(tmp_path / "teacher", "mnist")
        assert torch.equal(kept(frames), teacher(frames))
    names = [name for name, _ in kept.named_parameters() if "shortcut" in name]
    assert bool(names) == told
