"""Folders of the user's cache, and what stands in for one in which nothing can be written."""

import os
import tempfile
from pathlib import Path

import platformdirs

from xnorflow.errors import ToolError


__all__ = ["cache_folder", "redirect_tools", "user_cache"]

_TOOLS = ("YoWASP", "wasmtime")
"""Folders in which the tools that come as WebAssembly keep what they have compiled."""


def user_cache() -> Path:
    """``$XNORFLOW_CACHE``, else ``xnorflow`` in the user's cache, be it there or not."""
    if folder := os.environ.get("XNORFLOW_CACHE"):
        return Path(folder)
    return platformdirs.user_cache_path("xnorflow", appauthor=False)


def cache_folder() -> Path:
    """As `user_cache`; a folder of the user's among temporary files, where that is not writable.

    Raises
    ------
    ToolError
        If that folder is not the user's alone: programs are run from it.
    """
    folder = user_cache()
    if os.environ.get("XNORFLOW_CACHE") or _is_writable(folder):
        return folder
    folder = Path(tempfile.gettempdir(), f"xnorflow-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise _unusable(folder, f": {error.strerror}") from None
    # Of a link, these are its own.
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise _unusable(folder, ", which others may write to")
    return folder


def redirect_tools() -> None:
    """Let tools run whose cache cannot be written to, by environment variables of this process.

    Those that come as WebAssembly compile themselves in their first run, and fail where they cannot
    keep the result. Then it is kept in our `cache_folder`.

    Raises
    ------
    ToolError
        As `cache_folder` does.
    """
    base = platformdirs.user_cache_path()
    if all(_is_writable(base / name) for name in _TOOLS):
        return
    folder = cache_folder()
    tools = str(folder / "tools")
    # What is in the user's cache can be read all the same.
    os.environ.setdefault("XNORFLOW_DATA", str(user_cache()))
    os.environ.setdefault("XNORFLOW_CACHE", str(folder))
    os.environ.setdefault("YOWASP_CACHE_DIR", tools)
    os.environ["XDG_CACHE_HOME"] = tools


def _is_writable(folder: Path) -> bool:
    """Whether files can be put into ``folder``, which may have to be made first."""
    while not os.access(folder, os.F_OK) and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _unusable(folder: Path, why: str) -> ToolError:
    return ToolError(
        f"the user's cache cannot be written to, and neither can {folder}{why}: "
        "set XNORFLOW_CACHE to a folder that can"
    )
