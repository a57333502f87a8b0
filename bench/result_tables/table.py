"""Tables of results: a row of a file in bench/results becomes a row of a page."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import read_rows


__all__ = ["DIFFERING", "ROOT", "Row", "Table", "section"]

ROOT = Path(__file__).parents[2]

DIFFERING = "{differing} of {values:,}"

Row = Mapping[str, Any]
Column = str | Callable[[Row], object]
"""A format of a row's values, or what makes a cell of them."""


@dataclass(frozen=True)
class Table:
    """Results of a bench, a row each.

    Attributes
    ----------
    bench : str
        Name of the file in bench/results.
    caption : str
    columns : mapping of str to Column
        By what stands above them.
    """

    bench: str
    caption: str
    columns: Mapping[str, Column]

    def __call__(self) -> str:
        """Caption and table; nothing if there are no results."""
        return section(
            self.caption,
            list(self.columns),
            [[_cell(column, row) for column in self.columns.values()]
             for row in read_rows(self.bench)],
        )  # fmt: skip


def _cell(column: Column, row: Row) -> str:
    return column.format_map(row) if isinstance(column, str) else str(column(row))


def section(caption: str, head: list[str], rows: Iterable[list[str]]) -> str:
    """Caption and table; nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([caption, "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])
