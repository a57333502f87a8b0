"""The command line: every stage from data to a board as one command.

Commands import what they need when they run, so that ``--help`` answers at once. Each one calls
the library and prints what came out; nothing is computed here.
"""

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from xnorflow import __version__
from xnorflow.cli import (
    bitstream,
    board,
    compare,
    data,
    explore,
    hardware,
    networks,
    sweep,
    training,
)
from xnorflow.cli.interrupted import NOTHING_KEPT, InterruptError
from xnorflow.errors import XnorflowError


__all__ = ["app", "main"]

_INTERRUPTED = 130
"""Exit code of what Ctrl-C ends, as shells have it."""

_HELP = {"help_option_names": ["-h", "--help"]}


class _Group(TyperGroup):
    """Commands that say what an interruption leaves; click would say `Aborted` and no more."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptError(NOTHING_KEPT) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xnorflow {__version__}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and exit."
        ),
    ] = False,
) -> None:
    """From a trained binary neural network to an FPGA bitstream, bit for bit."""


_data = typer.Typer(
    help="Fetch data sets, and list them.", no_args_is_help=True, context_settings=_HELP
)
_data.command("fetch")(data.fetch)
_data.command("list")(data.list_)

app = typer.Typer(
    cls=_Group,
    callback=_options,
    epilog="Start with `xnorflow data fetch mnist`, then "
    "`xnorflow eval zoo:mnist-tfc-sign --data mnist`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=_HELP,
)
app.add_typer(_data, name="data")
app.command("train")(training.train)
app.command("sweep")(sweep.sweep)
app.command("teach")(training.teach)
app.command("import")(training.import_)
app.command("export")(networks.export)
app.command("lower")(networks.lower)
app.command("info")(networks.info)
app.command("eval")(networks.evaluate)
app.command("plan")(hardware.plan)
app.command("explore")(explore.explore)
app.command("compare")(compare.compare)
app.command("generate")(hardware.generate)
app.command("simulate")(hardware.simulate)
app.command("build")(bitstream.build)
app.command("flash")(board.flash)
app.command("load")(board.load)
app.command("run")(board.run)
app.command("boards")(board.boards)


def main() -> None:
    """Run the command line; a user's error becomes one sentence and exit code 1."""
    try:
        app()
    except XnorflowError as error:
        _end("error", str(error), 1)
    except OSError as error:
        # What no other sentence is for: a full disk for temporary files, a program that cannot run.
        where = f"{error.filename}: " if error.filename else ""
        _end("error", f"{where}{error.strerror or error}", 1)
    except InterruptError as interruption:
        _end("interrupted", str(interruption), _INTERRUPTED)


def _end(what: str, text: str, code: int) -> None:
    """Say in one sentence why there is no more to come."""
    Console(stderr=True).print(Text.assemble((f"{what}:", "bold red"), " ", text), soft_wrap=True)
    sys.exit(code)
