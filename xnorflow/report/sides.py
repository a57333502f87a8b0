"""Designs side by side: the figures of their reports, row by row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from xnorflow.report.facts import CostFacts, Report


__all__ = ["Row", "Side", "layer_rows", "rows_of", "side_table"]


@dataclass(frozen=True)
class Side:
    """A design that is compared with others, and what the user calls it."""

    name: str
    report: Report

    @property
    def cost(self) -> CostFacts:
        """Resources that are estimated, with the link to the host."""
        return self.report.design.estimate + self.report.design.link

    @property
    def clock(self) -> int:
        """Frequency in Hz."""
        return (self.report.build or self.report.design).clock

    @property
    def fmax(self) -> float | None:
        """Highest clock in Hz, once it is placed and routed."""
        return None if self.report.build is None else self.report.build.fmax

    @property
    def frames_per_second(self) -> float:
        """At its clock."""
        return self.clock / self.report.design.cycles_per_frame

    def placed(self, cell: str) -> int | None:
        """Cells that place and route has found."""
        usage = self.report.build.usage if self.report.build else ()
        return next((use.used for use in usage if use.cell == cell), None)


@dataclass(frozen=True)
class Row:
    """A figure of all designs, as text, and which of them are the best; none if no one is."""

    name: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


def rows_of(sides: Sequence[Side]) -> list[Row]:
    """Rows of figures that at least one of the designs has."""
    rows = [
        Row("network", tuple(side.report.design.network for side in sides)),
        Row("board", tuple(side.report.design.board for side in sides)),
        Row("device", tuple(side.report.design.device for side in sides)),
        _figures("clock, MHz", sides, lambda side: side.clock / 1e6, "{:g}", best=None),
        _figures(
            "highest clock, MHz", sides, lambda s: s.fmax and s.fmax / 1e6, "{:.1f}", best=max
        ),
        _figures("frames a second", sides, lambda s: s.frames_per_second, "{:,.0f}", best=max),
        _figures("at the highest clock", sides, _peak, "{:,.0f}", best=max),
        _figures("cycles a frame", sides, lambda s: s.report.design.cycles_per_frame, best=min),
        _figures("latency, cycles", sides, lambda s: s.report.design.latency, best=min),
        _figures("LUTs, estimated", sides, lambda s: s.cost.luts, best=min),
        _figures("LUTs, placed", sides, lambda s: s.placed("look-up tables"), best=min),
        _figures("block RAMs, estimated", sides, lambda s: s.cost.block_rams, best=min),
        _figures("block RAMs, placed", sides, lambda s: s.placed("block RAMs"), best=min),
        _figures("DSPs, estimated", sides, lambda s: s.cost.multipliers, best=min),
        _figures("weights, bits", sides, _weight_bits, best=min),
        _figures("accuracy of the model", sides, _accuracy, "{:.2%}", best=max),
        _figures("frames simulated", sides, _simulated, best=None),
        _figures("right in simulation", sides, _right, "{:.2%}", best=max),
        _figures("seed", sides, _seed, best=None),
    ]
    return [row for row in rows if any(row.cells)]


def layer_rows(sides: Sequence[Side]) -> list[Row]:
    """A row for each name of a layer: PE × SIMD, and estimated look-up tables."""
    by_name = [{layer.name: layer for layer in side.report.design.layers} for side in sides]
    names = dict.fromkeys(name for layers in by_name for name in layers)

    def cell(name: str, n: int) -> str:
        layer = by_name[n].get(name)
        if layer is None:
            return ""
        folding = "" if layer.pe is None else f"{layer.pe} × {layer.simd}, "
        return f"{folding}{layer.estimate.luts:,} LUTs"

    return [Row(name, tuple(cell(name, n) for n in range(len(sides)))) for name in names]


def side_table(sides: Sequence[Side]) -> Table:
    """Table for the terminal; the best figures are bold."""
    table = Table()
    table.add_column("", no_wrap=True)
    for side in sides:
        table.add_column(side.name, justify="right", overflow="fold")
    for row in rows_of(sides):
        cells = (
            Text(cell, style="bold" if n in row.best else "") for n, cell in enumerate(row.cells)
        )
        table.add_row(row.name, *cells)
    return table


def _figures(
    name: str,
    sides: Sequence[Side],
    figure: Callable[[Side], float | None],
    form: str = "{:,}",
    *,
    best: Callable[[list[float]], float] | None,
) -> Row:
    """Row of numbers; where all have the same, or only one has any, none is best."""
    values = [figure(side) for side in sides]
    known = [value for value in values if value is not None]
    winners: frozenset[int] = frozenset()
    if best is not None and len(set(known)) > 1:
        wanted = best(known)
        winners = frozenset(n for n, value in enumerate(values) if value == wanted)
    cells = tuple("" if value is None else form.format(value) for value in values)
    return Row(name, cells, winners)


def _peak(side: Side) -> float | None:
    return side.fmax and side.fmax / side.report.design.cycles_per_frame


def _weight_bits(side: Side) -> int:
    return sum((node.weights or 0) * (node.weight_bits or 0) for node in side.report.design.nodes)


def _accuracy(side: Side) -> float | None:
    found = side.report.design.origin.get("float_accuracy")
    return None if found is None else float(found)


def _simulated(side: Side) -> int | None:
    simulation = side.report.simulation
    return None if simulation is None else simulation.frames


def _right(side: Side) -> float | None:
    simulation = side.report.simulation
    if simulation is None or simulation.confusion is None:
        return None
    return sum(row[n] for n, row in enumerate(simulation.confusion)) / simulation.frames


def _seed(side: Side) -> int | None:
    return None if side.report.build is None else side.report.build.seed
