"""Human activity (UCI HAPT): windows of what a phone at the waist measures.

30 people walk, sit, stand and lie; an accelerometer (in g) and a gyroscope (in rad/s) have three
axes each, sampled at 50 Hz. The package has a table of each recording, pickled by an old pandas. A
window is 128 samples long and starts 64 after the one before it, as long as the activity lasts; a
record of a file is a byte for the label and 128 × 6 bytes for the values, signed, in 64ths.
"""

import io
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import DataError
from xnorflow.frames import quantise
from xnorflow.ir import Int
from xnorflow.sw.data.datasets import Dataset


__all__ = ["TEST_FILE", "TRAIN_FILE", "convert_tables", "unpack_windows"]

TRAIN_FILE, TEST_FILE = "train.bin", "test.bin"

_AXES = "acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z"
_LENGTH, _STEP = 128, 64
_TEST_SUBJECTS = frozenset({2, 4, 9, 10, 12, 13, 18, 20, 24})
"""Those of the authors' test set: nobody is in both."""


def unpack_windows(content: bytes) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    """Windows (N, 1, 128, 6) and labels (N,) of a file, whose content is known by now."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _LENGTH * len(_AXES))
    return records[:, 1:].view(np.int8).reshape(-1, 1, _LENGTH, len(_AXES)), records[:, 0]


def convert_tables(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files that the pickled tables of the package make.

    Windows stand in the order of subjects, recordings and time.

    Raises
    ------
    DataError
        If the content refers to anything that tables do not consist of.
    """
    subjects = _Unpickler(io.BytesIO(content)).load()
    for name, test in ((TRAIN_FILE, False), (TEST_FILE, True)):
        records = [
            record
            for subject, tables in sorted(subjects.items())
            if (subject in _TEST_SUBJECTS) is test
            for table in tables
            for record in _records(_columns(table))
        ]
        yield name, b"".join(records)


def _records(columns: Mapping[str, NDArray[Any]]) -> Iterator[bytes]:
    """Windows of a recording; labels are those of its six basic activities, from 1 on."""
    values = np.stack([columns[axis] for axis in _AXES], axis=-1)
    values = quantise(values, Int(8), Dataset.HAR.quantisation)
    labels = columns["label"]
    ends = [*(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    for start, end in zip([0, *ends], ends, strict=False):
        label = int(labels[start]) - 1
        if 0 <= label < len(Dataset.HAR.classes):
            for first in range(start, end - _LENGTH + 1, _STEP):
                yield bytes([label]) + values[first : first + _LENGTH].tobytes()


# -- pandas' tables, without pandas ---------------------------------------------------------------


class _Pickled:
    """An object of pandas', as its state."""

    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _columns(table: _Pickled) -> dict[str, NDArray[Any]]:
    """Columns of a table by name: it keeps those of one type together, in a block."""
    _, _, _, contents = table.state["_data"].state
    names, blocks = contents["0.14.1"]["axes"][0]["data"], contents["0.14.1"]["blocks"]
    return {
        name: values
        for block in blocks
        for name, values in zip(names[block["mgr_locs"]], block["values"], strict=True)
    }


def _same(_kind: Any, state: Any) -> Any:
    return state


_ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
    ("copy_reg", "_reconstructor"): lambda kind, _base, _state: kind(),
    ("__builtin__", "object"): object,
    ("__builtin__", "slice"): slice,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("pandas.core.frame", "DataFrame"): _Pickled,
    ("pandas.core.indexes.base", "Index"): None,
    ("pandas.core.indexes.base", "_new_Index"): _same,
    ("pandas.core.indexes.range", "RangeIndex"): None,
    ("pandas.core.internals.managers", "BlockManager"): _Pickled,
}
"""All that a table refers to: nothing else is run."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Stand-in for what a table refers to."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(f"HAPT.pkl refers to {module}.{name}, which no table does") from None
