"""Simulation of a test set in shards, on several processes or machines."""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.cache import cache_folder
from xnorflow.errors import DataError, ToolError
from xnorflow.files import read_file
from xnorflow.parallel import Workers, digest, forget, run_pieces
from xnorflow.sim.description import Description
from xnorflow.sim.simulate import SimulationResult, simulate
from xnorflow.sim.verilate import HARNESSES


__all__ = ["simulate_shards"]

_FILES = "accelerator.v", "design.json"
_MOST, _LEAST, _SHARDS = 250, 8, 16
"""Frames of a shard, at most and at least, and how many shards there are of a few frames. They do
not depend on the workers, so that a run goes on with any number of them."""


def simulate_shards(
    directory: Path | str,
    frames: NDArray[Any],
    *,
    workers: Workers,
    progress: Callable[[int, int], None] | None = None,
    stall: float = 0.0,
    store: Path | None = None,
) -> SimulationResult:
    """Send frames through the RTL, each shard through an accelerator of its own.

    Scores are those of `simulate`; latency and cycles are those of the first shard. Until all are
    done, shards are kept for a run that goes on. The program is compiled once on each machine.

    Parameters
    ----------
    directory, frames, progress, stall
        As for `xnorflow.sim.simulate.simulate`.
    workers : Workers
        Processes that share the frames.
    store : Path, optional
        Folder of the shards; ``shards`` in the user's cache by default.

    Raises
    ------
    DataError
        If the frames do not fit the accelerator.
    ToolError
        If a shard fails, as a simulation may.
    """
    store = cache_folder() / "shards" if store is None else store
    files = {name: read_file(Path(directory) / name) for name in _FILES}
    if not len(frames):
        raise DataError("there are no frames to simulate")
    Description.load(directory).words(frames[:1])
    size = min(_MOST, max(_LEAST, -(-len(frames) // _SHARDS)))
    pieces = {}
    for number, first in enumerate(range(0, len(frames), size)):
        shard = np.ascontiguousarray(frames[first : first + size])
        key = digest(
            *files.values(), read_file(HARNESSES / "accelerator.cpp"), shard.tobytes(),
            f"{shard.dtype} {shard.shape} {stall} {number}",
        )  # fmt: skip
        pieces[key] = shard, stall, number
    start, found = time.perf_counter(), {}
    for outcome in run_pieces(_simulate, pieces, common=files, workers=workers, store=store):
        if outcome.error is not None:
            raise ToolError(outcome.error)
        found[outcome.key] = outcome.value
        if progress is not None:
            progress(sum(len(value["scores"]) for value in found.values()), len(frames))
    forget(store, pieces)
    return _joined([found[key] for key in pieces], time.perf_counter() - start)


def _simulate(files: Mapping[str, bytes], piece: tuple[NDArray[Any], float, int]) -> dict[str, Any]:
    """Simulate a shard; runs on a worker."""
    frames, stall, seed = piece
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        result = simulate(folder, frames, stall=stall, seed=seed, processes=1)
    return {
        "labels": None if result.labels is None else result.labels.tolist(),
        "scores": result.scores.tolist(),
        "cycles_per_frame": result.cycles_per_frame,
        "latency": result.latency,
    }


def _joined(shards: list[dict[str, Any]], seconds: float) -> SimulationResult:
    def column(name: str) -> NDArray[np.int64]:
        return np.concatenate([np.array(shard[name], np.int64) for shard in shards])

    return SimulationResult(
        labels=None if shards[0]["labels"] is None else column("labels"),
        scores=column("scores"),
        cycles_per_frame=shards[0]["cycles_per_frame"],
        latency=shards[0]["latency"],
        seconds=seconds,
    )
