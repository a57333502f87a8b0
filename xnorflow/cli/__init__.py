"""The command line: every stage from data to a board as one command.

Commands import what they need when they run, so that ``--help`` answers at once. Each one calls
the library and prints what came out; nothing is computed here.
"""

import sys

import typer
from rich.console import Console
from rich.text import Text

from xnorflow.cli import board, data, hardware, networks, training
from xnorflow.errors import XnorflowError


__all__ = ["app", "main"]

_data = typer.Typer(help="Fetch data sets, and list them.", no_args_is_help=True)
_data.command("fetch")(data.fetch)
_data.command("list")(data.list_)

app = typer.Typer(
    help="From a trained binary neural network to an FPGA bitstream, bit for bit.",
    epilog="Start with `xnorflow data fetch mnist`, then "
    "`xnorflow eval zoo:mnist-tfc-sign --dataset mnist`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(_data, name="data")
app.command("train")(training.train)
app.command("teach")(training.teach)
app.command("import")(training.import_)
app.command("lower")(networks.lower)
app.command("info")(networks.info)
app.command("eval")(networks.evaluate)
app.command("plan")(hardware.plan)
app.command("generate")(hardware.generate)
app.command("simulate")(hardware.simulate)
app.command("build")(hardware.build)
app.command("run")(board.run)
app.command("boards")(board.boards)


def main() -> None:
    """Run the command line; a user's error becomes one sentence and exit code 1."""
    try:
        app()
    except XnorflowError as error:
        text = Text.assemble(("error:", "bold red"), " ", str(error))
        Console(stderr=True).print(text, soft_wrap=True)
        sys.exit(1)
