"""Plots of a report, as SVG to put into a page."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from xnorflow.report.facts import LayerFacts, PlacedFacts, WaitFacts


__all__ = [
    "PALETTE",
    "FrontMark",
    "confusion_plot",
    "floor_plan",
    "front_plot",
    "time_line",
    "wait_line",
]

PALETTE = tuple(
    matplotlib.colors.to_hex(color)
    for name in ("tab20", "tab20b")
    for color in matplotlib.colormaps[name].colors  # type: ignore[attr-defined]
)
"""Colours of layers; after so many they repeat."""

_REST = "#c9ccd1"
_HELD = "#b3261e"
_INK = "#39424e"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_WIDE = 4
"""Ratio of the ends of an axis from which it is logarithmic."""
_MOST_NUMBERS = 20
"""Classes up to which each count is written into its cell."""


@dataclass(frozen=True)
class FrontMark:
    """A design in the plot of an exploration.

    Attributes
    ----------
    rate : float
        Frames a second.
    estimate, luts : int
        Look-up tables, estimated and placed; none if it is not.
    best : bool
        Whether no other design is better.
    """

    rate: float
    estimate: int
    luts: int | None
    best: bool


def time_line(layers: tuple[LayerFacts, ...], cycles: int) -> str:
    """From when to when each layer is at work on a frame; lines show when others may begin."""
    with _figure(7.4, 0.9 + 0.24 * len(layers), "time") as (figure, svg):
        axes = figure.subplots()
        names = [layer.name for layer in layers]
        colors = [PALETTE[n % len(PALETTE)] for n in range(len(layers))]
        # A word that passes in a cycle is seen, too.
        end = max(layer.last for layer in layers) + 1
        widths = [max(layer.last - layer.first + 1, end / 400) for layer in layers]
        axes.barh(names, widths, left=[layer.first for layer in layers], color=colors, height=0.7)
        for start in range(cycles, end, cycles)[:24]:
            axes.axvline(start, color=_INK, linewidth=0.5, linestyle=":")
        axes.invert_yaxis()
        axes.set_xlim(0, end)
        axes.set_xlabel("clock cycles from a frame's first word")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.margins(y=0.02)
    return svg.getvalue()


def wait_line(waits: tuple[WaitFacts, ...], colors: Mapping[str, str], cycles: int) -> str:
    """In which parts of a frame's period each layer works, waits for words, or holds one back."""
    with _figure(7.4, 0.9 + 0.3 * len(waits), "waits") as (figure, svg):
        axes = figure.subplots()
        parts = len(waits[0].held)
        edges = [cycles * n / parts for n in range(parts + 1)]
        for row, each in enumerate(waits):
            base = row + 0.4  # rows go down
            held = [base - 0.8 * share for share in each.held]
            works = [base - 0.8 * (1 - share) for share in each.starved]
            axes.axhspan(row - 0.4, row + 0.4, color=_REST, alpha=0.35, linewidth=0)
            axes.stairs(works, edges, baseline=base, fill=True, color=colors[each.layer])
            axes.stairs(held, edges, baseline=base, fill=True, color=_HELD)
        axes.set_yticks(range(len(waits)), [each.layer for each in waits])
        axes.set_ylim(len(waits) - 0.4, -0.6)
        axes.set_xlim(0, cycles)
        axes.set_xlabel("clock cycles from a frame's first word, with others in front of it")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    return svg.getvalue()


def confusion_plot(classes: tuple[str, ...], counts: tuple[tuple[int, ...], ...]) -> str:
    """Frames of each class, rows, by the label that they got."""
    side = max(3.2, min(6.5, 1.4 + 0.38 * len(classes)))
    with _figure(side, side, "confusion") as (figure, svg):
        axes = figure.subplots()
        shares = [[count / max(1, sum(row)) for count in row] for row in counts]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xlabel("label given")
        axes.set_ylabel("class")
        if len(classes) <= _MOST_NUMBERS:
            axes.set_xticks(range(len(classes)), classes, rotation=90)
            axes.set_yticks(range(len(classes)), classes)
            for y, row in enumerate(counts):
                for x, count in enumerate(row):
                    color = "white" if shares[y][x] > 0.5 else _INK
                    if count:
                        axes.text(x, y, str(count), ha="center", va="center", color=color, size=7)
    return svg.getvalue()


def floor_plan(placed: tuple[PlacedFacts, ...], colors: Mapping[str, str]) -> str:
    """Tiles of the device, in the colour of the layer that is there."""
    everywhere = [tile for part in placed for tile in part.tiles]
    wide, high = (max(tile[axis] for tile in everywhere) + 1 for axis in (0, 1))
    grid = [[-1] * wide for _ in range(high)]
    # Of a tile that several share, the layer is shown, and not the rest.
    for n, part in sorted(enumerate(placed), key=lambda pair: pair[1].layer is not None):
        for x, y in part.tiles:
            grid[y][x] = n
    shown = [colors.get(part.layer or "", _REST) for part in placed]
    scale = min(6.5 / wide, 6.5 / high)
    with _figure(wide * scale + 0.4, high * scale + 0.4, "floor") as (figure, svg):
        axes = figure.subplots()
        axes.imshow(
            grid, cmap=ListedColormap(["#ffffff", *shown]), vmin=-1, vmax=len(shown) - 1,
            origin="lower", interpolation="nearest",
        )  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
    return svg.getvalue()


def front_plot(series: Mapping[str, Sequence[FrontMark]]) -> str:
    """Frames a second against look-up tables, a colour for each network on a board.

    Discs are placed, and those of the front connected; circles are estimates, at the same rate.
    """
    with _figure(7.4, 4.6, "front") as (figure, svg):
        axes = figure.subplots()
        for n, (name, marks) in enumerate(series.items()):
            _draw_marks(axes, name, marks, PALETTE[2 * n % len(PALETTE)])
        axes.set_xlabel("look-up tables, with the link to the host")
        axes.set_ylabel("frames a second")
        for axis, (low, high), scale in (
            (axes.xaxis, axes.dataLim.intervalx, axes.set_xscale),
            (axes.yaxis, axes.dataLim.intervaly, axes.set_yscale),
        ):
            if high > _WIDE * low:
                scale("log")
                axis.set_minor_formatter(_two_or_five)
            axis.set_major_formatter("{x:,.0f}")
        axes.grid(True, which="both", linewidth=0.3, alpha=0.5)
        axes.legend(frameon=False, fontsize=8)
    return svg.getvalue()


def _draw_marks(axes: Axes, name: str, marks: Sequence[FrontMark], color: str) -> None:
    dots: dict[str, Any] = {"color": color, "marker": "o", "markersize": 5, "linestyle": "none"}
    axes.plot(
        [mark.estimate for mark in marks], [mark.rate for mark in marks],
        fillstyle="none", label=f"{name}, estimated", **dots,
    )  # fmt: skip
    placed = [(mark.luts, mark) for mark in marks if mark.luts is not None]
    for luts, mark in placed:
        ends = [mark.estimate, luts]
        axes.plot(ends, [mark.rate] * 2, color=color, linewidth=0.8, alpha=0.5)
    if placed:
        rates = [mark.rate for _, mark in placed]
        axes.plot([luts for luts, _ in placed], rates, label=f"{name}, placed", **dots)
    front = [(mark.luts or mark.estimate, mark.rate) for mark in marks if mark.best]
    if front:
        axes.step(*zip(*front, strict=True), where="post", color=color, linewidth=1.2)


def _two_or_five(value: float, _: float) -> str:
    """Label between powers of ten, where others would touch."""
    text = f"{value:,.0f}"
    return text if text[0] in "25" else ""


@contextmanager
def _figure(width: float, height: float, name: str) -> Iterator[tuple[Figure, io.StringIO]]:
    """A figure, and the text of its SVG once it is drawn; the same each time."""
    text = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, text
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        whole = io.StringIO()
        figure.savefig(whole, format="svg", transparent=True, metadata=nothing)
    # A page holds the element alone.
    text.write(whole.getvalue()[whole.getvalue().index("<svg") :])
