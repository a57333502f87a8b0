"""The command that explores the foldings of networks on boards."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xnorflow.cli.interrupted import command_line, on_interrupt
from xnorflow.cli.options import ClockOption, SchedulerOption, SeedsOption, WorkersOption
from xnorflow.cli.report import page_or_hint
from xnorflow.cli.shared import bar, console, load_network
from xnorflow.errors import DesignError, ToolError
from xnorflow.files import make_folder, write_atomically


if TYPE_CHECKING:
    from xnorflow.explore.front import Choice
    from xnorflow.explore.placing import Point, Result


__all__ = ["explore"]

_KEPT = "what has been placed is kept; the same command goes on"


def explore(
    networks: Annotated[
        list[str], typer.Argument(help="Networks, each as for `plan`.", metavar="NETWORK...")
    ],
    board: Annotated[
        list[str],
        typer.Option(
            "--board", help="One of `xnorflow boards`, or my_board.py:MyBoard; or several."
        ),
    ],
    points: Annotated[
        int, typer.Option("--points", min=2, help="Most designs of a network on a board.")
    ] = 12,
    seeds: SeedsOption = 1,
    clock: ClockOption = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only estimate; nothing is placed and routed.")
    ] = False,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the page and of explore.json.")
    ] = Path("explore"),
) -> None:
    """Place and route designs from the smallest to the fastest, and show the Pareto front.

    It is of look-up tables against frames a second, at the clock that each design reaches. What has
    been placed is not placed again, be it by another run.
    """
    make_folder(out)
    hertz = None if clock is None else round(clock * 1e6)
    chosen = _points(networks, board, points, clock=hertz, seeds=seeds)
    with on_interrupt(lambda: _KEPT):
        found = _results(chosen, workers, scheduler, estimate=estimate)
    _show(found, out)


def _points(
    networks: list[str], boards: list[str], count: int, *, clock: int | None, seeds: int
) -> "list[tuple[Point, Choice]]":
    from xnorflow.boards.targets import find_target
    from xnorflow.explore.front import designs
    from xnorflow.explore.placing import point_of

    # Each is looked at before any takes its time.
    targets = {name: find_target(name) for name in boards}
    loaded = {name: load_network(name) for name in networks}
    found, refusals = [], []
    for text, network in loaded.items():
        for name, target in targets.items():
            try:
                with console.status(f"folding {network.name} for the {target.title} …"):
                    choices = designs(network, target, count=count, clock=clock)
            except DesignError as error:  # others may fit
                refusals.append(error)
                continue
            found += [
                (point_of(choice, text, name, clock=clock, seeds=seeds), choice)
                for choice in choices
            ]
    if not found:
        raise refusals[0]
    for refusal in refusals:
        console.print(f"left out: {refusal}", soft_wrap=True)
    return found


def _results(
    points: "list[tuple[Point, Choice]]",
    workers: int | None,
    scheduler: str | None,
    *,
    estimate: bool,
) -> "list[Result]":
    from xnorflow.explore.placing import Result, results
    from xnorflow.explore.table import spell_result
    from xnorflow.parallel import Workers

    if estimate:
        return [Result(point) for point, _ in points]
    found = []
    with bar("placing", len(points)) as advance:
        for result in results(points, workers=Workers(workers, scheduler)):
            found.append(result)
            console.print(spell_result(result), soft_wrap=True)
            advance(len(found), len(points))
    return found


def _show(found: "list[Result]", out: Path) -> None:
    """Print the tables, write the page, and say how the best is built."""
    from xnorflow.explore.pareto import best, groups
    from xnorflow.explore.table import result_tables
    from xnorflow.report.gather import run_facts

    for table in result_tables(found):
        console.print(table)
    run = run_facts("explore", command_line())
    content = {"run": asdict(run), "results": [asdict(result) for result in found]}
    write_atomically(out / "explore.json", f"{json.dumps(content, indent=1)}\n".encode())

    def make() -> str:
        from xnorflow.report.front import front_page

        return front_page(found, run)

    if (text := page_or_hint(make)) is not None:
        write_atomically(out / "explore.html", text.encode())
        console.print(f"the page is in {out / 'explore.html'}", soft_wrap=True)
    fastest = [best(group) for group in groups(found).values()]
    for result in fastest:
        if result is not None:
            console.print(f"the fastest for the {result.point.title}:", soft_wrap=True)
            console.print(f"  {result.command} -o out", soft_wrap=True)
    if not any(fastest):
        raise ToolError("no design could be placed and routed")
