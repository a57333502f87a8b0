"""Integers out of tensors of floating point."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xnorflow.errors import NetworkError


__all__ = ["to_integers"]


_MOST = 2.0**62


def to_integers(code: Tensor, name: str = "a layer") -> NDArray[np.int64]:
    """Whole numbers that a tensor holds in floating point, of any shape.

    Raises
    ------
    NetworkError
        If they are beyond 62 bits: those of the layer ``name``.
    """
    values = code.detach().numpy()
    if not (np.abs(values) <= _MOST).all():
        raise NetworkError(
            f"{name} has a scale or a shift beyond 62 bits, as behind a variance that is nearly 0"
        )
    return values.astype(np.int64)
