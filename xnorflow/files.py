"""Files, read and written; nothing half-written is ever seen under its final name."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xnorflow.errors import FormatError


__all__ = ["check_output", "locked", "make_folder", "read_file", "remove_file", "write_atomically"]

_LOCK = ".xnorflow.lock"


def write_atomically(path: Path | str, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all, replacing what is there.

    A link is followed. A device or a pipe, such as ``/dev/stdout``, stays what it is: ``data`` goes
    into it.

    Raises
    ------
    FormatError
        If the folder is missing, full or not writable, or if ``path`` is a folder. Then nothing has
        changed, except what a device or a pipe has taken.
    """
    try:
        if _is_special(path):
            with Path(path).open("wb") as file:
                file.write(data)
            return
        # Beside the target, because a rename is atomic only within one file system.
        target = Path(os.path.realpath(path))
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error.strerror}") from None


def check_output(path: Path | str) -> None:
    """Check, before long work, that `write_atomically` has a chance to write to ``path``.

    Raises
    ------
    FormatError
        If ``path`` is a folder, or its folder is missing or not writable.
    """
    try:
        if not _is_special(path):
            with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
                pass
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


def remove_file(path: Path | str) -> None:
    """Remove the file ``path``, if there is one.

    Raises
    ------
    FormatError
        If it cannot be removed.
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise FormatError(f"{path} cannot be removed: {error.strerror}") from None


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


@contextmanager
def locked(path: Path | str) -> Iterator[Path]:
    """Create a folder unless it is there, and keep other runs out of it; gives its path.

    The system ends the lock of a process that is killed.

    Raises
    ------
    FormatError
        If another run is writing to it, or if it cannot be created or written to.
    """
    # It takes longer to import than all else that the command line needs for its help.
    from filelock import FileLock, Timeout

    folder = make_folder(path)
    lock = FileLock(folder / _LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise FormatError(
            f"another run is writing to the folder {folder}: wait for its end, or give another one"
        ) from None
    except OSError as error:
        raise FormatError(f"the folder {folder} cannot be written to: {error.strerror}") from None
    try:
        yield folder
    finally:
        lock.release()


def _is_special(path: Path | str) -> bool:
    """Whether ``path`` is there and no regular file, but something that takes what is written."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return not stat.S_ISREG(mode)
