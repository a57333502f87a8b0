"""The page of designs side by side."""

from collections.abc import Sequence

from markupsafe import Markup

from xnorflow.report.facts import RunFacts
from xnorflow.report.page import render
from xnorflow.report.plots import FrontMark, front_plot
from xnorflow.report.sides import Side, layer_rows, rows_of


__all__ = ["sides_page"]


def sides_page(sides: Sequence[Side], run: RunFacts) -> str:
    """HTML of a comparison; the same designs give the same text."""
    marks = {side.name: [_mark(side)] for side in sides}
    return render(
        "sides.html",
        sides=sides,
        rows=rows_of(sides),
        layers=layer_rows(sides),
        plot=Markup(front_plot(marks)),
        run=run,
    )


def _mark(side: Side) -> FrontMark:
    luts = side.placed("look-up tables")
    return FrontMark(side.frames_per_second, side.cost.luts, luts, best=False)
