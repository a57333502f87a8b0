"""Place and route: with one seed, or with several, of which the fastest is kept."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xnorflow.boards.report import Timing, Usage, read_timing, read_usage
from xnorflow.errors import DesignError, ToolError
from xnorflow.hw.families.device import Cell


__all__ = ["LOG", "REPORT", "Placement", "Refusal", "route", "run_tool"]

REPORT = "timing.json"
LOG = "top.tim"

_MOST_ITERATIONS = 2000
"""Of nextpnr's static placer. It needs some hundreds, or never ends: with few block RAMs on a large
device, these may go round and round.
"""


@dataclass(frozen=True)
class Placement:
    """A design after place and route.

    Attributes
    ----------
    seed : int
        Of nextpnr.
    usage : mapping of Cell to Usage
        Cells taken and available; a look-up table of an iCE40 is a whole logic cell.
    timing : Timing
        How fast it could run.
    """

    seed: int
    usage: Mapping[Cell, Usage]
    timing: Timing


@dataclass(frozen=True)
class Refusal:
    """Names for the sentence that says what does not fit where."""

    design: str
    board: str

    def check(self, log: Path) -> None:
        """Raise a DesignError if the log of a failed run says that something is too large."""
        text = log.read_text() if log.exists() else ""
        usage = read_usage(text)
        excess = [
            f"{use.used} {cell.value} of {use.available} ({use.used - use.available} too many)"
            for cell, use in usage.items()
            if use.used > use.available
        ]
        if excess:
            raise DesignError(
                f"{self.design} does not fit the {self.board}: it takes {' and '.join(excess)}"
            ) from None
        if "at utilisation limit" in text and Cell.LUT in usage:
            luts = usage[Cell.LUT]
            raise DesignError(
                f"{self.design} does not fit the {self.board}: no place is found for all of "
                f"its {luts.used} look-up tables among {luts.available}"
            ) from None


def route(
    command: list[str],
    directory: Path,
    seeds: Sequence[int],
    *,
    needs: Sequence[str],
    refusal: Refusal,
    workers: int = 1,
) -> list[Placement]:
    """Run nextpnr with each of the ``seeds``; the files of the fastest are left in the folder.

    Parameters
    ----------
    command : list of str
        With the option ``--seed``.
    directory : Path
        Folder of a build.
    seeds : sequence of int
        At least one.
    needs : sequence of str
        Files of it that nextpnr reads.
    refusal : Refusal
        Explains why nothing was placed, if it can.
    workers : int
        How many run at once.

    Returns
    -------
    list of Placement
        Of the seeds that were placed and routed, the fastest first.

    Raises
    ------
    DesignError, ToolError
        If none was; the reason is that of the first one.
    """
    if len(seeds) == 1:
        return [_placed(command, directory, seeds[0], refusal)]
    folders = {seed: directory / f"seed-{seed}" for seed in seeds}

    def attempt(seed: int) -> Placement | DesignError | ToolError:
        # Tools of YoWASP see no folder but the one that they run in.
        folders[seed].mkdir(exist_ok=True)
        for name in needs:
            shutil.copyfile(directory / name, folders[seed] / name)
        try:
            return _placed(command, folders[seed], seed, refusal)
        except (DesignError, ToolError) as error:
            return error

    pool = ThreadPoolExecutor(workers)
    try:
        found = list(pool.map(attempt, seeds))
        placed = [each for each in found if isinstance(each, Placement)]
        if not placed:
            raise found[0]
        placed.sort(key=lambda each: -each.timing.fmax)
        for file in folders[placed[0].seed].iterdir():
            file.replace(directory / file.name)
    finally:
        pool.shutdown(cancel_futures=True)
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
    return placed


def run_tool(
    command: list[str],
    directory: Path,
    log: Path | None = None,
    *,
    hopeless: Callable[[], bool] | None = None,
) -> bool:
    """Run a tool in the folder of a build: those of YoWASP see no other.

    Some say in a ``log``, and nowhere else, why they fail. A run that is found to be ``hopeless``,
    which is looked at every second, is ended: the result says whether the tool came to its own end.
    """
    if log is not None:
        log.unlink(missing_ok=True)
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while True:
            try:
                output, errors = process.communicate(timeout=1 if hopeless else None)
                break
            except subprocess.TimeoutExpired:
                if hopeless is not None and hopeless():
                    process.kill()
                    return False
            except BaseException:
                process.kill()
                raise
    if process.returncode != 0:
        said = errors + output
        if log is not None and log.exists():
            said += log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines[-1:] or [f"exit code {process.returncode}"])[0]
        raise ToolError(f"{Path(command[0]).name} failed in {directory}: {reason}")
    return True


def _placed(command: list[str], directory: Path, seed: int, refusal: Refusal) -> Placement:
    command = [*command]
    command[command.index("--seed") + 1] = str(seed)
    log = directory / LOG
    log.unlink(missing_ok=True)
    try:
        if not run_tool(command, directory, hopeless=partial(_circles, log)):
            log.unlink(missing_ok=True)
            run_tool(["heap" if each == "static" else each for each in command], directory)
    except ToolError:
        refusal.check(log)
        raise
    timing = read_timing((directory / REPORT).read_text())
    return Placement(seed, read_usage(log.read_text()), timing)


def _circles(log: Path) -> bool:
    """Whether the static placer is at work, and has been for too many iterations."""
    if not log.exists():
        return False
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        iterations = re.findall(rb"\biter=(\d+) steplen", file.read())
    return bool(iterations) and int(iterations[-1]) > _MOST_ITERATIONS
