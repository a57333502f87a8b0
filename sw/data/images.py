"""Labelled data: frames of integers, what they stand for, and their classes."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from xnorflow.ir import FeatureMap, Int, Quantisation, UInt, ValueType


__all__ = ["ImageData", "values_of"]

_TYPES: dict[torch.dtype, ValueType] = {
    torch.uint8: UInt(8),
    torch.int8: Int(8),
    torch.int16: Int(16),
}


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images, or other maps of integers.

    Attributes
    ----------
    name : str
    train_images, test_images : uint8, int8 or int16 tensor, (N, height, width, channels)
    train_labels, test_labels : int64 tensor, (N,)
        Indices into ``classes``.
    classes : tuple of str
        What the labels mean.
    quantisation : Quantisation
        What the integers stand for.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    quantisation: Quantisation = field(default_factory=Quantisation)

    @property
    def frame(self) -> FeatureMap:
        """Shape and type of an image."""
        height, width, channels = self.train_images.shape[1:]
        return FeatureMap(height, width, channels, _TYPES[self.train_images.dtype])


def values_of(images: Tensor, quantisation: Quantisation | None = None) -> Tensor:
    """Input of a model, (N, channels, height, width), of images (N, height, width, channels).

    Integers become float32; others keep their type.
    """
    values = images if images.is_floating_point() else images.float()
    if quantisation not in (None, Quantisation()):
        values = (values - quantisation.zero_point) * quantisation.scale
    # Contiguous, because modules may call view.
    return values.movedim(-1, 1).contiguous()
