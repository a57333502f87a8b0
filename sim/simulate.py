"""Runs frames through the Verilated RTL of a generated accelerator, cycle by cycle."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import DataError, FormatError, ToolError
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.sim.activity import Activity, read_activity, read_toggles, watch_options
from xnorflow.sim.description import Description
from xnorflow.sim.verilate import HARNESSES, verilate


__all__ = ["SimulationResult", "compile_accelerator", "first_difference", "simulate"]

# Fewer are not worth another process.
_CYCLES_PER_PROCESS = 50_000
_FRAMES_PER_PROCESS = 8


@dataclass(frozen=True)
class SimulationResult:
    """Answers of the simulated hardware, and how long they took.

    Attributes
    ----------
    labels : (frames,) int64, or None
        None if the network delivers none.
    scores : (frames, classes) int64
    cycles_per_frame : int or None
        Clock cycles from one result to the next, once the pipeline is full: the largest distance
        of two results in the second half of the run. None with fewer than 4 frames.
    latency : int
        Clock cycles from the first transfer of the first frame to the first of its result.
    seconds : float
        Wall time of the simulation.
    activity : Activity or None
        Where words waited, if the accelerator was generated to be watched.
    toggles : float or None
        Outputs of logic cells that change in a cycle, on average, if it is a netlist in which they
        are counted.
    """

    labels: NDArray[np.int64] | None
    scores: NDArray[np.int64]
    cycles_per_frame: int | None
    latency: int
    seconds: float
    activity: Activity | None = None
    toggles: float | None = None

    @property
    def frames_per_second(self) -> float:
        """Frames simulated in a second of wall time."""
        return len(self.scores) / self.seconds


def compile_accelerator(directory: Path | str, *, cache: Path | str | None = None) -> Path:
    """Compile the accelerator in ``directory``, unless the same one is in the cache already.

    Parameters
    ----------
    directory : Path
        What `xnorflow.hw.compile.emit.generate` wrote.
    cache : Path, optional
        Folder of compiled simulations; the user's by default.

    Returns
    -------
    Path
        The program; see ``sim/harness/accelerator.cpp``.

    Raises
    ------
    FormatError
        If there is no accelerator, or one that is split into files.
    ToolError
        If Verilator, a C++ compiler, make or perl are missing or fail.
    """
    verilog = Path(directory) / "accelerator.v"
    if not verilog.is_file():
        raise FormatError(f"{directory} holds no generated accelerator: accelerator.v is missing")
    if verilog.with_suffix(".f").exists():
        raise FormatError(f"{directory} has a file for each module: generate it without --split")
    return verilate(verilog, "accelerator", HARNESSES / "accelerator.cpp", cache)


def simulate(
    directory: Path | str,
    frames: NDArray[Any],
    *,
    progress: Callable[[int, int], None] | None = None,
    stall: float = 0.0,
    seed: int = 0,
    processes: int | None = None,
    cache: Path | str | None = None,
) -> SimulationResult:
    """Send frames through the RTL, back to back, and collect what comes out.

    Where a packet may hold any number of frames, all those of a process are one, unless frames end
    inside a transfer of the AXI width.

    Parameters
    ----------
    directory : Path
        What `xnorflow.hw.compile.emit.generate` wrote.
    frames : (frames, height, width, channels) array of integers
        Raw pixels.
    progress : callable, optional
        Called with the number of results so far, and of all frames.
    stall : float
        Probability with which either side of the accelerator waits, in every cycle.
    seed : int
        Fixes the waits.
    processes : int, optional
        Simulations that share the frames, each with an accelerator of its own. As many as there
        are cores by default, but fewer for a few frames.
    cache : Path, optional
        Folder of compiled simulations; the user's by default.

    Raises
    ------
    DataError
        If the frames do not fit the accelerator.
    ToolError
        If the simulation cannot be compiled, or the hardware breaks a rule: a deadlock, an
        output that changes while it waits, a good frame dropped.

    Examples
    --------
    >>> result = xnorflow.simulate("rtl", frames)  # doctest: +SKIP
    >>> result.scores  # doctest: +SKIP
    """
    design = Description.load(directory)
    words = design.words(frames)
    if len(words) == 0:
        raise DataError("there are no frames to simulate")
    program = compile_accelerator(directory, cache=cache)
    if processes is None:
        processes = min(os.cpu_count() or 1, _worthwhile(len(frames), design.cycles_per_frame))
    shares = np.array_split(words, processes)
    # Random stalls slow a simulation down by any factor, but never stop all transfers for long.
    patience = 20 * (design.latency + design.cycles_per_frame) + 10_000
    record = np.dtype([
        ("started", "<u8"),
        ("finished", "<u8"),
        ("result", np.uint8, (design.result_bytes,)),
    ])
    options = {
        "words": design.transfers_per_frame,
        "frame_bytes": design.frame_size,
        "word_bytes": words.shape[-1],
        "result_bytes": design.result_bytes,
        "beat_bytes": design.result_bytes if design.axi_width is None else design.axi_width // 8,
        "patience": patience,
        "stall": round(1000 * stall),
        **watch_options(design),
    }
    # Frames that end inside a transfer have packets of their own: nothing puts bytes together here.
    whole = design.axi_width is None or design.frame_size % design.transfer_bytes == 0
    joined = design.frames_per_packet is FramesPerPacket.ANY and whole
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as scratch:
        done, lock = [0] * processes, Lock()

        def run(n: int) -> NDArray[Any]:
            source, target = Path(scratch, f"frames{n}"), Path(scratch, f"results{n}")
            shares[n].tofile(source)
            values = options | {"frames": len(shares[n]), "seed": seed + n}
            values["packet"] = design.transfers_per_frame
            if joined:
                values["packet"] *= len(shares[n])
            arguments = [f"{name}={value}" for name, value in values.items()]
            command = [str(program), str(source), str(target), *arguments]
            _run(command, report=partial(report, n), running=running)
            return np.fromfile(target, record)

        def report(n: int, results: int) -> None:
            with lock:
                done[n] = results
                if progress is not None:
                    progress(sum(done), len(frames))

        start = time.perf_counter()
        running: list[subprocess.Popen[str]] = []
        with ThreadPoolExecutor(processes) as pool:
            try:
                records = list(pool.map(run, range(processes)))
            except BaseException:
                # Nobody waits for the others' results any more.
                for process in running:
                    process.terminate()
                raise
        seconds = time.perf_counter() - start
        targets = [Path(scratch, f"results{n}") for n in range(processes)]
        activity, toggles = read_activity(design, targets), read_toggles(design, targets)

    labels, scores = design.results(np.concatenate(records)["result"])
    return SimulationResult(
        labels=labels,
        scores=scores,
        cycles_per_frame=_interval(records[0]["finished"]),
        latency=int(records[0]["finished"][0] - records[0]["started"][0]),
        seconds=seconds,
        activity=activity,
        toggles=toggles,
    )


def first_difference(
    result: SimulationResult, labels: NDArray[Any] | None, scores: NDArray[Any]
) -> str | None:
    """Find the first frame whose results differ from what is expected, and say how.

    Parameters
    ----------
    result : SimulationResult
        What the hardware gave.
    labels : (frames,) array of integers, or None
        What the golden model gives.
    scores : (frames, classes) array of integers
        What the golden model gives.

    Returns
    -------
    str or None
        None if everything is equal.
    """
    wrong = (result.scores != scores).any(axis=1)
    if result.labels is not None and labels is not None:
        wrong |= result.labels != labels
    if not wrong.any():
        return None
    frame = int(wrong.argmax())
    differing = np.flatnonzero(result.scores[frame] != scores[frame])
    if differing.size == 0 and result.labels is not None and labels is not None:
        return f"frame {frame}: label {result.labels[frame]}, expected {labels[frame]}"
    first = int(differing[0])
    return (
        f"frame {frame}: score {first} is {result.scores[frame, first]}, "
        f"expected {scores[frame, first]} "
        f"({differing.size} of its {scores.shape[1]} scores and {wrong.sum()} of "
        f"{len(wrong)} frames differ)"
    )


def _worthwhile(frames: int, cycles: int) -> int:
    """Processes that have enough to do, of frames that take so many cycles each."""
    return max(1, min(frames * cycles // _CYCLES_PER_PROCESS, frames // _FRAMES_PER_PROCESS))


def _interval(finished: NDArray[np.uint64]) -> int | None:
    """Clock cycles a frame in the second half of a run."""
    if len(finished) < 4:
        return None
    return int(np.diff(finished[len(finished) // 2 - 1 :].astype(np.int64)).max())


def _run(
    command: list[str], report: Callable[[int], None], running: "list[subprocess.Popen[str]]"
) -> None:
    """Run a harness to its end; ``report`` gets the number of its results so far."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        running.append(process)
        for line in cast(IO[str], process.stdout):
            report(int(line))
        message = cast(IO[str], process.stderr).read()
    if process.returncode != 0:
        raise ToolError(f"the simulation failed: {message.strip()}")
