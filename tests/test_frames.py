import re

import numpy as np
import pytest

from xnorflow.errors import DataError
from xnorflow.frames import check_frames
from xnorflow.network import Bit, FeatureMap, Int, UInt


@pytest.mark.parametrize(
    ("value_type", "dtype"),
    [(UInt(8), np.uint8), (UInt(3), np.uint8), (Bit(), np.uint8), (UInt(9), np.int64),
     (Int(8), np.int64)],
)  # fmt: skip
def test_accepts_the_whole_range(value_type, dtype):
    frames = np.array([value_type.low, value_type.high], dtype).reshape(2, 1, 1, 1)
    assert check_frames(frames, FeatureMap(1, 1, 1, value_type)) is frames


def test_accepts_no_frames_at_all():
    frames = np.zeros((0, 2, 3, 4), np.uint8)
    assert check_frames(frames, FeatureMap(2, 3, 4, UInt(8))) is frames


@pytest.mark.parametrize(
    ("frames", "value_type", "text"),
    [
        ([[[[1]]]], UInt(8), "frames must be an array of uint8, not list"),
        (np.zeros((5, 2, 3, 1)), UInt(8),
         "frames must be an array of uint8 of shape (n, 2, 3, 1), "
         "not of float64 of shape (5, 2, 3, 1)"),
        (np.zeros((2, 3, 1), np.uint8), UInt(8),
         "frames must be an array of uint8 of shape (n, 2, 3, 1), not of uint8 of shape (2, 3, 1)"),
        (np.uint8(3), UInt(8), "frames must be an array of uint8, not uint8"),
        (np.array(3, np.uint8), UInt(8),
         "frames must be an array of uint8 of shape (n, 2, 3, 1), not of uint8 of shape ()"),
        (np.full((1, 2, 3, 1), 8, np.uint8), UInt(3), "frames must have values from 0 to 7"),
        (np.full((1, 2, 3, 1), -9), Int(4), "frames must have values from -8 to 7"),
    ],
)  # fmt: skip
def test_refuses(frames, value_type, text):
    with pytest.raises(DataError, match=rf"^{re.escape(text)}$"):
        check_frames(frames, FeatureMap(2, 3, 1, value_type))
