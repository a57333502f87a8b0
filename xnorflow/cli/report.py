"""The report that commands for hardware write into a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xnorflow.cli.interrupted import command_line
from xnorflow.cli.shared import console
from xnorflow.files import write_atomically


if TYPE_CHECKING:
    from xnorflow.boards.targets import Target
    from xnorflow.hw.compile.design import Design
    from xnorflow.hw.families.device import Device
    from xnorflow.report.facts import BuildFacts, DesignFacts, Report, SimulationFacts


__all__ = ["facts_of", "page_or_hint", "write_report"]


def facts_of(design: "Design", place: "Target | Device", clock: float | None) -> "DesignFacts":
    """Facts of a design for a board, with its link to the host, or for a device.

    The ``clock`` is in MHz, if it is not the usual one there.
    """
    from xnorflow.boards.plan import link_resources
    from xnorflow.report.gather import design_facts

    hertz = place.clock if clock is None else round(clock * 1e6)
    return design_facts(design, board=place.name, clock=hertz, link=link_resources(design))


def write_report(
    folder: Path,
    command: str,
    facts: "DesignFacts",
    *,
    simulation: "SimulationFacts | None" = None,
    build: "BuildFacts | None" = None,
) -> None:
    """Add to the report of a folder what ``command`` found out, and say where it is."""
    from xnorflow.report.folder import PAGE, update
    from xnorflow.report.gather import run_facts

    run = run_facts(command, command_line())
    report = update(folder, run, facts, simulation=simulation, build=build)
    if (text := _page(report)) is None:
        return
    write_atomically(folder / PAGE, text.encode())
    console.print(f"the report is in {folder / PAGE}", soft_wrap=True)


def _page(report: "Report") -> str | None:
    def make() -> str:
        from xnorflow.report.page import page

        return page(report)

    return page_or_hint(make)


def page_or_hint(make: Callable[[], str]) -> str | None:
    """The page that ``make`` makes, or, where what it needs is missing, a hint in the terminal."""
    try:
        with console.status("writing the report …"):
            return make()
    except ModuleNotFoundError as error:
        # Those that the page is made with, and no mistake of ours.
        if error.name not in ("jinja2", "markupsafe", "matplotlib"):
            raise
        console.print("for a report of this as a page, `pip install 'xnorflow[report]'`")
        return None
