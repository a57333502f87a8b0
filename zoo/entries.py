"""Networks of the zoo: their data, models, methods and recipes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xnorflow.sw.adabin_import import GRID, PIXELS, STEM_BITS
from xnorflow.sw.data import Dataset
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import (
    Recipe,
    fine_tune,
    longer,
    low_rate,
    recipe_for,
    small,
    warm_start,
)


__all__ = ["ENTRIES", "STREAM", "ZOO", "Entry"]

ZOO = Path(__file__).parent

_RELEASED = (
    "the weights of AdaBin's ResNet-20 as its authors released them (MIT licence, Huawei "
    "Technologies)"
)

STREAM = Grid(score_bits=10)
"""Grid of the residual networks."""


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Attributes
    ----------
    dataset : Dataset
    model : str
        Its name.
    method : Method or ResidualMethod
    recipes : tuple of Recipe
        What it is trained with, one after the other; that of the model, unless others are given.
    grid : Grid, optional
        Of a residual network.
    after : str, optional
        Entry whose trained model it starts with.
    stem_bits : int
        Width of the first layer's weights.
    bits_only : bool
        Start each further recipe with no more than the bits and thresholds of the network so far.
    scratch : bool
        Start with random weights, also where others start with AdaBin's.
    """

    dataset: Dataset
    model: str
    method: Method | ResidualMethod
    recipes: tuple[Recipe, ...] = ()
    grid: Grid | None = None
    after: str | None = None
    stem_bits: int = PIXELS.bits
    bits_only: bool = False
    scratch: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.method, Method):
            recipe = recipe_for(self.model, self.method, self.dataset)
            object.__setattr__(self, "recipes", self.recipes or (recipe,))

    @property
    def residual(self) -> bool:
        """Whether it has a residual stream."""
        return isinstance(self.method, ResidualMethod)

    @property
    def released(self) -> bool:
        """Whether it starts with AdaBin's released weights, or with a model that did."""
        return self._as_released and not self.scratch

    @property
    def _as_released(self) -> bool:
        return self.residual and self.dataset is Dataset.CIFAR10

    @property
    def spec(self) -> ModelSpec:
        """Specification of the model; after AdaBin's, pixels are normalised as its authors do."""
        pixels = PIXELS if self._as_released else IntegerPixels(*self.dataset.normalisation)
        height, width, channels = self.dataset.shape
        task = Task(
            (channels, height, width),
            len(self.dataset.classes),
            replace(pixels, bits=self.stem_bits),
        )
        return ModelSpec(self.model, task, {"method": self.method.value})

    def starts(self) -> str:
        """Which parameters it starts with, in words."""
        if self.after is not None:
            return f"the trained `{self.after}` of this zoo, which starts with {_RELEASED}"
        return _RELEASED if self.released else "random weights"


def _residual(
    model: str,
    method: ResidualMethod,
    *recipes: Recipe,
    dataset: Dataset = Dataset.CIFAR10,
    grid: Grid = STREAM,
    **options: Any,
) -> Entry:
    return Entry(dataset, model, method, recipes, grid, **options)


_CIFAR10 = Dataset.CIFAR10
_WARM_START = warm_start(_CIFAR10, mixed=True)
_CNV = recipe_for("cnv", Method.SIGN, _CIFAR10)

ENTRIES: dict[str, Entry] = {
    "mnist-tfc-sign": Entry(Dataset.MNIST, "tfc", Method.SIGN),
    "mnist-tfc-adabin": Entry(Dataset.MNIST, "tfc", Method.ADABIN),
    "mnist-tfc-siman": Entry(Dataset.MNIST, "tfc", Method.SIMAN),
    "mnist-tfc-w1a2": Entry(
        Dataset.MNIST,
        "tfc",
        Method.W1A2,
        (replace(recipe_for("tfc", Method.W1A2), epochs=60),),
    ),
    "mnist-sfc-sign": Entry(Dataset.MNIST, "sfc", Method.SIGN),
    "mnist-lfc-sign": Entry(Dataset.MNIST, "lfc", Method.SIGN),
    "mnist-conv-up5k": Entry(Dataset.MNIST, "conv-s", Method.SIGN),
    "fashion-lfc-adabin": Entry(Dataset.FASHION_MNIST, "lfc", Method.ADABIN),
    "fashion-conv": Entry(Dataset.FASHION_MNIST, "conv-m", Method.SIGN),
    "har-dscnn-w1a1": Entry(Dataset.HAR, "dscnn", Method.SIGN),
    "cifar10-cnv": Entry(
        _CIFAR10, "cnv", Method.SIGN, (_CNV, longer(_CNV, epochs=70)), bits_only=True
    ),
    "cifar10-resnet20-adabin": _residual(
        "resnet20",
        ResidualMethod.ADABIN,
        fine_tune(_CIFAR10, mixed=True),
        grid=GRID,
        stem_bits=STEM_BITS,
    ),
    "cifar10-resnet20-siman": _residual(
        "resnet20",
        ResidualMethod.SIMAN,
        warm_start(_CIFAR10, mixed=True, half=True),
        low_rate(_CIFAR10, mixed=True),
        grid=GRID,
        after="cifar10-resnet20-siman-bipolar",
    ),
    "cifar10-resnet20-siman-bipolar": _residual(
        "resnet20", ResidualMethod.SIMAN_BIPOLAR, _WARM_START
    ),
    "cifar10-resnet20-reactnet": _residual("resnet20", ResidualMethod.REACTNET, _WARM_START),
    "cifar10-resnet20-dybnn": _residual("resnet20", ResidualMethod.DYBNN, _WARM_START),
    "fashion-small-reactnet": _residual(
        "resnet8",
        ResidualMethod.REACTNET,
        small(Dataset.FASHION_MNIST),
        dataset=Dataset.FASHION_MNIST,
    ),
    "fashion-small-dybnn": _residual(
        "resnet8",
        ResidualMethod.DYBNN,
        small(Dataset.FASHION_MNIST),
        dataset=Dataset.FASHION_MNIST,
    ),
}
