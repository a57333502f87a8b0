"""An earlier revision of the project, to measure beside this one."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


__all__ = ["ROOT", "environment", "function", "short", "worktree"]

ROOT = Path(__file__).resolve().parent.parent

# Where functions are, and where they were.
_MODULES = {
    "load": ("xnorflow.ir.xnf", "xnorflow.xnf"),
    "estimate": ("xnorflow.hw.compile.estimate", "xnorflow.hw.estimate"),
    "fold": ("xnorflow.hw.compile.fold", "xnorflow.hw.folding"),
    "generate": ("xnorflow.hw.compile.emit", "xnorflow.hw.generate"),
}


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A folder with the files of an earlier revision."""
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--detach", str(tree), revision)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def short(revision: str) -> str:
    """The abbreviated hash of a revision."""
    return _git("rev-parse", "--short", revision)


def environment(tree: Path) -> dict[str, str]:
    """That of a process which imports xnorflow from ``tree``."""
    return os.environ | {"PYTHONPATH": str(tree)}


def function(name: str) -> Callable[..., Any]:
    """Function of the xnorflow that this process imports, be it an earlier one."""
    present, former = _MODULES[name]
    try:
        found = find_spec(present)
    except ModuleNotFoundError:  # not even the package
        found = None
    imported: Callable[..., Any] = getattr(import_module(present if found else former), name)
    return imported


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
