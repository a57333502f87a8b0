"""Files, read and written; nothing half-written is ever seen under its final name."""

import os
import secrets
from pathlib import Path

from xnorflow.errors import FormatError


__all__ = ["make_folder", "read_file", "write_atomically"]


def write_atomically(path: Path | str, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all, replacing what is there.

    Raises
    ------
    FormatError
        If the folder is missing, full or not writable. Then nothing has changed.
    """
    path = Path(path)
    if not path.name:
        raise FormatError(f"{path} cannot be written: Is a directory")
    # Beside the target, because a rename is atomic only within one file system.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error.strerror}") from None


def read_file(path: Path | str) -> bytes:
    """Content of the file ``path``.

    Raises
    ------
    FormatError
        If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None


def make_folder(path: Path | str) -> Path:
    """Create a folder, and those above it, unless it is there; gives its path.

    Raises
    ------
    FormatError
        If it cannot be created.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"the folder {path} cannot be created: {error.strerror}") from None
    return path
