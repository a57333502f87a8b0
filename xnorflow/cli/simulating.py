"""Frames that are simulated, by one process or by several, and the cycles that they take."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnorflow.cli.shared import bar, console, refuse
from xnorflow.errors import ToolError
from xnorflow.parallel import Workers


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xnorflow.hw.compile.axi import ResultTiming
    from xnorflow.sim.simulate import SimulationResult


__all__ = ["check_all", "kept_by", "report_cycles", "run_frames", "shared_by"]


def check_all(limit: int | None, *, all_: bool) -> None:
    """Refuse a limit where all frames are asked for."""
    if all_:
        refuse({"--limit": limit}, "is for some of the frames, and --all for all of them")


def shared_by(workers: int | None, scheduler: str | None) -> Workers | None:
    """Workers that share the frames, if the user asks for any."""
    return None if workers is None and scheduler is None else Workers(workers, scheduler)


def kept_by(workers: Workers | None) -> str:
    """What is kept of a simulation that is interrupted."""
    if workers is not None:
        return "what has been simulated is kept; the same command goes on"
    return "nothing is kept but what has been compiled; the same command starts again"


def run_frames(
    folder: str, frames: "NDArray[Any]", *, stall: float, workers: Workers | None
) -> "SimulationResult":
    """Simulate frames, and show how far that is."""
    from xnorflow.sim.shards import simulate_shards
    from xnorflow.sim.simulate import simulate

    with bar("simulating", len(frames)) as advance:
        if workers is None:
            return simulate(folder, frames, progress=advance, stall=stall)
        return simulate_shards(Path(folder), frames, workers=workers, progress=advance, stall=stall)


def report_cycles(
    predicted: "ResultTiming", cycles: int | None, latency: int, *, exact: bool
) -> None:
    """Say whether the measured cycles are the predicted ones; they must be."""
    measured = [("latency", latency, predicted.latency, exact)]
    if cycles is not None:
        measured.append(("cycles a frame", cycles, predicted.cycles_per_frame, True))
    for what, found, least, exact in measured:
        console.print(f"{what}: {found}, predicted {'' if exact else 'at least '}{least}")
        if found < least or (exact and found != least):
            raise ToolError(f"the simulated {what} is not the predicted one")
