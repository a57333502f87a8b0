"""Where words wait in a simulated pipeline, and how full its buffers get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xnorflow.sim.description import Description


__all__ = ["Activity", "read_activity", "read_toggles", "watch_options"]

_BINS = 120
"""Parts of a frame's period that are told apart, at most."""


@dataclass(frozen=True)
class Activity:
    """What a simulation saw of the stages of a pipeline.

    Shares are of the cycles of each of some equal parts of a frame's period, which begins with the
    frame's first word, once the pipeline is full.

    Attributes
    ----------
    starved : mapping of str to (parts,) float64
        Share in which a stage waited for words, by its name. None if the pipeline was never full.
    held : mapping of str to (parts,) float64
        Share in which a stage had a word that was not taken.
    fills : mapping of str to int
        The most words that each buffer held, by the name of its stage, where they are counted.
    """

    starved: Mapping[str, NDArray[np.float64]]
    held: Mapping[str, NDArray[np.float64]]
    fills: Mapping[str, int]


def watch_options(design: Description) -> dict[str, int]:
    """Options that the harness needs to watch a design; none if it has no ports for that."""
    nets = {"nets": design.nets} if design.nets else {}
    if not design.watched:
        return nets
    return nets | {
        "stages": len(design.steps),
        "buffers": len(_buffers(design)),
        "period": design.cycles_per_frame,
        "bins": min(_BINS, design.cycles_per_frame),
    }


def read_activity(design: Description, results: Sequence[Path]) -> Activity | None:
    """What the harness has written beside ``results``; None if there are no ports to watch."""
    options = watch_options(design)
    if not design.watched:
        return None
    stages, bins = options["stages"], options["bins"]
    read = [np.fromfile(f"{path}.waits", np.uint64) for path in results]
    ends = (1 + 2 * stages) * bins
    counts = np.sum([each[:ends] for each in read], axis=0).reshape(-1, bins)
    full = bool(counts[0].all())
    shares = counts[1:] / np.maximum(counts[0], 1)
    names = [step["name"] for step in design.steps]
    highest = np.max([each[ends:] for each in read], axis=0).tolist()
    return Activity(
        starved=dict(zip(names, shares[0::2], strict=True)) if full else {},
        held=dict(zip(names, shares[1::2], strict=True)) if full else {},
        fills={name: n for name, n in zip(_buffers(design), highest, strict=True) if n},
    )


def read_toggles(design: Description, results: Sequence[Path]) -> float | None:
    """Outputs of logic cells that change in a cycle, on average; None if nobody counted them."""
    if not design.nets:
        return None
    cycles, toggles = np.sum([np.fromfile(f"{p}.toggles", np.uint64) for p in results], axis=0)
    return float(toggles / cycles) if cycles else None


def _buffers(design: Description) -> list[str]:
    return [step["name"] for step in design.steps if "depth" in step]
