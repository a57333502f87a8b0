"""The command that shows designs side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xnorflow.cli.interrupted import command_line
from xnorflow.cli.options import ClockOption, CyclesOption, FastestOption, RateOption
from xnorflow.cli.report import facts_of, page_or_hint
from xnorflow.cli.shared import console, load_network
from xnorflow.errors import DataError
from xnorflow.files import make_folder, write_atomically


if TYPE_CHECKING:
    from xnorflow.report.sides import Side


__all__ = ["compare"]

_PAGE = "compare.html"


def compare(
    designs: Annotated[
        list[str],
        typer.Argument(
            help="Output folders of `generate`, `simulate` or `build`, or networks, which are "
            "planned for each --board.",
            metavar="DESIGN...",
        ),
    ],
    board: Annotated[
        list[str] | None,
        typer.Option("--board", help="For networks, as for `plan`; or several."),
    ] = None,
    cycles: CyclesOption = None,
    fps: RateOption = None,
    fastest: FastestOption = False,
    clock: ClockOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=f"Write {_PAGE} into this folder.")
    ] = None,
) -> None:
    """Show designs side by side: what they take, how fast they are, what was verified."""
    from xnorflow.report.folder import FACTS, load
    from xnorflow.report.gather import run_facts
    from xnorflow.report.sides import Side, side_table

    if out is not None:
        make_folder(out)
    sides = []
    for text in designs:
        if Path(text).is_dir():
            sides.append(Side(text, load(Path(text) / FACTS)))
            continue
        rate = {"cycles": cycles, "fps": fps, "fastest": fastest}
        boards: list[str | None] = list(board) if board else [None]
        sides += [_planned(text, name, clock, rate) for name in boards]
    if len(sides) < 2:
        raise DataError("there is only one design to compare: give two or more, or several boards")
    console.print(side_table(sides))
    if out is None:
        return

    def make() -> str:
        from xnorflow.report.sides_page import sides_page

        return sides_page(sides, run_facts("compare", command_line()))

    if (page := page_or_hint(make)) is not None:
        write_atomically(out / _PAGE, page.encode())
        console.print(f"the page is in {out / _PAGE}", soft_wrap=True)


def _planned(text: str, board: str | None, clock: float | None, rate: Mapping[str, Any]) -> "Side":
    """A network, as `plan` would fold it for a board."""
    from xnorflow.boards.plan import choose_for
    from xnorflow.boards.targets import find_place
    from xnorflow.report.facts import Report
    from xnorflow.report.sides import Side

    place, network = find_place(board, None), load_network(text)
    hertz = None if clock is None else round(clock * 1e6)
    with console.status(f"folding {network.name} …"):
        design = choose_for(network, place, clock=hertz, linked=True, **rate)
    return Side(f"{text} on {place.title}", Report(facts_of(design, place, clock)))
