import json
from dataclasses import replace
from typing import ClassVar

import pytest
import safetensors.torch
import torch

from xnorflow.sw.augment import augment, seeded
from xnorflow.sw.batches import EVALUATION_BATCH
from xnorflow.sw.data import values_of
from xnorflow.sw.distillation import soft_labels
from xnorflow.sw.recipes import Augmentation, Recipe
from xnorflow.sw.training_state import OutOfTimeError


RECIPE = Recipe(
    "test", epochs=1, augmentation=Augmentation(crop=2, flip=True), temperature=2.0, views=3, seed=5
)


class Brightness(torch.nn.Module):
    """Tells which corner of an image is bright; all of them write down how much they have seen."""

    seen: ClassVar[list[int]] = []

    def forward(self, images):
        assert not self.training
        self.seen.append(len(images))
        return images[:, 0, [0, 0, -1], [0, -1, 0]] / 32


@pytest.fixture
def images():
    Brightness.seen.clear()
    generator = torch.Generator().manual_seed(1)
    shape = (EVALUATION_BATCH + 3, 6, 6, 1)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_a_teacher_tells_the_mean_of_what_it_sees(images, tmp_path):
    found = soft_labels(Brightness(), "digest", images, RECIPE, tmp_path)
    expected = []
    for number, batch in enumerate(images.split(EVALUATION_BATCH)):
        generator = seeded(RECIPE.seed, number)
        seen = [augment(batch, RECIPE.augmentation, generator) for _ in range(RECIPE.views)]
        parts = [
            (Brightness().eval()(values_of(view)) / RECIPE.temperature).softmax(dim=1)
            for view in seen
        ]
        expected.append(sum(parts) / RECIPE.views)
    torch.testing.assert_close(found, torch.cat(expected))
    assert not torch.allclose(parts[0], parts[1])


def test_a_teacher_is_asked_once(images, tmp_path):
    teacher = Brightness().train()
    first = soft_labels(teacher, "digest", images, RECIPE, tmp_path)
    asked = list(teacher.seen)
    assert torch.equal(soft_labels(teacher, "digest", images, RECIPE, tmp_path), first)
    assert teacher.seen == asked == [EVALUATION_BATCH] * RECIPE.views + [3] * RECIPE.views
    assert teacher.training


@pytest.mark.parametrize("change", ["teacher", "views", "temperature", "images", "damage"])
def test_what_was_told_is_not_taken_for_something_else(images, tmp_path, change):
    teacher, digest, recipe = Brightness(), "digest", RECIPE
    first = soft_labels(teacher, digest, images, recipe, tmp_path)
    asked = len(teacher.seen)
    match change:
        case "teacher":
            digest = "other"
        case "views":
            recipe = replace(recipe, views=2)
        case "temperature":
            recipe = replace(recipe, temperature=1.0)
        case "images":
            images = images.flip(0)
        case "damage":
            (file,) = tmp_path.iterdir()
            file.write_bytes(file.read_bytes()[:-40])
    found = soft_labels(teacher, digest, images, recipe, tmp_path)
    assert len(teacher.seen) > asked
    assert torch.equal(found, first) == (change in ("teacher", "damage"))


def test_a_foreign_file_is_replaced(images, tmp_path):
    path = tmp_path / "soft_labels.safetensors"
    for header in (None, {"soft_labels": json.dumps([])}, {"soft_labels": "{"}):
        path.write_bytes(safetensors.torch.save({"soft_labels": torch.zeros(2)}, header))
        assert soft_labels(Brightness(), "digest", images, RECIPE, tmp_path).shape == (
            len(images),
            3,
        )


def test_goes_on_where_time_was_up(images, tmp_path):
    """And what it says is the same."""
    whole = soft_labels(Brightness(), "digest", images, RECIPE, tmp_path / "whole")
    with pytest.raises(OutOfTimeError, match=f"goes on from image {EVALUATION_BATCH}$"):
        soft_labels(Brightness(), "digest", images, RECIPE, tmp_path / "parts", deadline=0.0)
    Brightness.seen.clear()
    parts = soft_labels(Brightness(), "digest", images, RECIPE, tmp_path / "parts", deadline=0.0)
    assert torch.equal(whole, parts)
    assert Brightness.seen == RECIPE.views * [3]
