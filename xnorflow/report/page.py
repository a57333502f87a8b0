"""The page of a report: one HTML file that loads nothing."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xnorflow.report.facts import BuildFacts, DesignFacts, Report, SimulationFacts
from xnorflow.report.graph import HEIGHT, WIDTH, draw
from xnorflow.report.plots import PALETTE, confusion_plot, floor_plan, time_line, wait_line


__all__ = ["page", "render"]

_WORST = 5
"""Confusions that are named."""


def page(report: Report) -> str:
    """HTML of a report; the same report gives the same text."""
    design, simulation, build = report.design, report.simulation, report.build
    colors = {layer.name: PALETTE[n % len(PALETTE)] for n, layer in enumerate(design.layers)}
    return render(
        "report.html",
        report=report,
        design=design,
        simulation=simulation,
        build=build,
        colors=colors,
        layers={layer.name: layer for layer in design.layers},
        placed={part.layer: part.cost for part in (build.placed if build else ()) if part.cost},
        drawing=draw(design.nodes),
        box=(WIDTH, HEIGHT),
        resources=_resources(design, build),
        time_line=Markup(time_line(design.layers, design.cycles_per_frame)),
        waits=_waits(simulation, colors, design.cycles_per_frame),
        fills=dict(simulation.fills) if simulation else {},
        confusion=_confusion(simulation),
        right=_right(simulation),
        worst=_worst(simulation),
        floor=_floor(build, colors),
        script=_read("report.js"),
    )


def render(template: str, **values: Any) -> str:
    """HTML of a page in the style of all of them."""
    environment = Environment(
        loader=PackageLoader("xnorflow.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(style=_read("report.css"), **values)


def _read(name: str) -> Markup:
    return Markup((files("xnorflow.report") / "page" / name).read_text(encoding="utf-8"))


def _resources(design: DesignFacts, build: BuildFacts | None) -> list[tuple[str, int, int, bool]]:
    """Kinds of cells: how many are taken, how many there are, and whether that is an estimate."""
    if build is not None:
        return [(use.cell, use.used, use.available, False) for use in build.usage]
    need, there = design.estimate + design.link, design.available
    return [
        ("look-up tables", need.luts, there.luts, True),
        ("block RAMs", need.block_rams, there.block_rams, True),
        ("multipliers", need.multipliers, there.multipliers, True),
    ]


def _confusion(simulation: SimulationFacts | None) -> Markup | None:
    if simulation is None or simulation.confusion is None:
        return None
    return Markup(confusion_plot(simulation.classes, simulation.confusion))


def _waits(
    simulation: SimulationFacts | None, colors: dict[str, str], cycles: int
) -> Markup | None:
    if simulation is None or not simulation.waits:
        return None
    return Markup(wait_line(simulation.waits, colors, cycles))


def _right(simulation: SimulationFacts | None) -> int:
    """Frames that got the label that they have."""
    counts = (simulation and simulation.confusion) or ()
    return sum(row[n] for n, row in enumerate(counts))


def _worst(simulation: SimulationFacts | None) -> list[tuple[int, str, str]]:
    """The most frequent confusions: frames, their class, the label that they got."""
    if simulation is None or simulation.confusion is None:
        return []
    classes = simulation.classes
    wrong = [
        (count, classes[truth], classes[given])
        for truth, row in enumerate(simulation.confusion)
        for given, count in enumerate(row)
        if count and truth != given
    ]
    return sorted(wrong, key=lambda confusion: -confusion[0])[:_WORST]


def _floor(build: BuildFacts | None, colors: dict[str, str]) -> Markup | None:
    if build is None or not any(part.tiles for part in build.placed):
        return None
    return Markup(floor_plan(build.placed, colors))
