import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import random_model
from xnorflow.errors import DataError, NetworkError
from xnorflow.sw.calibrate import calibrate
from xnorflow.sw.nn.grid import Grid


WIDE = Grid(24, 6, 12, 16)


def make_images(model, count=8):
    shape = count, *model.config.input_shape
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).byte()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_nothing_is_clipped_and_no_bit_is_spare(seed):
    """On the grid itself, whose rounding hardly moves the largest values."""
    model = random_model(seed, grid=None)
    images = make_images(model)
    grid = calibrate(model, images, WIDE)
    assert grid == replace(WIDE, bits=grid.bits)
    with torch.no_grad():
        real = model.double().trace(images)
    stream = [value for name, value in real.items() if not name.endswith(("bits", "label"))]
    clipped = [
        float(max((narrow.clip(each) - each).abs().max() for each in stream)) * 64
        for narrow in (grid, replace(grid, bits=grid.bits - 1))
    ]
    assert clipped[0] <= 0.5 < clipped[1] or (grid.bits == 2 and clipped[0] <= 0.5)


def test_a_model_on_a_grid_is_looked_at_in_real_numbers():
    model = random_model(3, grid=None)
    grid = calibrate(model, make_images(model), WIDE)
    narrow = model.on_grid(Grid(4, 2))
    assert calibrate(narrow, make_images(model), WIDE) == grid
    assert narrow.grid == Grid(4, 2)


def test_images_decide():
    model = random_model(4, grid=None)
    images = make_images(model)
    assert calibrate(model, images, WIDE).bits > calibrate(model, images // 255, WIDE).bits


def test_refuses_what_has_no_grid():
    model = random_model(5, grid=None)
    with pytest.raises(DataError, match=r"^a grid cannot be chosen by no images$"):
        calibrate(model, make_images(model, 0))
    with torch.no_grad():
        model.stem.norm.weight.fill_(1e9)
    text = "the bits of the residual stream must be from 2 to 24, not "
    with pytest.raises(NetworkError, match=f"^{re.escape(text)}"):
        calibrate(model, make_images(model))
