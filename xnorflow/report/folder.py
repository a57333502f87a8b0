"""Keeps a report in a folder: report.json, to which every command adds, and the page of it."""

import json
from dataclasses import replace
from pathlib import Path

from xnorflow.errors import FormatError
from xnorflow.files import make_folder, read_file, write_atomically
from xnorflow.report.facts import (
    BuildFacts,
    DesignFacts,
    Report,
    RunFacts,
    SimulationFacts,
    decode,
    encode,
)


__all__ = ["FACTS", "PAGE", "load", "update"]

FACTS = "report.json"
PAGE = "report.html"


def update(
    folder: Path,
    run: RunFacts,
    design: DesignFacts,
    *,
    simulation: SimulationFacts | None = None,
    build: BuildFacts | None = None,
) -> Report:
    """Add what a command found out to the report of a folder, and write its report.json.

    What the folder knows of another design is forgotten, and so is a report that is damaged or of
    another version.
    """
    path = make_folder(folder) / FACTS
    report = Report(design)
    if (known := _known(path)) is not None and known.design.key == design.key:
        others = (former for former in known.runs if former.command != run.command)
        report = replace(known, design=design, runs=tuple(others))
    report = replace(
        report,
        simulation=simulation or report.simulation,
        build=build or report.build,
        runs=(*report.runs, run),
    )
    text = json.dumps(encode(report), indent=1, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())
    return report


def load(path: Path) -> Report:
    """Read a report.json.

    Raises
    ------
    FormatError
        If it cannot be read, is no report, or is of another version.
    """
    content = read_file(path)
    try:
        return decode(json.loads(content))
    except (FormatError, ValueError) as error:
        raise FormatError(f"{path}: {error}") from None


def _known(path: Path) -> Report | None:
    try:
        return load(path) if path.exists() else None
    except FormatError:
        return None
