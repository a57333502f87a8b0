"""A learned threshold that makes bits of pixels."""

from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.sw.nn.gradients import ceil_through
from xnorflow.sw.nn.quantiser import ActivationLevels, ActivationQuantiser


__all__ = ["InputThreshold"]


class InputThreshold(ActivationQuantiser):
    """``sign(x − T)`` of raw pixels in 0…255, with a learned threshold T = ⌈255/(1 + e^−t)⌉.

    T is an integer, the same for all pixels, and stays within 1…255: if every pixel passed, the
    layer's outputs would be constant, and batch normalisation would divide by almost nothing.
    Gradient: Bi-Real's on (x − T)/255; that of ⌈·⌉ is taken as the identity's.

    Examples
    --------
    >>> nn.InputThreshold()(torch.tensor([[0.0, 127.0, 128.0]])).tolist()
    [[-1.0, -1.0, 1.0]]
    """

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def _threshold(self) -> Tensor:
        return ceil_through(255 * self.level.sigmoid())

    def distance(self, x: Tensor) -> Tensor:
        """How far the pixels are above the threshold, in units of the full range."""
        return (x - self._threshold()) / 255

    def levels(self) -> ActivationLevels:
        """Levels −1 and +1, threshold T."""
        threshold = Fraction(self._threshold().item())
        return ActivationLevels(Fraction(-1), Fraction(2), (threshold,), (False,))
