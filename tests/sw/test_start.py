import re
from dataclasses import replace

import pytest
import torch

from xnorflow.errors import DataError
from xnorflow.sw.calibrate import calibrate
from xnorflow.sw.data import Dataset
from xnorflow.sw.models.chain import Chain, ChainConfig, Method
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import Augmentation, fine_tune, warm_start
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualMethod
from xnorflow.sw.start import from_model, from_name


IMAGES = torch.arange(28 * 28 * 2, dtype=torch.uint8).reshape(2, 28, 28, 1) % 5


def test_chains_have_names():
    config, recipe = from_name("sfc", None, Dataset.MNIST, 10)
    assert (config.hidden, config.method, recipe.name) == ((256,) * 3, Method.SIGN, "sfc")
    config, _ = from_name("sfc", "siman", Dataset.MNIST, 10, hidden=(5, 6))
    assert (config.hidden, config.method) == ((5, 6), Method.SIMAN)


def test_residual_models_have_names_and_a_grid():
    config, recipe = from_name("resnet20", None, Dataset.CIFAR10, 10)
    assert (len(config.units), config.method) == (18, ResidualMethod.ADABIN)
    assert (config.grid, config.input_shape) == (Grid(), (32, 32, 3))
    assert recipe.name == "resnet20"


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("resnet18", ResidualMethod.ADABIN),
        ("resnet18-classic", ResidualMethod.SIMAN),
        ("reactnet-a", ResidualMethod.REACTNET),
    ],
)
def test_residual_models_have_a_method(name, method):
    config, recipe = from_name(name, None, Dataset.CIFAR10, 10)
    assert (config.method, recipe.name) == (method, name)
    assert from_name(name, "siman-bipolar", Dataset.CIFAR10, 10)[0].method.value == "siman-bipolar"


@pytest.mark.parametrize(("method", "mixed"), [("sign", True), ("siman", True), ("adabin", False)])
def test_levels_that_bfloat16_would_round_are_not_multiplied_in_it(method, mixed):
    assert from_name("cnv", method, Dataset.CIFAR10, 10)[1].mixed == mixed


@pytest.mark.parametrize("name", ["resnet18", "reactnet-a"])
def test_models_for_imagenet_take_large_images(name):
    text = f"{name}-imagenet is made for larger images than 32×32: choose {name}"
    with pytest.raises(DataError, match=f"^{text}$"):
        from_name(f"{name}-imagenet", None, Dataset.CIFAR10, 10)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("resnet21", None), "'resnet21' is not a model: choose from tfc, sfc, lfc, conv-s"),
        (("tfc", "reactnet"), "'reactnet' is not a method: choose from sign, adabin, siman"),
        (("resnet20", "sign"), "'sign' is not a residual method: choose from adabin, siman"),
    ],
)
def test_refuses_unknown_names(arguments, text):
    with pytest.raises(DataError, match=f"^{re.escape(text)}"):
        from_name(*arguments, Dataset.CIFAR10, 10)


def test_residual_models_have_no_hidden_layers():
    with pytest.raises(DataError, match=r"^resnet8 has no hidden layers$"):
        from_name("resnet8", None, Dataset.CIFAR10, 10, hidden=(3,))


def test_a_trained_model_gets_a_grid():
    config, _ = from_name("resnet8", None, Dataset.MNIST, 10)
    start = Residual(replace(config, grid=None))
    grid = calibrate(start, IMAGES)
    assert grid != Grid()
    expected = replace(config, grid=grid), fine_tune(Dataset.MNIST, mixed=True)
    assert from_model(start, None, Dataset.MNIST, IMAGES) == expected
    assert from_model(start, "adabin", Dataset.MNIST, IMAGES) == expected
    own = Residual(replace(config, grid=Grid(12, 6)))
    assert from_model(own, None, Dataset.MNIST, IMAGES)[0].grid == Grid(12, 6)


@pytest.mark.parametrize("method", ["reactnet", "siman"])
def test_a_trained_model_changes_its_method(method):
    """Weights become {0, 1} little by little."""
    half = method == "siman"
    config, _ = from_name("resnet8", None, Dataset.MNIST, 10)
    changed = replace(config, method=ResidualMethod(method))
    expected = changed, warm_start(Dataset.MNIST, mixed=True, half=half)
    assert from_model(Residual(config), method, Dataset.MNIST, IMAGES) == expected
    assert (expected[1].centred > 0) == half


def test_a_trained_chain_changes_its_method():
    """AdaBin's levels of a chain would be rounded in bfloat16."""
    chain = ChainConfig((4,), Method.SIGN)
    expected = chain, fine_tune(Dataset.MNIST, mixed=False)
    assert from_model(Chain(chain), None, Dataset.MNIST, IMAGES) == expected
    changed = replace(chain, method=Method.ADABIN)
    expected = changed, warm_start(Dataset.MNIST, mixed=False)
    assert from_model(Chain(chain), "adabin", Dataset.MNIST, IMAGES) == expected


def test_digits_are_not_mirrored():
    for name in ("resnet8", "tfc"):
        assert not from_name(name, None, Dataset.MNIST, 10)[1].augmentation.flip
    config, _ = from_name("resnet8", None, Dataset.MNIST, 10)
    for method in (None, "siman"):
        assert not from_model(Residual(config), method, Dataset.MNIST, IMAGES)[1].augmentation.flip
    cifar = from_name("resnet20", None, Dataset.CIFAR10, 10)[1].augmentation
    assert cifar == Augmentation(crop=4, flip=True)
