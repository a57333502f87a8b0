import re

import numpy as np
import pytest

from xnorflow.errors import DataError
from xnorflow.frames import check_frames, frame_bytes, frame_dtype, quantise, value_bytes
from xnorflow.ir import Bit, FeatureMap, Int, Quantisation, UInt


DTYPES = [np.dtype(kind) for kind in "bBhHiIlLqQ?"]
TYPES = [Bit(), *(UInt(bits) for bits in range(1, 33)), *(Int(bits) for bits in range(1, 33))]


@pytest.mark.parametrize(
    ("value_type", "dtype"),
    [(UInt(8), np.uint8), (UInt(3), np.uint8), (Bit(), np.uint8), (UInt(9), np.int16),
     (UInt(16), np.int32), (UInt(32), np.int64), (Int(8), np.int8), (Int(9), np.int16),
     (Int(32), np.int32)],
)  # fmt: skip
def test_accepts_the_whole_range(value_type, dtype):
    frame = FeatureMap(1, 1, 1, value_type)
    frames = np.array([value_type.low, value_type.high], dtype).reshape(2, 1, 1, 1)
    assert frame_dtype(frame) == dtype
    assert check_frames(frames, frame) is frames


@pytest.mark.parametrize("value_type", [Bit(), UInt(1), UInt(7), UInt(12), UInt(16), Int(8)])
@pytest.mark.parametrize("dtype", [*DTYPES, *(kind.newbyteorder() for kind in DTYPES)], ids=str)
def test_takes_every_type_of_integers_whose_values_fit(value_type, dtype):
    frame = FeatureMap(1, 2, 1, value_type)
    low, high = max(value_type.low, _low(dtype)), min(value_type.high, _high(dtype))
    frames = np.array([low, high], dtype).reshape(1, 1, 2, 1)

    checked = check_frames(frames, frame)

    assert checked.dtype == frame_dtype(frame)
    assert checked.ravel().tolist() == [low, high]
    if _high(dtype) > value_type.high:
        frames[..., 0] = _high(dtype)
        with pytest.raises(DataError, match=r"^frames must have values from "):
            check_frames(frames, frame)


def _low(dtype):
    return 0 if dtype.kind == "b" else np.iinfo(dtype).min


def _high(dtype):
    return 1 if dtype.kind == "b" else np.iinfo(dtype).max


@pytest.mark.parametrize("value_type", TYPES, ids=str)
def test_values_travel_in_whole_bytes(value_type):
    values = [value_type.low, value_type.high, 0, value_type.low // 3, value_type.high // 3]
    frame = FeatureMap(1, len(values), 1, value_type)
    count = value_bytes(value_type)
    assert count == -(-getattr(value_type, "bits", 1) // 8)

    (travelling,) = frame_bytes(np.array(values).reshape(1, *frame.shape), frame)

    signed = isinstance(value_type, Int)
    expected = [value.to_bytes(count, "little", signed=signed) for value in values]
    assert [value.tobytes() for value in travelling] == expected


def test_accepts_no_frames_at_all():
    frames = np.zeros((0, 2, 3, 4), np.uint8)
    frame = FeatureMap(2, 3, 4, UInt(8))
    assert check_frames(frames, frame) is frames
    assert frame_bytes(frames, frame).shape == (0, 24, 1)


@pytest.mark.parametrize(
    ("frames", "value_type", "text"),
    [
        ([[[[1]]]], UInt(8), "frames must be an array of integers, not list"),
        (np.zeros((5, 2, 3, 1)), UInt(8),
         "frames must be an array of integers of shape (n, 2, 3, 1), "
         "not of float64 of shape (5, 2, 3, 1)"),
        (np.zeros((2, 3, 1), np.uint8), UInt(8),
         "frames must be an array of integers of shape (n, 2, 3, 1), "
         "not of uint8 of shape (2, 3, 1)"),
        (np.uint8(3), UInt(8), "frames must be an array of integers, not uint8"),
        (np.array(3, np.uint8), UInt(8),
         "frames must be an array of integers of shape (n, 2, 3, 1), not of uint8 of shape ()"),
        (np.full((1, 2, 3, 1), 8, np.uint8), UInt(3), "frames must have values from 0 to 7"),
        (np.full((1, 2, 3, 1), -9), Int(4), "frames must have values from -8 to 7"),
        (np.full((1, 2, 3, 1), -1), Bit(), "frames must have values from 0 to 1"),
        (np.full((1, 2, 3, 1), 1 << 63, np.uint64), Int(16),
         "frames must have values from -32768 to 32767"),
    ],
)  # fmt: skip
def test_refuses(frames, value_type, text):
    with pytest.raises(DataError, match=rf"^{re.escape(text)}$"):
        check_frames(frames, FeatureMap(2, 3, 1, value_type))


@pytest.mark.parametrize(
    ("value_type", "quantisation", "values", "integers"),
    [
        (UInt(8), Quantisation(0.5, 10), [0.0, 0.24, 0.25, -0.25, -0.26], [10, 10, 11, 10, 9]),
        (UInt(8), Quantisation(1.0), [-1.0, 255.5, 1e300, np.inf, -np.inf], [0, 255, 255, 255, 0]),
        (Int(8), Quantisation(0.25, -3), [-31.25, -31.5, 32.5, 99.0], [-128, -128, 127, 127]),
        (Int(16), Quantisation(2.0**-12), [-8.0, 7.9999, 1.0, 2.0**-13], [-32768, 32767, 4096, 1]),
        (Bit(), Quantisation(1.0), [0.49, 0.5, 3.0, -3.0], [0, 1, 1, 0]),
        # Just below a half, and odd numbers that a half added would move.
        (Int(32), Quantisation(1.0), [0.49999999999999994, 2.0**30 + 1], [0, 2**30 + 1]),
    ],
)  # fmt: skip
def test_quantises_to_the_nearest_integer_that_there_is(value_type, quantisation, values, integers):
    found = quantise(np.array(values), value_type, quantisation)
    assert found.dtype == frame_dtype(FeatureMap(1, 1, 1, value_type))
    assert found.tolist() == integers


def test_takes_floats_where_it_is_said_what_they_are():
    frame, quantisation = FeatureMap(1, 2, 1, Int(8)), Quantisation(0.5, -1)
    frames = np.array([[[[1.0], [-1.0]]]], np.float32)
    integers = np.array([[[[1], [-3]]]])
    assert check_frames(frames, frame, quantisation).tolist() == integers.tolist()
    assert check_frames(integers, frame, quantisation).tolist() == integers.tolist()
    assert frame_bytes(frames, frame, quantisation).ravel().tolist() == [1, 253]
    with pytest.raises(DataError, match=r"^frames must be an array of integers of shape "):
        check_frames(frames, frame)
    with pytest.raises(DataError, match=r"^frames must be an array of numbers of shape "):
        check_frames(frames[..., 0], frame, quantisation)
    with pytest.raises(DataError, match=r"^frames have values that are not numbers \(NaN\)$"):
        check_frames(frames * np.nan, frame, quantisation)
    with pytest.raises(DataError, match=r"^frames must have values from -128 to 127$"):
        check_frames(integers + 127, frame, quantisation)
