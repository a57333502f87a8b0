"""How models are trained: everything that decides the outcome, besides model and data."""

import math
from dataclasses import dataclass, replace
from enum import Enum

from xnorflow.errors import DataError
from xnorflow.sw.data import Dataset
from xnorflow.sw.models.methods import Method


__all__ = [
    "AVERAGING",
    "DEMO",
    "DEMO_CONV",
    "OWN",
    "TEMPERATURE",
    "Augmentation",
    "Optimiser",
    "Recipe",
    "fine_tune",
    "longer",
    "low_rate",
    "recipe_for",
    "recipe_for_residual",
    "small",
    "teacher",
    "warm_start",
]

TEMPERATURE = 1.0
"""Of a teacher's distribution, as ReActNet's authors have it."""


class Optimiser(Enum):
    """Optimiser."""

    ADAM = "adam"
    SGD = "sgd"
    """With momentum 0.9."""


@dataclass(frozen=True)
class Augmentation:
    """Random distortions of training images, uniform in the given ranges.

    Attributes
    ----------
    shift : float
        Pixels, in either direction of either axis.
    rotation : float
        Degrees, in either direction.
    zoom : float
        Factor from 1 − zoom to 1 + zoom.
    crop : int
        Whole pixels, in either direction of either axis: what is left of an image that gets so
        wide a border of zeros, and is then cropped to its size.
    flip : bool
        Half of the images are seen in a mirror.
    tilt : float
        Degrees, as standard deviation, about each of the axes of sensors that measure along three:
        as many channels for each sensor.
    """

    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    crop: int = 0
    flip: bool = False
    tilt: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. The learning rate falls to 0 in half a cosine.

    Attributes
    ----------
    name : str
    epochs : int
    batch_size : int
        Images in a step, on each device.
    optimiser : Optimiser
    learning_rate : float
        At the first step.
    label_smoothing : float
        Share of the target that is spread over all classes, unless there is a teacher.
    augmentation : Augmentation
    seed : int
        Decides the first weights, the order of the images and their distortions.
    progress : float
        Share of training that the weight quantisers take to be over at the start: not 0 where
        training goes on from a trained model.
    centred : float
        Share of the epochs in which SiMaN's {0, 1} weights are on their way there from ±½.
    frozen : bool
        Leave binary weights as they are, and learn all else: thresholds, scales, slopes, first and
        last layers.
    weight_decay : float
        Of all parameters.
    temperature : float
        Of the distribution of a teacher, which is learned in place of labels; 0 where labels are.
    views : int
        Distorted copies of each image that a teacher looks at.
    measured : bool
        Measure the statistics of batch normalisation once more in the end: see
        `xnorflow.sw.statistics`.
    mixed : bool
        Multiply matrices in bfloat16 where the device can, several times faster: products of ±1
        are exact in it, and so are their sums up to 256. What is measured afterwards is not.
    averaging : float
        Share of the average of the parameters that each step leaves; their average is what counts
        in the end, latent weights included. 0 stands for the parameters of the last step. With an
        average, statistics must be ``measured``.

    Raises
    ------
    DataError
        If a value is out of range.
    """

    name: str
    epochs: int
    batch_size: int = 256
    optimiser: Optimiser = Optimiser.ADAM
    learning_rate: float = 0.01
    label_smoothing: float = 0.0
    augmentation: Augmentation = Augmentation()
    seed: int = 1
    progress: float = 0.0
    centred: float = 0.0
    frozen: bool = False
    weight_decay: float = 0.0
    temperature: float = 0.0
    views: int = 4
    measured: bool = False
    mixed: bool = False
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise DataError(
                "a recipe must have at least 1 epoch and 2 images in a batch, "
                f"not {self.epochs} and {self.batch_size}"
            )
        if not 0 <= self.seed < 1 << 63:
            raise DataError(f"a seed must be from 0 to 2^63 - 1, not {self.seed}")
        if not 0 < self.learning_rate < math.inf:
            raise DataError(f"a learning rate must be positive, not {self.learning_rate}")
        if not 0 <= self.label_smoothing < 1:
            raise DataError(f"label smoothing must be from 0 to 1, not {self.label_smoothing}")
        if not 0 <= self.progress <= 1:
            raise DataError(f"progress must be from 0 to 1, not {self.progress}")
        if self.views < 1:
            raise DataError(f"a teacher must look at 1 view or more, not {self.views}")
        if not 0 <= self.averaging < 1:
            raise DataError(f"averaging must be from 0 to 1, not {self.averaging}")
        if self.averaging and not self.measured:
            raise DataError("a recipe that averages parameters must measure their statistics")
        if self.weight_decay < 0 or self.temperature < 0:
            raise DataError("weight decay and temperature cannot be negative")
        if self.centred < 0 or (self.centred and self.epochs * (1 - self.centred) < 1):
            raise DataError(
                f"of {self.epochs} epochs, one must be left in which the weights are {{0, 1}}"
            )


OWN = Recipe("own", epochs=30, batch_size=128, learning_rate=0.003)
"""For a module of the user's own."""

AVERAGING = 0.998
"""Share of the average that each step leaves: the last 500 steps or so count."""

_CROP_AND_FLIP = Augmentation(crop=4, flip=True)

_AUGMENTATIONS = {
    Dataset.MNIST: Augmentation(1.5, 7.5, 0.075),
    Dataset.FASHION_MNIST: Augmentation(flip=True),
    Dataset.CIFAR10: _CROP_AND_FLIP,
    # Nobody wears a phone as others do.
    Dataset.HAR: Augmentation(tilt=6.0),
}
"""Augmentation that leaves images as they are."""


def _augmentation(dataset: Dataset | None) -> Augmentation:
    return Augmentation() if dataset is None else _AUGMENTATIONS[dataset]


_RECIPES = {
    "mlp": Recipe("mlp", epochs=200, augmentation=Augmentation(shift=1.0)),
    "tfc": Recipe("tfc", epochs=200, augmentation=Augmentation(shift=1.0)),
    "sfc": Recipe("sfc", epochs=80, augmentation=Augmentation(1.5, 7.5, 0.075)),
    "lfc": Recipe("lfc", epochs=30, augmentation=Augmentation(1.5, 7.5, 0.075)),
    "conv-s": Recipe(
        "conv-s", epochs=30, batch_size=128, augmentation=Augmentation(1.5, 7.5, 0.075)
    ),
    "conv-m": Recipe(
        "conv-m", epochs=14, batch_size=128, augmentation=Augmentation(1.5, 7.5, 0.075)
    ),
    "cnv": Recipe(
        "cnv",
        epochs=30,
        batch_size=128,
        learning_rate=0.003,
        augmentation=_CROP_AND_FLIP,
        mixed=True,
    ),
    "dscnn": Recipe(
        "dscnn",
        epochs=40,
        batch_size=128,
        learning_rate=0.005,
        label_smoothing=0.1,
    ),
    "vgg-small": Recipe(
        "vgg-small",
        epochs=400,
        batch_size=128,
        optimiser=Optimiser.SGD,
        learning_rate=0.1,
        augmentation=_CROP_AND_FLIP,
    ),
}


def recipe_for(name: str, method: Method, dataset: Dataset | None = Dataset.MNIST) -> Recipe:
    """Recipe of the model of a ``name``; one that has no recipe of its own, with `OWN`.

    SiMaN's weights take SGD, as its authors have it. Each filter's are compared with their own
    median, which those of dark pixels move too; Adam, which rescales every gradient, would make
    these wander as fast as the others, although they hardly have a gradient. Half of the weights
    being fixed at 0, such networks do not over-fit, and the images stay as they are.
    """
    recipe = _RECIPES.get(name, OWN)
    if dataset is Dataset.FASHION_MNIST:
        # Clothes lie straight and fill the image, unlike digits; and some kinds look alike.
        convolutional = name not in ("tfc", "sfc", "lfc", "mlp")
        recipe = replace(
            recipe,
            name=f"{recipe.name}-fashion",
            learning_rate=0.005 if convolutional else 0.003,
            label_smoothing=0.1,
            # Convolutions see a shifted image as it was; most of what is worn is symmetric.
            augmentation=Augmentation(flip=True) if convolutional else Augmentation(shift=1.0),
        )
    elif dataset is Dataset.HAR:
        recipe = replace(recipe, augmentation=_augmentation(dataset))
    if method in (Method.SIMAN, Method.SIMAN_BIPOLAR):
        recipe = replace(
            recipe,
            name=f"{recipe.name}-siman",
            epochs=100,
            optimiser=Optimiser.SGD,
            learning_rate=0.1,
            augmentation=Augmentation(),
        )
    # AdaBin's levels, unlike ±1, would be rounded in bfloat16.
    return replace(recipe, mixed=recipe.mixed and method is not Method.ADABIN)


def recipe_for_residual(name: str, dataset: Dataset | None) -> Recipe:
    """Recipe of a residual model from its first parameters, after AdaBin's authors."""
    return Recipe(
        name,
        epochs=400,
        batch_size=128,
        optimiser=Optimiser.SGD,
        learning_rate=0.1,
        augmentation=_augmentation(dataset),
        mixed=True,
    )


def small(dataset: Dataset | None) -> Recipe:
    """For a small residual model, from its first parameters, in minutes."""
    return Recipe(
        "small",
        epochs=6,
        batch_size=128,
        learning_rate=0.005,
        label_smoothing=0.1,
        augmentation=_augmentation(dataset),
        mixed=True,
    )


def fine_tune(dataset: Dataset | None, *, mixed: bool) -> Recipe:
    """For a trained model that is to get used to a grid.

    Its bits stay: at any learning rate some flip by chance, which does more harm than a few epochs
    repair. And all else moves little: at ten times this rate it over-fits what it was trained on.
    """
    return Recipe(
        "fine-tune",
        epochs=3,
        batch_size=128,
        optimiser=Optimiser.SGD,
        learning_rate=0.0005,
        augmentation=_augmentation(dataset),
        progress=1.0,
        frozen=True,
        mixed=mixed,
    )


def longer(recipe: Recipe, epochs: int | None = None) -> Recipe:
    """For a model that starts with the bits of a network that was trained with ``recipe``.

    Its learning rate begins at half of that recipe's, since latent weights are new, and what was
    learned shall stay; and its parameters are averaged.
    """
    return replace(
        recipe,
        name=f"{recipe.name}-longer",
        epochs=recipe.epochs if epochs is None else epochs,
        learning_rate=recipe.learning_rate / 2,
        measured=True,
        averaging=AVERAGING,
    )


def warm_start(dataset: Dataset | None, *, mixed: bool, half: bool = False) -> Recipe:
    """For a model that starts with the weights of one of another method.

    If its own are {0, 1}, ``half``, they are on their way there in a fifth of the epochs, of which
    they need more.
    """
    return Recipe(
        "warm-start",
        epochs=40 if half else 12,
        batch_size=128,
        learning_rate=0.001,
        augmentation=_augmentation(dataset),
        progress=0.5,
        centred=0.2 if half else 0.0,
        mixed=mixed,
    )


def low_rate(dataset: Dataset | None, *, mixed: bool) -> Recipe:
    """For {0, 1} weights after `warm_start`: many epochs at a rate at which few bits flip.

    Such a network gains most in its last epochs.
    """
    return Recipe(
        "low-rate",
        epochs=60,
        batch_size=128,
        learning_rate=0.0004,
        augmentation=_augmentation(dataset),
        progress=1.0,
        measured=True,
        mixed=mixed,
    )


def teacher(dataset: Dataset) -> Recipe:
    """For a teacher.

    Its labels are not smoothed: that would take away what it tells about the wrong classes. Source:
    Müller et al., arXiv 1906.02629.
    """
    return Recipe(
        "teacher",
        epochs=12,
        batch_size=128,
        optimiser=Optimiser.SGD,
        learning_rate=0.1,
        weight_decay=5e-4,
        augmentation=_augmentation(dataset),
        mixed=True,
    )


DEMO = Recipe("demo", epochs=30)
"""A first model in two minutes."""

DEMO_CONV = Recipe("demo-conv", epochs=4, batch_size=128)
"""A first convolutional model, in a few minutes."""
