"""Reads which cells each layer of a routed design takes, and where they are."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xnorflow.boards.build import PLACED, BuildReport
from xnorflow.boards.power import VOLTS, draw
from xnorflow.hw.families.device import Cell, Family
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.report.facts import (
    BuildFacts,
    CostFacts,
    LayerFacts,
    PathFacts,
    PlacedFacts,
    PowerFacts,
    UsageFacts,
)


__all__ = ["build_facts", "read_placement"]

_KINDS = Cell.LUT, Cell.BLOCK_RAM, Cell.MULTIPLIER

# What Yosys makes of the units keeps their names in front of its own.
_UNIT = re.compile(r"(?:^|\.)accelerator\.([^.]+)\.")
_TILE = re.compile(r"X(\d+)/?Y(\d+)/")


def build_facts(report: BuildReport, layers: tuple[LayerFacts, ...], *, seed: int) -> BuildFacts:
    """Facts of a bitstream of a design with these ``layers``."""
    path = report.timing.critical_path
    placed = report.bitstream.parent / PLACED
    family = report.target.device.family
    parts = read_placement(placed, family, layers) if placed.is_file() else ()
    used = {cell: usage.used for cell, usage in report.usage.items()}
    total = sum((part.cost for part in parts if part.cost), CostFacts())
    if total != CostFacts(*(used.get(kind, 0) for kind in _KINDS)):
        parts = tuple(replace(part, cost=None) for part in parts)
    return BuildFacts(
        bitstream=report.bitstream.name,
        seed=seed,
        clock=report.clock,
        fmax=report.timing.fmax,
        usage=tuple(
            UsageFacts(cell.value, usage.used, usage.available)
            for cell, usage in report.usage.items()
        ),
        critical_path=path and PathFacts(path.start, path.end, path.logic, path.routing),
        placed=parts,
        power=_power(report, used),
    )


def _power(report: BuildReport, used: Mapping[Cell, int]) -> PowerFacts | None:
    if report.target.device != UP5K:
        return None
    oscillator = report.target.oscillator
    found = draw(
        used.get(Cell.LUT, 0),
        report.clock / 1e6,
        multipliers=used.get(Cell.MULTIPLIER, 0),
        reference=None if report.clock == oscillator else oscillator / 1e6,
    )
    low, high = (round(VOLTS * current / 1000, 2) for current in (found.low, found.high))
    return PowerFacts(low, high)


def read_placement(
    path: Path, family: Family, layers: tuple[LayerFacts, ...]
) -> tuple[PlacedFacts, ...]:
    """Cells of each layer, and at last of all else, in a netlist that nextpnr has written.

    Parameters
    ----------
    path : Path
        The netlist, as JSON.
    family : Family
        What it is for.
    layers : tuple of LayerFacts
        Of the design.
    """
    owner = {unit: layer.name for layer in layers for unit in layer.units}
    counts: Counter[tuple[str | None, Cell]] = Counter()  # in parts of a cell
    parts = {family.cells[name]: count for name, count in family.cell_parts.items()}
    tiles: dict[str | None, set[tuple[int, int]]] = {}
    (module,) = json.loads(path.read_text(encoding="utf-8"))["modules"].values()
    for name, cell in module["cells"].items():
        kind = family.cells.get(cell["type"])
        if kind is None:
            continue
        unit = _UNIT.search(name)
        layer = owner.get(unit[1]) if unit else None
        counts[layer, kind] += 1
        if place := _TILE.match(cell["attributes"].get("NEXTPNR_BEL", "")):
            tiles.setdefault(layer, set()).add((int(place[1]), int(place[2])))
    return tuple(
        PlacedFacts(
            layer,
            CostFacts(*(-(-counts[layer, kind] // parts.get(kind, 1)) for kind in _KINDS)),
            tuple(sorted(tiles.get(layer, ()))),
        )
        for layer in (*(layer.name for layer in layers), None)
    )
