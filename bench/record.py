"""Results on disk: what was measured, by which command, with which versions of the tools."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


__all__ = ["RESULTS", "read_rows", "read_versions", "record", "update"]

RESULTS = Path(__file__).parent / "results"


def record(name: str, command: str, packages: list[str], rows: list[dict[str, Any]]) -> None:
    """Write ``results/name.json``: the rows, and how they came about."""
    content = {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def update(name: str, command: str, packages: list[str], row: dict[str, Any]) -> None:
    """Replace, in ``results/name.json``, the row of the same network, or add it."""
    rows = [old for old in read_rows(name) if old["network"] != row["network"]]
    rows = sorted([*rows, row], key=lambda each: str(each["network"]))
    record(name, command, packages, rows)


def read_rows(name: str) -> list[dict[str, Any]]:
    """Rows of ``results/name.json``, none if it has not been measured."""
    rows: list[dict[str, Any]] = _read(name).get("rows", [])
    return rows


def read_versions(name: str) -> dict[str, str]:
    """Versions of the tools that ``results/name.json`` was measured with."""
    versions: dict[str, str] = _read(name).get("versions", {})
    return versions


def _read(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
