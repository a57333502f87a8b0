"""Tables of an exploration for the terminal."""

from collections.abc import Iterable, Iterator

from rich.table import Table

from xnorflow.explore.pareto import groups, pareto
from xnorflow.explore.placing import Result


__all__ = ["result_tables", "spell_result"]

_HEADS = "cycles", "LUTs, est.", "LUTs", "BRAMs", "MHz", "frames/s"


def result_tables(results: Iterable[Result]) -> Iterator[Table]:
    """A table for each network on a board; designs of the Pareto front have a star."""
    for rows in groups(results).values():
        first, front = rows[0].point, pareto(rows)
        table = Table(title=f"{first.name} on {first.title}")
        table.add_column("chosen by", no_wrap=True)
        for head in _HEADS:
            table.add_column(head, justify="right")
        table.add_column("", no_wrap=True)
        for result in rows:
            point, found = result.point, result.found
            table.add_row(
                point.option,
                f"{point.cycles_per_frame:,}",
                f"{point.estimate.luts:,}",
                f"{found.cost.luts:,}" if found else "",
                f"{(found.cost if found else point.estimate).block_rams:,}",
                f"{found.fmax / 1e6:.1f}" if found else "",
                "" if result.error else f"{result.frames_per_second:,.0f}",
                "★" if result in front else "",
            )
        failed = [f"{row.point.option}: {row.error}" for row in rows if row.error]
        if failed:
            table.caption_justify = "left"
            table.caption = "\n".join(failed)
        yield table


def spell_result(result: Result) -> str:
    """What has become of a point, in a line."""
    point, found = result.point, result.found
    said = f"{point.name} on {point.title}, {point.option}: "
    if found is None:
        return said + (result.error or "")
    return said + (
        f"{found.cost.luts:,} LUTs, {found.fmax / 1e6:.1f} MHz, "
        f"{result.frames_per_second:,.0f} frames a second{', known' if result.known else ''}"
    )
