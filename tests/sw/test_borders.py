import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorflow.sw.lowering.borders import find_borders, merge_classes


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.integers(1, 3),
    st.integers(0, 4),
)
def test_every_window_has_the_taps_of_its_class(frame, kernel, stride, padding):
    padding = min(padding, *(taps - 1 for taps in kernel))
    shape = [
        (side + 2 * padding - taps) // stride + 1 for side, taps in zip(frame, kernel, strict=True)
    ]
    if min(shape) < 1:
        return
    borders = find_borders(frame, kernel, stride=stride, padding=padding)
    assert borders.classes.shape == tuple(shape)
    assert set(borders.classes.flat) == set(range(len(borders.inside)))
    assert len(np.unique(borders.inside, axis=0)) == len(borders.inside)
    for r, c, i, j in itertools.product(*map(range, (*shape, *kernel))):
        y, x = r * stride + i - padding, c * stride + j - padding
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
