"""Arrays of raw frames: what every executor of a network takes, and their bytes on any wire."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import DataError
from xnorflow.ir import FeatureMap, Quantisation, ValueType


__all__ = ["check_frames", "frame_bytes", "frame_dtype", "quantise", "value_bytes"]

_DTYPES: tuple["np.dtype[np.integer[Any]]", ...] = tuple(
    np.dtype(kind) for kind in (np.uint8, np.int8, np.int16, np.int32, np.int64)
)


def frame_dtype(frame: FeatureMap) -> "np.dtype[Any]":
    """Type of array that `check_frames` returns for frames of a network with the input ``frame``.

    It is the narrowest that holds all values: uint8 before int8, int16, int32 and int64.
    """
    return _dtype(frame.type)


def _dtype(value_type: ValueType) -> "np.dtype[Any]":
    low, high = value_type.low, value_type.high
    return next(
        dtype for dtype in _DTYPES if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max
    )


def check_frames(
    frames: object, frame: FeatureMap, quantisation: Quantisation | None = None
) -> NDArray[Any]:
    """Return ``frames`` as `frame_dtype` if they are what a network with the input ``frame`` takes.

    Parameters
    ----------
    frames : array, (n, height, width, channels)
        Integers or bools of any width; with a ``quantisation`` also floating-point numbers.
    frame : FeatureMap
        One of them.
    quantisation : Quantisation, optional
        That of the network.

    Raises
    ------
    DataError
        If they are of another type or shape, or have integers beyond the input's range.
    """
    numbers, kinds = ("integers", "iub") if quantisation is None else ("numbers", "iubf")
    if not isinstance(frames, np.ndarray):
        raise DataError(f"frames must be an array of {numbers}, not {type(frames).__name__}")
    if frames.dtype.kind not in kinds or frames.shape[1:] != frame.shape:
        raise DataError(
            f"frames must be an array of {numbers} of shape {_spell('n', *frame.shape)}, "
            f"not of {frames.dtype} of shape {_spell(*frames.shape)}"
        )
    if quantisation is not None and frames.dtype.kind == "f":
        return quantise(frames, frame.type, quantisation)
    low, high = frame.type.low, frame.type.high
    if frames.size and (int(frames.min()) < low or int(frames.max()) > high):
        raise DataError(f"frames must have values from {low} to {high}")
    return frames.astype(frame_dtype(frame), copy=False)


def value_bytes(value_type: ValueType) -> int:
    """Bytes in which a value travels: as few whole ones as hold it."""
    return -(-(value_type.high - value_type.low).bit_length() // 8)


def frame_bytes(
    frames: NDArray[Any], frame: FeatureMap, quantisation: Quantisation | None = None
) -> NDArray[np.uint8]:
    """Frames as they travel: of each value the whole bytes that hold it, the lowest one first.

    Signed integers are in two's complement, sign-extended to whole bytes; a bit is a byte 0 or 1.

    Parameters
    ----------
    frames, frame, quantisation
        As for `check_frames`.

    Returns
    -------
    (n, values of a frame, bytes of a value) uint8

    Raises
    ------
    DataError
        As `check_frames`.
    """
    array = check_frames(frames, frame, quantisation)
    count = value_bytes(frame.type)
    dtype = array.dtype if array.dtype.itemsize == count else np.dtype(np.int64)
    whole = np.ascontiguousarray(array, dtype.newbyteorder("<"))
    shape = len(array), frame.size, dtype.itemsize
    return whole.reshape(shape[:2]).view(np.uint8).reshape(shape)[..., :count]


def quantise(
    values: NDArray[Any], value_type: ValueType, quantisation: Quantisation
) -> NDArray[Any]:
    """Integers that stand for floating-point numbers.

    ``values / scale``, in float64, is rounded to the nearest integer, ties going up, and the zero
    point added; what does not fit is clipped.

    Parameters
    ----------
    values : array of floats
        Of any shape.
    value_type : ValueType
        Of a network's input.
    quantisation : Quantisation
        That of the network.

    Raises
    ------
    DataError
        If there is a value that is not a number.
    """
    if np.isnan(values).any():
        raise DataError("frames have values that are not numbers (NaN)")
    units = values.astype(np.float64) / quantisation.scale
    down = np.floor(units)
    # A half added to the number itself would be lost in rounding, or gain too much.
    up = np.subtract(units, down, out=np.zeros_like(units), where=np.isfinite(units)) >= 0.5
    integers = np.clip(down + up + quantisation.zero_point, value_type.low, value_type.high)
    return integers.astype(_dtype(value_type))


def _spell(*sides: object) -> str:
    return f"({', '.join(map(str, sides))})"
