"""Published data sets: their names, and what is known of each."""

from enum import Enum

from xnorflow.ir import Quantisation


__all__ = ["Dataset"]


class Dataset(Enum):
    """Data sets that `fetch` and `load` know, with the names that users give."""

    MNIST = "mnist"
    FASHION_MNIST = "fashion-mnist"
    CIFAR10 = "cifar10"
    HAR = "har"

    @property
    def title(self) -> str:
        """Name in prose."""
        return _TITLES[self]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return _CLASSES[self]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of an image, or (1, samples, axes) of a window."""
        return _SHAPES.get(self, (28, 28, 1))

    @property
    def quantisation(self) -> Quantisation:
        """What the integers of an image stand for."""
        return Quantisation(1 / 64) if self is Dataset.HAR else Quantisation()

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of each channel, of pixels in 0…1.

        CIFAR-10 has ImageNet's, as AdaBin and SiMaN have it. HAR's values are not 255 times
        anything in 0…1, and need none.
        """
        return _NORMALISATIONS[self]


_TITLES = {
    Dataset.MNIST: "MNIST",
    Dataset.FASHION_MNIST: "Fashion-MNIST",
    Dataset.CIFAR10: "CIFAR-10",
    Dataset.HAR: "UCI HAPT",
}

_SHAPES = {Dataset.CIFAR10: (32, 32, 3), Dataset.HAR: (1, 128, 6)}

_NORMALISATIONS = {
    Dataset.MNIST: ((0.1307,), (0.3081,)),
    Dataset.FASHION_MNIST: ((0.2860,), (0.3530,)),
    Dataset.CIFAR10: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    Dataset.HAR: ((0.0,) * 6, (1 / 255,) * 6),
}

_CLASSES = {
    Dataset.MNIST: tuple("0123456789"),
    Dataset.FASHION_MNIST: (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    Dataset.CIFAR10: (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
    Dataset.HAR: (
        "walking", "walking upstairs", "walking downstairs", "sitting", "standing", "lying",
    ),
}  # fmt: skip
