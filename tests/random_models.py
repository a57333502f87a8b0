"""Random residual models, for property tests."""

from typing import Any

import numpy as np
import torch

from tests.residuals import ResidualCase, residual_case
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.shortcuts import Shortcut
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.statistics import measure_statistics


BLOCKS = [[4, 1, 3], [6, 2, 3], [6, 1, 1], [12, 1, 3]]
"""Channels, stride and kernel of each."""


REPEATING = [[4, 2, 3], [8, 1, 1], [8, 1, 3], [16, 1, 5]]


def random_model(seed: int, **changes: Any) -> ResidualCase:
    """Small residual model whose parameters are far from their first values."""
    rng = np.random.default_rng(seed)
    options = {
        "method": list(ResidualMethod)[rng.integers(4)].value,
        "first": {"channels": 4},
        "blocks": BLOCKS,
        "shortcut": list(Shortcut)[rng.integers(2)].value,
        "shape": (int(rng.choice([4, 6])), int(rng.choice([4, 8])), 3),
        "grid": Grid(int(rng.integers(6, 17)), int(rng.integers(1, 9)), int(rng.integers(0, 11))),
    }
    return residual_case(seed, **options | changes)


def model_of_any_form(seed: int) -> ResidualCase:
    """The same with first layers, shortcuts and blocks of all kinds."""
    rng = np.random.default_rng([seed, 1])
    shortcut = list(Shortcut)[rng.integers(4)]
    activated, pooled = (bool(n) for n in rng.integers(2, size=2))
    kernel, stride = int(rng.choice([1, 3, 5, 7])), int(rng.integers(1, 3))
    sides = rng.integers(5, 10, 2)
    if shortcut in (Shortcut.AVERAGE, Shortcut.REPEAT):
        sides = 2 * stride * (1 + pooled) * rng.integers(1, 4, 2)
    return random_model(
        seed,
        first={
            "channels": 4, "kernel": kernel, "stride": stride,
            "activated": activated, "pooled": pooled,
        },
        blocks=REPEATING if shortcut is Shortcut.REPEAT else BLOCKS,
        shortcut=shortcut.value,
        classic=bool(rng.integers(2)),
        shape=(*map(int, sides), 3),
    )  # fmt: skip


def model_of_few_blocks(seed: int) -> ResidualCase:
    """One or two blocks of any method and size, on so few pixels that hardware can be simulated.

    Its batch norms have the statistics of random frames, so that most bits depend on the frame.
    """
    rng = np.random.default_rng([seed, 17])
    method = list(ResidualMethod)[rng.integers(len(ResidualMethod))]
    # With dynamic thresholds there are no binary shortcuts and no classic blocks.
    shortcut = list(Shortcut)[rng.integers(3 if method.dynamic else 4)]
    classic = bool(0 if method.dynamic else rng.integers(2))
    channels, sides = int(rng.integers(1, 5)), rng.integers(4, 7, 2)
    first = {
        "channels": channels,
        "kernel": int(rng.choice([1, 3])),
        "activated": bool(rng.integers(2)),
    }
    blocks, shape = [], sides
    for _ in range(rng.integers(1, 3)):
        # Means are of 2 × 2 pixels.
        halves = shortcut in (Shortcut.PAD, Shortcut.BINARY) or not (shape % 2).any()
        stride = int(rng.integers(1, 3)) if halves else 1
        more = channels * rng.integers(2) if shortcut is Shortcut.REPEAT else rng.integers(3)
        channels += int(more)
        blocks.append([channels, stride, int(rng.choice([1, 3]))])
        shape = -(-shape // stride)
    case = random_model(
        seed,
        method=method.value,
        first=first,
        blocks=blocks,
        shortcut=shortcut.value,
        classic=classic,
        shape=(*map(int, sides), 3),
        # A stream of a few values would have few bits that differ.
        grid=Grid(int(rng.integers(9, 17)), int(rng.integers(4, 9)), int(rng.integers(0, 11))),
    )
    frames = torch.from_numpy(rng.integers(0, 256, (100, *case.frame.shape), np.uint8))
    prepared = case.model
    measure_statistics(prepared, frames, Recipe("random", epochs=1))
    case.plain.load_state_dict(prepared.state_dict())
    return case
