"""Border classes: windows of a convolution that have the same taps inside the frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir.windows import Padding, Pair, axes_of


__all__ = ["Borders", "find_borders", "merge_classes"]


@dataclass(frozen=True, eq=False)
class Borders:
    """Where a convolution's windows reach outside the frame.

    Attributes
    ----------
    classes : int array, (height, width)
        Border class of each window.
    inside : bool array, (border classes, rows, columns)
        Taps of the kernel that lie in the frame.
    """

    classes: NDArray[np.int64]
    inside: NDArray[np.bool_]

    def count(self, bits: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Taps inside the frame (border classes,), and ones there (border classes, filters).

        Those of filters whose ``bits`` are (filters, rows, columns, channels).
        """
        taps = self.inside.sum(axis=(1, 2)) * bits.shape[3]
        ones = np.einsum("cij,fij->cf", self.inside.astype(int), bits.sum(axis=3))
        return taps, ones


def find_borders(
    frame: tuple[int, int],
    kernel: tuple[int, int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Borders:
    """Border classes of the windows of a ``kernel`` on a ``frame``, each (rows, columns)."""
    kinds, which = [], []
    for side, axis in zip(frame, axes_of(kernel, stride, padding, dilation), strict=True):
        places = axis.places(side)
        kind, index = np.unique((places >= 0) & (places < side), axis=0, return_inverse=True)
        kinds.append(kind)
        which.append(index.reshape(-1))
    rows, columns = kinds
    inside = rows[:, np.newaxis, :, np.newaxis] & columns[np.newaxis, :, np.newaxis, :]
    inside = inside.reshape(-1, *kernel)
    classes = which[0][:, np.newaxis] * len(columns) + which[1]
    # With dilation, windows may have no tap inside, for whatever reason.
    distinct, index = np.unique(inside, axis=0, return_inverse=True)
    if len(distinct) < len(inside):
        return Borders(index.reshape(-1)[classes], distinct)
    return Borders(classes, inside)


def merge_classes(
    classes: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Let classes whose ``values`` (border classes, channels) are equal become one.

    Returns
    -------
    (int array, int array)
        New classes, numbered in the order in which a frame meets them, and their values.
    """
    _, same = np.unique(values, axis=0, return_inverse=True)
    merged = same.reshape(-1)[classes]
    _, first = np.unique(merged, return_index=True)
    order = np.argsort(first)
    met = classes.reshape(-1)[first[order]]
    return np.argsort(order)[merged], values[met]
