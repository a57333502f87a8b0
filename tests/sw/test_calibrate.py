import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_models import random_model
from xnorflow.errors import DataError, NetworkError
from xnorflow.sw.calibrate import _stream, calibrate
from xnorflow.sw.data import values_of
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.nn.grid import Grid


WIDE = Grid(24, 6, 12, 16)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_nothing_is_clipped_and_no_bit_is_spare(seed):
    """On the grid itself, whose rounding hardly moves the largest values."""
    case = random_model(seed)
    images = case.images(8)
    grid = calibrate(case.plain, case.frame, images, WIDE)
    assert grid == replace(WIDE, bits=grid.bits)
    with torch.no_grad():
        stream = _stream(prepare(case.plain, WIDE, case.frame), values_of(images))
    clipped = [
        float(max((narrow.clip(each) - each).abs().max() for each in stream)) * 64
        for narrow in (grid, replace(grid, bits=grid.bits - 1))
    ]
    assert clipped[0] <= 0.5 < clipped[1] or (grid.bits == 2 and clipped[0] <= 0.5)


def test_images_decide():
    case = random_model(4)
    images = case.images(8)
    bits, fewer = (calibrate(case.plain, case.frame, x, WIDE).bits for x in (images, images // 255))
    assert bits > fewer


def test_refuses_what_has_no_grid():
    case = random_model(5)
    with pytest.raises(DataError, match=r"^a grid cannot be chosen by no images$"):
        calibrate(case.plain, case.frame, case.images(0))
    with torch.no_grad():
        case.plain.stem.norm.weight.fill_(1e9)
    text = "the bits of the residual stream must be from 2 to 24, not "
    with pytest.raises(NetworkError, match=f"^{re.escape(text)}"):
        calibrate(case.plain, case.frame, case.images(8))
