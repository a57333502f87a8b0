"""Comparison of an integer network with the float64 model that it was lowered from, bit for bit."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from xnorflow.frames import check_frames
from xnorflow.ir import Int, Network, Quantisation, ValueType
from xnorflow.scores import by_head, labels_of
from xnorflow.sw.data import values_of
from xnorflow.sw.frontend.prepare import is_prepared
from xnorflow.sw.frontend.reader import observe
from xnorflow.sw.golden import golden
from xnorflow.sw.lowering.grid_values import observe_grid


__all__ = ["CLOSE", "Comparison", "LayerComparison", "compare"]

CLOSE = 1e-9
"""Nearer than this to its threshold, a bit of the model in float64 may be a rounding error."""

# Frames in a batch: at most so many, and all of their maps together have at most so many values.
_BATCH = 1000
_BATCH_VALUES = 1 << 26


@dataclass(frozen=True)
class LayerComparison:
    """How the values of one node agree: binary activations, or those of a residual stream.

    Attributes
    ----------
    name : str
        The network's node that delivers them.
    compared, differing : int
        Values.
    close : int
        Those of the differing bits that are `CLOSE` to their threshold in the model.
    """

    name: str
    compared: int
    differing: int
    close: int


@dataclass(frozen=True)
class Comparison:
    """How a network and a model agree over a number of frames.

    Attributes
    ----------
    frames : int
    layers : tuple of LayerComparison
    labels : int
        Frames whose labels differ; that of any head, if there are several.
    """

    frames: int
    layers: tuple[LayerComparison, ...]
    labels: int

    @property
    def differing(self) -> int:
        """Values and labels that differ. 0 is what to expect."""
        return self.labels + sum(layer.differing for layer in self.layers)

    def __str__(self) -> str:
        lines = [f"network and float64 model, {self.frames:,} frames:"]
        for layer in self.layers:
            line = f"  {layer.name}: {layer.differing:,} of {layer.compared:,} values differ"
            if layer.differing:
                line += f", {layer.close:,} of these within {CLOSE:g} of the threshold"
            lines.append(line)
        return "\n".join([*lines, f"  labels: {self.labels:,} of {self.frames:,} differ"])


@torch.no_grad()
def compare(
    model: nn.Module,
    network: Network,
    frames: Tensor,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Execute both on the same frames, and compare all binary activations, all values of a residual
    stream, and the labels.

    Parameters
    ----------
    model : Module
        It is evaluated in float64, and not changed.
    network : Network
        What `lower` made of it.
    frames : uint8 tensor, (n, height, width, channels)
        What both are executed on.
    progress : callable, optional
        Called now and then with the number of frames that are done, and of all.

    Raises
    ------
    DataError
        If the frames are not what the network takes.

    Examples
    --------
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Flatten(),
    ...     nn.BinaryLinear(64, 10, nn.SignWeight(shared_scale=True), nn.InputThreshold()),
    ... )
    >>> frame = xnorflow.FeatureMap(8, 8, 1, xnorflow.UInt(8))
    >>> network = xnorflow.lower(model.eval(), input=frame)
    >>> frames = torch.randint(0, 256, (10, 8, 8, 1), dtype=torch.uint8)
    >>> xnorflow.compare(model, network, frames).differing
    0
    """
    check_frames(frames.numpy(), network.input)
    model = copy.deepcopy(model).double().eval()
    compared: dict[str, int] = {}
    differing: dict[str, int] = {}
    close: dict[str, int] = {}
    labels = done = 0
    values_per_frame = sum(x.size for x in network.maps.values())
    for batch in frames.split(max(1, min(_BATCH, _BATCH_VALUES // values_per_frame))):
        values = _observe(model, network, batch)
        logits = values.pop(network.nodes[-1].name)
        result = golden(network, batch, keep=values.keys())
        for name, value in values.items():
            found = result.maps[name].flatten(1)
            # Bits come as distances to their thresholds, other values in units of their last bit.
            bits = found.dtype == torch.bool
            differs = ((value >= 0) if bits else value) != found
            compared[name] = compared.get(name, 0) + found.numel()
            differing[name] = differing.get(name, 0) + int(differs.sum())
            near = differs & (value.abs() < CLOSE) if bits else torch.zeros_like(differs)
            close[name] = close.get(name, 0) + int(near.sum())
        if result.labels is not None:
            labels += int((labels_of(logits) != result.labels.numpy()).sum())
        if network.heads:
            expected, scores = (by_head(each, network.heads) for each in (logits, result.scores))
            wrong = [labels_of(expected[head]) != labels_of(scores[head]) for head in scores]
            labels += int(np.any(wrong, axis=0).sum())
        done += len(batch)
        if progress is not None:
            progress(done, len(frames))
    return Comparison(
        frames=len(frames),
        layers=tuple(
            LayerComparison(name, compared[name], differing[name], close[name]) for name in compared
        ),
        labels=labels,
    )


def _observe(model: nn.Module, network: Network, frames: Tensor) -> dict[str, Tensor]:
    """Values of the model for each node that it knows, (n, values), channels fastest.

    Bits are distances to their thresholds, other values are in units of their last bit; the last
    node has the logits.
    """
    x = values_of(frames.double(), network.quantisation or Quantisation())
    if is_prepared(model):
        found, logits = observe_grid(model, x)
    else:
        found, logits = observe(model, network.input, x)
    values = {}
    for name, value in found.items():
        # Equal comparisons share a node.
        if name in network.maps:
            feature_map = network.maps[name]
            height, width, channels = feature_map.shape
            unit = 2.0 ** _fraction(feature_map.type)
            rows = unit * value.reshape(-1, channels, height, width)
            values[name] = rows.movedim(1, -1).flatten(1)
    logits = list(logits.values()) if isinstance(logits, dict) else logits
    every = [logits] if isinstance(logits, Tensor) else logits
    return values | {network.nodes[-1].name: torch.cat([each.flatten(1) for each in every], dim=1)}


def _fraction(type_: ValueType) -> int:
    return type_.fraction if isinstance(type_, Int) else 0
