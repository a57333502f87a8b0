"""The page of an exploration."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from xnorflow.explore.pareto import best, groups, pareto
from xnorflow.explore.placing import Result
from xnorflow.report.facts import RunFacts
from xnorflow.report.page import render
from xnorflow.report.plots import FrontMark, front_plot


__all__ = ["front_page"]


@dataclass(frozen=True)
class _Group:
    """Results of a network on a board."""

    title: str
    results: list[Result]
    front: list[Result]
    best: Result | None


def front_page(results: Sequence[Result], run: RunFacts) -> str:
    """HTML of an exploration; the same results give the same text."""
    shown = [
        _Group(f"{rows[0].point.name} on {rows[0].point.title}", rows, pareto(rows), best(rows))
        for rows in groups(results).values()
    ]
    marks = {
        group.title: [_mark(result, group.front) for result in group.results if not result.error]
        for group in shown
    }
    return render(
        "front.html",
        title=", ".join(group.title for group in shown),
        groups=shown,
        placed=any(result.found for result in results),
        plot=Markup(front_plot(marks)),
        run=run,
    )


def _mark(result: Result, front: list[Result]) -> FrontMark:
    luts = result.found.cost.luts if result.found else None
    rate = result.frames_per_second
    return FrontMark(rate, result.point.estimate.luts, luts, result in front)
