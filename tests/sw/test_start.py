import re
from dataclasses import replace

import pytest
import torch

from tests.training import untrained
from xnorflow.errors import DataError, NetworkError
from xnorflow.sw.calibrate import calibrate
from xnorflow.sw.data import Dataset, ImageData
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import Augmentation, fine_tune, warm_start
from xnorflow.sw.start import Start, from_checkpoint, from_name, task_of


def data_of(dataset, *shape):
    images = (torch.arange(2 * torch.Size(shape).numel()) % 5).to(torch.uint8).view(2, *shape)
    labels = torch.arange(2)
    return ImageData(dataset.value, images, labels, images, labels, dataset.classes)


MNIST = data_of(Dataset.MNIST, 28, 28, 1)
CIFAR10 = data_of(Dataset.CIFAR10, 32, 32, 3)
RESNET8 = from_name("resnet8", None, MNIST).model


def test_tasks_have_published_statistics_or_their_own():
    mean, deviation = Dataset.CIFAR10.normalisation
    assert task_of(CIFAR10) == Task((3, 32, 32), 10, IntegerPixels(mean, deviation))
    own = task_of(replace(CIFAR10, name="own")).pixels
    values = CIFAR10.train_images.double() / 255
    assert own.mean == pytest.approx(values.mean(dim=(0, 1, 2)).tolist())
    assert own.deviation == (1 / 64,) * 3  # the least that there is


def test_perceptrons_have_names():
    start = from_name("sfc", None, MNIST)
    assert (start.model.name, start.model.method, start.recipe.name) == ("sfc", "sign", "sfc")
    assert start.grid is None
    model = from_name("sfc", "siman", MNIST, hidden=(5, 6)).model
    assert (model.name, model.options) == ("mlp", {"hidden": [5, 6], "method": "siman"})


@pytest.mark.parametrize(
    ("name", "method", "bits"),
    [
        ("resnet20", ResidualMethod.ADABIN, 16),
        ("resnet18", ResidualMethod.ADABIN, 16),
        ("resnet18-classic", ResidualMethod.SIMAN, 16),
        ("reactnet-a", ResidualMethod.REACTNET, 15),
    ],
)
def test_residual_models_have_a_method_and_a_grid(name, method, bits):
    start = from_name(name, None, CIFAR10)
    assert (start.model.method, start.recipe.name) == (method.value, name)
    assert (start.grid, start.model.task.shape) == (Grid(bits), (3, 32, 32))
    assert from_name(name, "siman-bipolar", CIFAR10).model.method == "siman-bipolar"


@pytest.mark.parametrize(("method", "mixed"), [("sign", True), ("siman", True), ("adabin", False)])
def test_levels_that_bfloat16_would_round_are_not_multiplied_in_it(method, mixed):
    assert from_name("cnv", method, CIFAR10).recipe.mixed == mixed


@pytest.mark.parametrize("name", ["resnet18", "reactnet-a"])
def test_models_for_imagenet_take_large_images(name):
    text = f"{name}-imagenet is made for larger images than 32×32: choose {name}"
    with pytest.raises(DataError, match=f"^{text}$"):
        from_name(f"{name}-imagenet", None, CIFAR10)


@pytest.mark.parametrize(
    ("name", "method", "error", "text"),
    [
        ("resnet21", None, DataError, "'resnet21' is not a model: choose from "),
        ("tfc", "reactnet", NetworkError, "'reactnet' is not a method of tfc: choose from sign, "),
        ("resnet20", "sign", NetworkError, "'sign' is not a method of resnet20: choose from ada"),
    ],
)
def test_refuses_unknown_names(name, method, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        from_name(name, method, CIFAR10)


def test_residual_models_have_no_hidden_layers():
    with pytest.raises(DataError, match=r"^resnet8 has no hidden layers of its own$"):
        from_name("resnet8", None, CIFAR10, hidden=(3,))


def test_a_trained_model_gets_a_grid():
    start = untrained(RESNET8)
    grid = calibrate(start.model, start.frame, MNIST.train_images)
    assert grid != Grid()
    expected = Start(RESNET8, grid, fine_tune(Dataset.MNIST, mixed=True))
    assert from_checkpoint(start, None, MNIST) == expected
    assert from_checkpoint(start, "adabin", MNIST) == expected
    assert from_checkpoint(untrained(RESNET8, Grid(12, 6)), None, MNIST).grid == Grid(12, 6)


@pytest.mark.parametrize("method", ["reactnet", "siman"])
def test_a_trained_model_changes_its_method(method):
    """Weights become {0, 1} little by little."""
    half = method == "siman"
    recipe = warm_start(Dataset.MNIST, mixed=True, half=half)
    expected = Start(RESNET8.with_method(method), Grid(12, 6), recipe)
    assert from_checkpoint(untrained(RESNET8, Grid(12, 6)), method, MNIST) == expected
    assert (recipe.centred > 0) == half


def test_a_trained_perceptron_changes_its_method():
    """AdaBin's levels of a model without shortcuts would be rounded in bfloat16."""
    spec = from_name("tfc", "sign", MNIST, hidden=(4,)).model
    expected = Start(spec, None, fine_tune(Dataset.MNIST, mixed=False))
    assert from_checkpoint(untrained(spec), None, MNIST) == expected
    expected = Start(spec.with_method("adabin"), None, warm_start(Dataset.MNIST, mixed=False))
    assert from_checkpoint(untrained(spec), "adabin", MNIST) == expected


def test_only_models_with_a_name_are_trained_on():
    with pytest.raises(DataError, match=r"^only models that have a name can be trained on$"):
        from_checkpoint(replace(untrained(RESNET8), spec=None), None, MNIST)


def test_digits_are_not_mirrored():
    for name in ("resnet8", "tfc"):
        assert not from_name(name, None, MNIST).recipe.augmentation.flip
    for method in (None, "siman"):
        recipe = from_checkpoint(untrained(RESNET8, Grid()), method, MNIST).recipe
        assert not recipe.augmentation.flip
    cifar = from_name("resnet20", None, CIFAR10).recipe.augmentation
    assert cifar == Augmentation(crop=4, flip=True)
