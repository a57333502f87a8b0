"""An earlier revision of the project, to measure beside this one."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


__all__ = ["ROOT", "environment", "short", "worktree"]

ROOT = Path(__file__).resolve().parent.parent


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


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
