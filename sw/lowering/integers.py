"""Integers out of tensors of floating point."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


__all__ = ["to_integers"]


def to_integers(code: Tensor) -> NDArray[np.int64]:
    """Whole numbers that a tensor holds in floating point, of any shape."""
    return code.detach().numpy().astype(np.int64)
