"""Commands for data sets."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from xnorflow.cli.shared import console


__all__ = ["fetch", "list_"]


def fetch(
    name: Annotated[str, typer.Argument(help="mnist, fashion-mnist, cifar10 or har.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Take the files from this folder, and download nothing."),
    ] = None,
) -> None:
    """Put a data set into the cache.

    It is the folder $XNORFLOW_DATA, or else xnorflow in the user's cache, ~/.cache on Linux.
    """
    from xnorflow.sw import data
    from xnorflow.sw.nn.arguments import member

    dataset = member("data set", name, data.Dataset)
    with console.status(f"fetching {dataset.title} …"):
        folder = data.fetch(dataset, source)
    console.print(f"{dataset.title} is in {folder}", soft_wrap=True)


def list_() -> None:
    """List the data sets, and which are there."""
    from xnorflow.sw.data import Dataset, cache_folder, is_fetched

    table = Table("name", "title", "there")
    for dataset in Dataset:
        table.add_row(dataset.value, dataset.title, "yes" if is_fetched(dataset) else "no")
    console.print(table)
    console.print(f"cache: {cache_folder()}", soft_wrap=True)
