"""Files of NumPy arrays, read without pickle."""

import zipfile
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import DataError


__all__ = ["read_array", "read_arrays"]

_DAMAGE = ValueError, EOFError, SyntaxError, TokenError, MemoryError


def read_array(path: Path) -> NDArray[Any]:
    """Array of an .npy file.

    Raises
    ------
    DataError
        If it cannot be read, or is no such file of plain numbers or texts.
    """
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except _DAMAGE:
        raise DataError(f"{path} is not a .npy file of plain numbers") from None


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by their names.

    Raises
    ------
    DataError
        As `read_array`.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (*_DAMAGE, AttributeError, zipfile.BadZipFile):
        raise DataError(f"{path} is not a .npz file of plain numbers") from None
