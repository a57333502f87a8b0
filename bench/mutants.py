"""Mutants of what thresholds of the frame consist of, each caught by a test.

    python bench/mutants.py

Changes a line in a copy of the project and runs the one test that is named for it, which must fail,
and must pass without the change. Writes results/mutants.json.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from record import record
from rich.console import Console


ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutant:
    """A fault: ``old``, which stands once in ``file``, becomes ``new``, and ``test`` must fail."""

    what: str
    file: str
    old: str
    new: str
    test: str


MUTANTS: tuple[Mutant, ...] = ()


def main() -> None:
    """Break, test and record."""
    console = Console()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True)
        for name in listed.stdout.decode().split("\n")[:-1]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        for mutant in MUTANTS:
            if not _passes(mutant.test, copy):
                raise SystemExit(f"{mutant.test} fails as it is")
            path = copy / mutant.file
            text = path.read_text(encoding="utf-8")
            if text.count(mutant.old) != 1:
                raise SystemExit(f"{mutant.file} has not one place for: {mutant.what}")
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
            caught = not _passes(mutant.test, copy)
            path.write_text(text, encoding="utf-8")
            console.print(f"{'caught' if caught else 'NOT CAUGHT'}: {mutant.what}")
            rows.append({
                "mutant": mutant.what, "file": mutant.file, "test": mutant.test, "caught": caught,
            })  # fmt: skip
    record("mutants", "python bench/mutants.py", ["pytest"], rows)
    if not all(row["caught"] for row in rows):
        raise SystemExit(1)


def _passes(test: str, folder: Path) -> bool:
    """Whether a test passes in the project's copy in ``folder``."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    found = subprocess.run(command, cwd=folder, check=False, capture_output=True)
    if found.returncode not in (0, 1):
        raise SystemExit(found.stdout.decode())
    return found.returncode == 0


if __name__ == "__main__":
    main()
