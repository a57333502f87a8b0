"""The golden model: a network executed in PyTorch integers, as the hardware must execute it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xnorflow.frames import check_frames
from xnorflow.network import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Bit,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    Gate,
    GlobalSum,
    HalvingMaxPool,
    IntegerConv,
    MaxPool,
    Network,
    Node,
    PadChannels,
    Rounding,
    Subsample,
    Threshold,
    TwoSlope,
    sources_of,
)


__all__ = ["Execution", "golden"]

# Frames are executed in batches whose largest intermediate matrix has at most so many values.
_BATCH_VALUES = 1 << 21


@dataclass(frozen=True, eq=False)
class Execution:
    """What a network computes from n frames.

    Attributes
    ----------
    scores : int64 tensor, (n, classes)
    labels : int64 tensor, (n,)
    maps : mapping of str to tensor, (n, height, width, channels)
        What the nodes that were asked for deliver: bool where that is bits, else int64.
    popcounts : mapping of str to int64 tensor, (n, height, width, 1)
        P, from those of them that deliver it.
    """

    scores: Tensor
    labels: Tensor
    maps: Mapping[str, Tensor]
    popcounts: Mapping[str, Tensor]


def golden(
    network: Network,
    frames: NDArray[Any] | Tensor,
    *,
    keep: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Execution:
    """Execute ``network`` in integers.

    Parameters
    ----------
    network : Network
        What to execute.
    frames : array or tensor, (n, height, width, channels)
        Raw frames, of the type that `check_frames` asks for.
    keep : collection of str
        Nodes, or `INPUT`, whose maps are wanted too; ``network.maps`` asks for all of them.
    progress : callable, optional
        Called now and then with the number of frames that are done, and of all.

    Raises
    ------
    DataError
        If the frames are not what the network takes.
    KeyError
        If ``keep`` has a name that is not in the network.
    """
    array = check_frames(frames.numpy() if isinstance(frames, Tensor) else frames, network.input)
    label = network.nodes[-1].name
    wanted = {*keep, network.scores, label}
    if unknown := wanted - network.maps.keys():
        raise KeyError(f"{network.name} has no node {', '.join(sorted(unknown))}")
    step = max(1, _BATCH_VALUES // _values_per_frame(network))
    batches = []
    for start in range(0, max(1, len(array)), step):
        batches.append(_execute(network, torch.tensor(array[start : start + step]), wanted))
        if progress is not None:
            progress(min(start + step, len(array)), len(array))
    maps = {name: torch.cat([batch[name].map for batch in batches]) for name in wanted}
    popcounts = {
        name: torch.cat([p for batch in batches if (p := batch[name].popcount) is not None])
        for name in keep
        if batches[0][name].popcount is not None
    }
    return Execution(
        scores=maps[network.scores].flatten(1),
        labels=maps[label].flatten(),
        maps=MappingProxyType({name: maps[name] for name in keep}),
        popcounts=MappingProxyType(popcounts),
    )


class _Values(NamedTuple):
    """What flows along an edge: (n, height, width, channels), and P as (n, height, width, 1)."""

    map: Tensor
    popcount: Tensor | None = None


def _values_per_frame(network: Network) -> int:
    """Size of the largest matrix that a frame needs: a map, or the windows of a convolution."""
    windows = [
        network.maps[node.name].height * network.maps[node.name].width * node.taps
        for node in network.nodes
        if isinstance(node, BinaryConv | IntegerConv)
    ]
    return max([*windows, *(x.size for x in network.maps.values())])


def _execute(network: Network, frames: Tensor, wanted: Collection[str]) -> dict[str, _Values]:
    """Values of the nodes in ``wanted``, for one batch of frames."""
    frames = frames.to(torch.bool if isinstance(network.input.type, Bit) else torch.int64)
    values = {INPUT: _Values(frames)}
    for node in network.nodes:
        values[node.name] = _apply(node, *(values[source] for source in sources_of(node)))
    return {name: values[name] for name in wanted}


def _apply(node: Node, x: _Values, *others: _Values) -> _Values:
    match node:
        case BinaryConv():
            return _binary_conv(node, x.map)
        case IntegerConv():
            return _integer_conv(node, x.map)
        case MaxPool():
            return _max_pool(node, x.map)
        case Threshold():
            sums = (x.map << node.fraction) + _weigh(node.popcount_weights, x.popcount)
            bits = sums >= _of_classes(node.thresholds, node.classes)
            return _Values(bits if node.inverted is None else bits ^ torch.tensor(node.inverted))
        case Affine():
            products = torch.tensor(node.scale) * x.map + _weigh(node.popcount_scale, x.popcount)
            sums = products + _of_classes(node.offset, node.classes)
            return _Values(sums if node.rounding is None else _round(sums, node.rounding))
        case TwoSlope():
            positive, negative = torch.tensor(node.positive), torch.tensor(node.negative)
            products = torch.where(x.map >= 0, positive, negative) * x.map
            return _Values(_round(products, node.rounding))
        case DynamicThreshold():
            channels = min(x.map.shape[3], others[0].map.shape[3])
            thresholds = others[0].map[..., node.first : node.first + channels]
            return _Values(node.scale * x.map >= thresholds)
        case DynamicTwoSlope():
            before, after = others[0].map[..., node.first :].split(x.map.shape[3], dim=3)[:2]
            z, rounding = x.map + before, node.rounding
            slopes = torch.where(z >= 0, torch.tensor(node.positive), torch.tensor(node.negative))
            rounded = (slopes * z + rounding.half >> rounding.shift) + after
            return _Values(rounded.clamp_(rounding.type.low, rounding.type.high))
        case Add():
            return _Values(_round(x.map + others[0].map, Rounding(0, node.bits)))
        case Concat():
            return _Values(torch.cat([x.map, others[0].map], dim=3))
        case Subsample():
            return _Values(x.map[:, :: node.stride, :: node.stride])
        case PadChannels():
            return _Values(functional.pad(x.map, (node.before, node.after)))
        case AveragePool():
            sums = _pool_windows(x.map, node.size).sum(dim=4)
            return _Values((sums + ((1 << node.shift) >> 1)) >> node.shift)
        case HalvingMaxPool():
            return _Values(_halving_max_pool(x.map))
        case GlobalSum():
            return _Values(x.map.sum(dim=(1, 2), keepdim=True))
        case ArgMax():
            # torch.argmax gives the first of several maxima.
            return _Values(x.map.argmax(dim=3, keepdim=True))


def _of_classes(values: NDArray[np.int64], classes: NDArray[np.int64] | None) -> Tensor:
    """Values (channels,), or with ``classes`` those of each pixel: (height, width, channels)."""
    return torch.tensor(values if classes is None else values[classes])


def _round(x: Tensor, rounding: Rounding) -> Tensor:
    rounded = (x + rounding.half) >> rounding.shift
    return rounded.clamp_(rounding.type.low, rounding.type.high)


def _weigh(weights: NDArray[np.int64] | None, popcount: Tensor | None) -> Tensor | int:
    """The term of P, (n, height, width, channels), or 0 where there is none."""
    return 0 if weights is None or popcount is None else torch.tensor(weights) * popcount


def _binary_conv(node: BinaryConv, bits: Tensor) -> _Values:
    # Float32, because its matrix products are the fastest. They are exact, in whatever order they
    # are summed: no partial sum exceeds the taps, of which `Counts` allows less than 2^24.
    u = _windows(node, bits.to(torch.float32))
    v = torch.tensor(node.weights).reshape(node.filters, -1).to(torch.float32)
    # M = #{u and v} + #{neither} = Σ u·(2v - 1) + Σ (1 - v)
    xnor = node.gate is Gate.XNOR
    counts = u @ (2 * v - 1).T + (1 - v).sum(dim=1) if xnor else u @ v.T
    popcount = u.sum(dim=3, keepdim=True).to(torch.int64) if node.popcount else None
    return _Values(counts.to(torch.int64), popcount)


def _integer_conv(node: IntegerConv, x: Tensor) -> _Values:
    # In float64, whose sums are exact below 2^53: 32-bit results allow no more than that.
    weights = torch.tensor(node.weights).reshape(node.filters, -1).to(torch.float64)
    return _Values((_windows(node, x.to(torch.float64)) @ weights.T).to(torch.int64))


def _windows(node: BinaryConv | IntegerConv, x: Tensor) -> Tensor:
    """Taps of every window of ``x`` (n, height, width, channels): (n, height, width, taps)."""
    _, rows, columns, _ = node.weights.shape
    p, s = node.padding, node.stride
    if p:
        x = functional.pad(x, (0, 0, p, p, p, p))
    # (n, height, width, channels, rows, columns) -> (n, height, width, taps)
    return x.unfold(1, rows, s).unfold(2, columns, s).permute(0, 1, 2, 4, 5, 3).flatten(3)


def _max_pool(node: MaxPool, bits: Tensor) -> _Values:
    windows = _pool_windows(bits, node.size)
    largest = windows.any(dim=4)
    if node.inverted is None:
        return _Values(largest)
    return _Values(torch.where(torch.tensor(node.inverted), windows.all(dim=4), largest))


def _halving_max_pool(x: Tensor) -> Tensor:
    # In float64, where values of 32 bits are exact; PyTorch leaves out what is outside.
    channels_first = x.permute(0, 3, 1, 2).to(torch.float64)
    largest = functional.max_pool2d(channels_first, 3, stride=2, padding=1)
    return largest.permute(0, 2, 3, 1).to(torch.int64)


def _pool_windows(x: Tensor, size: int) -> Tensor:
    """Pixels of every window of ``x``: (n, height, width, channels, size²)."""
    return x.unfold(1, size, size).unfold(2, size, size).flatten(4)
