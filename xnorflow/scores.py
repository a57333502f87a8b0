"""Labels out of scores: those of a network's heads, and the best few of them.

Scores are arrays or tensors (frames, classes), as `golden`, a simulation and a board deliver them.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir import Head


__all__ = ["by_head", "labels_of", "top_k"]

_Scores = TypeVar("_Scores", bound=Any)


def by_head(scores: _Scores, heads: Sequence[Head]) -> dict[str, _Scores]:
    """Scores of each of ``network.heads``, by its name: views of ``scores``. None without heads.

    Raises
    ------
    ValueError
        If there are not as many scores as the heads have.

    Examples
    --------
    >>> from xnorflow.ir import Head
    >>> heads = Head("colour", 2, ("red", "blue")), Head("left", 1)
    >>> xnorflow.by_head(np.array([[3, 7, -2]]), heads)
    {'colour': array([[3, 7]]), 'left': array([[-2]])}
    """
    if not heads:
        return {}
    ends = np.cumsum([head.classes for head in heads]).tolist()
    if scores.shape[-1] != ends[-1]:
        raise ValueError(f"the heads have {ends[-1]} scores, not {scores.shape[-1]}")
    return {
        head.name: scores[..., end - head.classes : end]
        for head, end in zip(heads, ends, strict=True)
    }


def labels_of(scores: Any) -> NDArray[np.int64]:
    """Label of each frame, as an `xnorflow.ir.ArgMax` gives it: (frames,).

    Examples
    --------
    >>> xnorflow.labels_of(np.array([[3, 7, 7], [9, 0, 1]]))
    array([1, 0])
    """
    values = np.asarray(scores)
    if values.shape[-1] == 1:
        return (values[..., 0] >= 0).astype(np.int64)
    return values.argmax(axis=-1)


def top_k(scores: Any, k: int) -> NDArray[np.int64]:
    """The ``k`` classes of the highest scores, the highest first: (frames, k).

    Of equal scores, that of the lowest class comes first, as with a label.

    Raises
    ------
    ValueError
        If there are not so many classes.

    Examples
    --------
    >>> xnorflow.top_k(np.array([[3, 7, 7], [9, 0, 1]]), 2)
    array([[1, 2],
           [0, 2]])
    """
    values = np.asarray(scores)
    if not 1 <= k <= values.shape[-1]:
        raise ValueError(f"k must be from 1 to {values.shape[-1]}, not {k}")
    # Of integers, −x − 1 is in the opposite order without an overflow.
    reverse = ~values if values.dtype.kind in "iu" else -values
    return np.argsort(reverse, axis=-1, kind="stable")[..., :k]
