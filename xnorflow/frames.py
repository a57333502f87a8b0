"""Arrays of raw frames: what every executor of a network takes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import DataError
from xnorflow.network import FeatureMap


__all__ = ["check_frames"]


def check_frames(frames: object, frame: FeatureMap) -> NDArray[Any]:
    """Return ``frames`` if they are what a network with the input ``frame`` takes.

    Parameters
    ----------
    frames : array, (n, height, width, channels)
        uint8 where that holds every value of the input's type, else int64.
    frame : FeatureMap
        One of them.

    Raises
    ------
    DataError
        If they have another shape or type, or values beyond the input's range.
    """
    low, high = frame.type.low, frame.type.high
    dtype = np.dtype(np.uint8 if low >= 0 and high <= 255 else np.int64)
    if not isinstance(frames, np.ndarray):
        raise DataError(f"frames must be an array of {dtype}, not {type(frames).__name__}")
    if frames.dtype != dtype or frames.shape[1:] != frame.shape:
        raise DataError(
            f"frames must be an array of {dtype} of shape {_spell('n', *frame.shape)}, "
            f"not of {frames.dtype} of shape {_spell(*frames.shape)}"
        )
    if frames.size and (frames.min() < low or frames.max() > high):
        raise DataError(f"frames must have values from {low} to {high}")
    return frames


def _spell(*sides: object) -> str:
    return f"({', '.join(map(str, sides))})"
