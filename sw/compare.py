"""Comparison of an integer network with the float64 model that it was lowered from, bit for bit."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xnorflow.network import INPUT, BinaryConv, IntegerConv, Network
from xnorflow.sw.golden import golden
from xnorflow.sw.models import Chain
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear


__all__ = ["CLOSE", "Comparison", "LayerComparison", "compare"]

CLOSE = 1e-9
"""Nearer than this to its threshold, a bit of the model in float64 may be a rounding error."""

# Frames in a batch: at most so many, and no map of theirs has more values than that.
_BATCH = 1000
_BATCH_VALUES = 1 << 24


@dataclass(frozen=True)
class LayerComparison:
    """How the binary activations of one layer agree.

    Attributes
    ----------
    name : str
        The network's node that delivers them.
    compared, differing : int
        Activations.
    close : int
        Those of the differing ones that are `CLOSE` to their threshold in the model.
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
        Frames whose labels differ.
    """

    frames: int
    layers: tuple[LayerComparison, ...]
    labels: int

    @property
    def differing(self) -> int:
        """Activations and labels that differ. 0 is what to expect."""
        return self.labels + sum(layer.differing for layer in self.layers)

    def __str__(self) -> str:
        lines = [f"network and float64 model, {self.frames:,} frames:"]
        for layer in self.layers:
            line = f"  {layer.name}: {layer.differing:,} of {layer.compared:,} bits differ"
            if layer.differing:
                line += f", {layer.close:,} of these within {CLOSE:g} of the threshold"
            lines.append(line)
        return "\n".join([*lines, f"  labels: {self.labels:,} of {self.frames:,} differ"])


@torch.no_grad()
def compare(
    model: Chain,
    network: Network,
    frames: Tensor,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Execute both on the same frames, and compare all binary activations and the labels.

    Parameters
    ----------
    model : Chain
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
    """
    model = copy.deepcopy(model).double().eval()
    # The bits that feed each layer, after a pool where there is one.
    sources = [node.source for node in network.nodes if isinstance(node, BinaryConv | IntegerConv)]
    names = [source for source in sources if source != INPUT]
    differing = dict.fromkeys(names, 0)
    close = dict.fromkeys(names, 0)
    labels = done = 0
    largest = max(x.size for x in network.maps.values())
    for batch in frames.split(max(1, min(_BATCH, _BATCH_VALUES // largest))):
        result = golden(network, batch, keep=names)
        *inputs, logits = model.trace(batch)
        for name, layer, x in zip(sources, model.layers, inputs, strict=True):
            if not isinstance(layer, BinaryConv2d | BinaryLinear | IntegerLinear):
                continue
            distance = layer.activation_quantiser.distance(x).flatten(1)
            differs = (distance >= 0) != result.maps[name].flatten(1)
            differing[name] += int(differs.sum())
            close[name] += int((differs & (distance.abs() < CLOSE)).sum())
        labels += int((logits.argmax(dim=1) != result.labels).sum())
        done += len(batch)
        if progress is not None:
            progress(done, len(frames))
    return Comparison(
        frames=len(frames),
        layers=tuple(
            LayerComparison(
                name, len(frames) * network.maps[name].size, differing[name], close[name]
            )
            for name in names
        ),
        labels=labels,
    )
