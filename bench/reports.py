"""Reports of all networks of the zoo: size, time beyond the build, and errors in a browser.

    python bench/reports.py                    # all of them
    python bench/reports.py mnist-tfc-sign     # only this one

Each network has its design of bench/designs.py; those for an iCEBreaker are built, so that there is
a floor plan. Seconds are of processor time, from the finished design or build to the page. Chromium
opens each page, 1,280 and 420 pixels wide. Pages are written to build/reports. Adds to
results/reports.json.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from designs import DESIGNS, UP5K, Case
from record import update
from rich.console import Console

from xnorflow.boards.build import build
from xnorflow.boards.plan import link_resources
from xnorflow.boards.targets import ICEBREAKER, ULX3S_85F
from xnorflow.ir import Network
from xnorflow.ir.xnf import load
from xnorflow.report.folder import PAGE
from xnorflow.report.folder import update as add_to_report
from xnorflow.report.gather import design_facts, run_facts
from xnorflow.report.page import page
from xnorflow.report.placement import build_facts


FOLDER = Path("build") / "reports"
SEED = 1
WIDTHS = 1280, 420
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
COMMAND = "python bench/reports.py"


def main() -> None:
    """Write, open, print and record."""
    if BROWSER is None:
        raise SystemExit("Chromium is missing: its package is called chromium")
    for name in sys.argv[1:] or DESIGNS:
        row = {"network": name, **_written(name, load(f"zoo/{name}.xnf"), DESIGNS[name])}
        Console().print(row)
        update("reports", COMMAND, ["jinja2", "matplotlib"], row)


def _written(name: str, network: Network, case: Case) -> dict[str, Any]:
    """Write the report of a network, and say what it is like."""
    design, folder = case.fold(network), FOLDER / name
    # One is for a device larger than that of a board.
    target = ICEBREAKER if case.device is UP5K else ULX3S_85F
    report = None
    if case.clock is not None and target is ICEBREAKER:
        report = build(design, ICEBREAKER, folder, clock=case.clock, seed=SEED)
    start = time.process_time()
    clock = case.clock or target.clock
    facts = design_facts(design, board=target.name, clock=clock, link=link_resources(design))
    built = report and build_facts(report, facts.layers, seed=SEED)
    text = page(add_to_report(folder, run_facts("build", COMMAND), facts, build=built))
    seconds = time.process_time() - start
    path = folder / PAGE
    path.write_text(text, encoding="utf-8")
    return {
        "floor_plan": built is not None,
        "seconds": round(seconds, 1),
        "megabytes": round(len(text.encode()) / 1e6, 2),
        "console_errors": sum(_errors(path.absolute(), width) for width in WIDTHS),
    }


def _errors(path: Path, width: int) -> int:
    """Lines that a page writes to the console of a browser of so many pixels."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             "--enable-logging=stderr", "--virtual-time-budget=5000",
             f"--window-size={width},900", "--dump-dom", path.as_uri()],
            check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    return done.stderr.count("CONSOLE")


if __name__ == "__main__":
    main()
