import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.windows import random_axis, windows_by
from xnorflow.sw.lowering.borders import find_borders, merge_classes


@given(st.integers(0, 2**32 - 1))
def test_every_window_has_the_taps_of_its_class(seed):
    rng = np.random.default_rng(seed)
    frame = tuple(int(side) for side in rng.integers(1, 10, 2))
    axes = [random_axis(rng, side) for side in frame]
    kernel = tuple(axis.taps for axis in axes)
    shape = [axis.count(side) for axis, side in zip(axes, frame, strict=True)]
    borders = find_borders(frame, kernel, **windows_by(*axes))
    assert borders.classes.shape == tuple(shape)
    assert set(borders.classes.flat) == set(range(len(borders.inside)))
    assert len(np.unique(borders.inside, axis=0)) == len(borders.inside)
    for r, c, i, j in itertools.product(*map(range, (*shape, *kernel))):
        y, x = (
            window * axis.stride + tap * axis.dilation - axis.before
            for axis, window, tap in zip(axes, (r, c), (i, j), strict=True)
        )
        inside = 0 <= y < frame[0] and 0 <= x < frame[1]
        assert borders.inside[borders.classes[r, c], i, j] == inside


@pytest.mark.parametrize(
    ("frame", "kernel", "stride", "padding", "count"),
    [
        ((32, 32), (3, 3), 1, 1, 9),
        ((32, 32), (3, 3), 2, 1, 4),
        ((224, 224), (7, 7), 2, 3, 16),
        ((32, 32), (3, 3), 1, 0, 1),
        ((2, 2), (3, 3), 1, 1, 4),
        ((9, 9), (3, 3), 1, (1, 0, 1, 1), 6),
        ((9, 1), (3, 1), 1, (1, 1, 0, 0), 3),
        ((9, 9), (4, 4), 1, 2, 25),
    ],
)
def test_count_of_classes(frame, kernel, stride, padding, count):
    assert len(find_borders(frame, kernel, stride=stride, padding=padding).inside) == count


def test_equal_classes_become_one():
    classes = np.array([[2, 2, 0], [3, 1, 3]])
    values = np.array([[5, 6], [1, 2], [5, 7], [1, 2]])
    merged, of_each = merge_classes(classes, values)
    assert merged.tolist() == [[0, 0, 1], [2, 2, 2]]
    assert of_each.tolist() == [[5, 7], [5, 6], [1, 2]]
    np.testing.assert_array_equal(of_each[merged], values[classes])
