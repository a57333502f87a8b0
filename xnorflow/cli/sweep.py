"""The command that trains a model by several seeds and settings."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xnorflow.cli.interrupted import on_interrupt
from xnorflow.cli.options import SchedulerOption, WorkersOption
from xnorflow.cli.shared import bar, console
from xnorflow.errors import ToolError
from xnorflow.files import make_folder, write_atomically


if TYPE_CHECKING:
    from rich.table import Table

    from xnorflow.sw.sweep import Summary


__all__ = ["sweep"]


def sweep(
    recipe: Annotated[
        Path, typer.Argument(help="A TOML file: model, data, seeds, held_out and settings.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder with a folder for each training.")
    ],
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Train a model by each seed and each combination of settings, and compare them.

    Accuracy is that on training images that were held back. A sweep that was stopped goes on; what
    has been trained is not trained again.
    """
    with console.status("loading PyTorch …"):
        from xnorflow.parallel import Workers, run_pieces
        from xnorflow.sw.sweep import load_sweep, runs_of, summarise, train_run

    what = load_sweep(recipe)
    runs = runs_of(what)
    names = {run.key: run.name for run in runs}
    make_folder(out)
    outcomes = {}
    with (
        on_interrupt(lambda: f"what is trained is kept in {out}; the same command goes on"),
        bar("training", len(runs)) as advance,
    ):
        pieces = run_pieces(
            train_run,
            {run.key: run for run in runs},
            common=(what, str(out.resolve())),
            workers=Workers(workers, scheduler),
            store=out / "results",
        )
        for outcome in pieces:
            outcomes[outcome.key] = outcome
            said = outcome.error or f"{outcome.value['held_out']:.2%}"
            known = ", known" if outcome.known else ""
            console.print(f"{names[outcome.key]}: {said}{known}", soft_wrap=True)
            advance(len(outcomes), len(runs))
    summaries = summarise(runs, outcomes)
    console.print(_table(summaries, what.held_out))
    content = [asdict(summary) | {"setting": dict(summary.setting)} for summary in summaries]
    write_atomically(out / "sweep.json", f"{json.dumps(content, indent=1)}\n".encode())
    console.print(f"trained models are in {out}, the table in {out / 'sweep.json'}", soft_wrap=True)
    if all(summary.mean is None for summary in summaries):
        raise ToolError("no training came to its end")


def _table(summaries: "list[Summary]", images: int) -> "Table":
    from rich.table import Table

    table = Table(title=f"right of {images:,} training images that were held back")
    for name, _ in summaries[0].setting:
        table.add_column(name)
    for head in "mean", "deviation", "seeds":
        table.add_column(head, justify="right")
    for each in summaries:
        values = [str(value) for _, value in each.setting]
        mean, deviation = (
            "" if number is None else f"{number:.2%}" for number in (each.mean, each.deviation)
        )
        table.add_row(*values, mean, deviation, str(each.runs))
    return table
