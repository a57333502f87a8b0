"""Random PyTorch models of all layers, on a fixed-point grid and without one, and their designs."""

import contextlib
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tests.exact_graphs import exact_graph
from tests.grid_graphs import grid_graph
from tests.programs import chance, pick
from xnorflow.errors import DesignError, LoweringError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.ir import FeatureMap, Int, Network, UInt
from xnorflow.sw.compare import CLOSE, compare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower


__all__ = ["Drawn", "allowed", "compared", "design_of", "draw", "random_frames"]

REASONS = (
    "adds channels of activations with different scales",
    "the biases of the classes differ by less than",
    "have different scales, so its scores are no integers",
)
"""Why a model that was drawn may be refused."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A model in evaluation mode, and its network, or why there is none."""

    model: nn.Module
    frame: FeatureMap
    network: Network | None
    refused: str = ""


def draw(seed):
    """The model of a ``seed``, on a grid or without one; its scores depend on the frame."""
    for attempt in range(5):
        drawn = _drawn(seed, attempt)
        if drawn.network is None:
            return drawn
        frames = random_frames(np.random.default_rng(seed), drawn.frame, 16)
        if len(golden(drawn.network, frames).scores.unique(dim=0)) > 1:
            return drawn
    return drawn


def _drawn(seed, attempt):
    rng = np.random.default_rng([seed, attempt, 17])
    torch.manual_seed(seed)
    sides = (1 if chance(rng, 0.15) else int(rng.integers(3, 7)), int(rng.integers(3, 7)))
    grid = chance(rng, 0.25)
    kinds = [UInt(8), UInt(8), UInt(8), UInt(1), Int(8), *([] if grid else [Int(16)])]
    frame = FeatureMap(*sides, int(rng.integers(1, 5)), pick(rng, kinds))
    model = (grid_graph if grid else exact_graph)(rng, frame, random_frames)
    try:
        labels = () if chance(rng, 0.2) else None
        network = lower(model, input=frame, name=f"graph-{seed}", labels=labels)
    except LoweringError as error:
        return Drawn(model, frame, None, str(error))
    return Drawn(model, frame, network)


def random_frames(rng, frame, count):
    """Frames (count, height, width, channels), of all values, or of few."""
    low, high = frame.type.low, frame.type.high
    frames = rng.integers(low, high, (count, *frame.shape), endpoint=True)
    if chance(rng, 0.2):
        frames = np.where(rng.random(frames.shape) < 0.5, low, high)
    kind = np.int16 if isinstance(frame.type, Int) and frame.type.bits > 8 else np.int8
    return torch.from_numpy(frames.astype(kind if low else np.uint8))


def allowed(refused):
    """Whether a model may be refused for such a reason."""
    return any(re.search(reason, refused) for reason in REASONS)


def compared(drawn, frames):
    """Values of the model in float64 that are compared with the network's, and those that differ.

    Activations, values of streams, the order of all scores of an output, and the sign of a single
    one. Rounding errors in float64 do not count: what is nearer to a threshold, or to another
    score, than `CLOSE`.
    """
    model, network = drawn.model, drawn.network
    layers_ = compare(model, network, frames).layers
    count = sum(each.compared for each in layers_)
    differing = sum(each.differing - each.close for each in layers_)
    with torch.no_grad():
        logits = model.double()(frames.double().movedim(-1, 1))
    ends = list(logits.values() if isinstance(logits, dict) else logits)
    ends = [logits] if isinstance(logits, torch.Tensor) else ends
    found = golden(network, frames).scores.split([end.shape[1] for end in ends], dim=1)
    for end, integers in zip(ends, found, strict=True):
        signs = [_order(each.double()) for each in (end, integers)]
        gaps = end if end.shape[1] == 1 else end[:, :, None] - end[:, None]
        wrong = (signs[0] != signs[1]) & (gaps.abs() > CLOSE * end.abs().max())
        count, differing = count + wrong.numel(), differing + int(wrong.sum())
    return count, differing


def _order(scores_):
    """How each two scores compare, or on which side of 0 a single one is."""
    if scores_.shape[1] == 1:
        return scores_ >= 0
    return (scores_[:, :, None] - scores_[:, None]).sign()


def design_of(drawn, seed, *, least, most):
    """Design of a network, for about so many cycles a frame, on a device that it fits."""
    rng = np.random.default_rng([seed, 3])
    cycles = int(rng.integers(least, most))
    for device in (pick(rng, [ECP5_85F, UP5K]), ECP5_85F):
        for factor in (1, 4, 16, 64):
            with contextlib.suppress(DesignError):
                return fold(drawn.network, device, cycles=factor * cycles)
    raise AssertionError
