"""The golden model: a network executed in PyTorch integers, as the hardware must execute it.

`define` says what every kind of node computes. What executes networks are the kernels of
`xnorflow.sw.kernels`, which compute the same, fast.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xnorflow.frames import check_frames
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Bit,
    Concat,
    Convolution,
    Counts,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    GlobalSum,
    IntegerConv,
    MaxPool,
    MultiThreshold,
    Network,
    Node,
    PadChannels,
    Rounding,
    Subsample,
    SumPool,
    Threshold,
    TwoSlope,
    Upsample,
)
from xnorflow.ir.windows import Axis, axes_of, pair
from xnorflow.sw.kernels import Kernel, Values, kernel_of, narrow, widen, windows_of


__all__ = ["Execution", "define", "golden"]

# Frames are executed in batches whose largest intermediate matrix has at most so many bytes. Half
# and twice as many are as fast; with far fewer, calls and small products take the time, and with
# far more, a core's caches do not hold what it works on.
_BATCH_BYTES = 1 << 22


@dataclass(frozen=True, eq=False)
class Execution:
    """Results of a network for n frames.

    Attributes
    ----------
    scores : int64 tensor, (n, classes)
    labels : int64 tensor, (n,), or None
        None if the network has no `ArgMax`.
    maps : mapping of str to tensor, (n, height, width, channels)
        What the nodes that were asked for deliver: bool where that is bits, else int64.
    popcounts : mapping of str to int64 tensor, (n, height, width, 1)
        P, from those of them that deliver it.
    """

    scores: Tensor
    labels: Tensor | None
    maps: Mapping[str, Tensor]
    popcounts: Mapping[str, Tensor]


def golden(
    network: Network,
    frames: NDArray[Any] | Tensor,
    *,
    keep: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Execution:
    """Execute ``network`` in integers.

    Parameters
    ----------
    network : Network
        What to execute.
    frames : array or tensor, (n, height, width, channels)
        Raw frames: integers of any type, or bools; floating-point numbers if the network says
        which integers stand for them.
    keep : collection of str
        Nodes, or `INPUT`, whose maps are wanted too; ``network.maps`` asks for all of them.
    progress : callable, optional
        Called now and then with the number of frames that are done, and of all.
    threads : int, optional
        Batches of frames that are executed at once, each by one thread. As many as PyTorch would
        use for one operation, if not given: usually a thread for each core.

    Raises
    ------
    DataError
        If the frames are not what the network takes.
    KeyError
        If ``keep`` has a name that is not in the network.
    ValueError
        If ``threads`` is less than 1.

    Examples
    --------
    >>> network = xnorflow.load("zoo/mnist-tfc-sign.xnf")
    >>> frames = np.zeros((2, 28, 28, 1), np.uint8)
    >>> xnorflow.golden(network, frames).labels
    tensor([5, 5])
    """
    array = frames.numpy() if isinstance(frames, Tensor) else frames
    array = check_frames(array, network.input, network.quantisation)
    wanted = {*keep, network.scores}
    if network.label is not None:
        wanted.add(network.label)
    if unknown := wanted - network.maps.keys():
        raise KeyError(f"{network.name} has no node {', '.join(sorted(unknown))}")
    if threads is None:
        threads = torch.get_num_threads()
    if threads < 1:
        raise ValueError(f"there must be at least one thread, not {threads}")
    steps = _steps(network, wanted)
    found = {name: _room(len(array), network.maps[name]) for name in wanted}
    share = -(-len(array) // threads)
    batch = max(1, min(share, _BATCH_BYTES // _bytes_per_frame(network)))

    def execute(start: int) -> int:
        """Fill in what a batch delivers, and return its size."""
        part = slice(start, start + batch)
        for name, values in _execute(network, steps, array[part], wanted).items():
            found[name].map[part] = values.map
            if (popcounts := found[name].popcount) is not None and values.popcount is not None:
                popcounts[part] = values.popcount
        return len(array[part])

    done = 0

    def advance(executed: int) -> None:
        nonlocal done
        done += executed
        if progress is not None:
            progress(done, len(array))

    _in_threads(execute, range(0, len(array), batch), threads, advance)
    return Execution(
        scores=found[network.scores].map.flatten(1).to(torch.int64),
        labels=None if network.label is None else found[network.label].map.flatten(),
        maps=MappingProxyType({name: found[name].map for name in keep}),
        popcounts=MappingProxyType({
            name: popcount for name in keep if (popcount := found[name].popcount) is not None
        }),
    )


def _room(count: int, x: FeatureMap) -> Values:
    """Tensors for what an edge carries, of so many frames."""
    dtype = torch.bool if isinstance(x.type, Bit) else torch.int64
    carried = isinstance(x.type, Counts) and x.type.popcount
    return Values(
        torch.empty((count, *x.shape), dtype=dtype),
        torch.empty((count, x.height, x.width, 1), dtype=torch.int64) if carried else None,
    )


def _in_threads(
    function: Callable[[int], int],
    arguments: Iterable[int],
    threads: int,
    use: Callable[[int], None],
) -> None:
    """Compute ``function`` of all arguments in so many threads, and ``use`` each result here.

    Each thread executes PyTorch's operations alone. These are too short to be shared out: on
    cores that have other work too, every one of them would wait for the slowest of its parts.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for future in as_completed([pool.submit(function, argument) for argument in arguments]):
            use(future.result())
    finally:
        pool.shutdown(cancel_futures=True)
        # Some of what a thread sets belongs to all of them.
        torch.set_num_threads(before)


def _bytes_per_frame(network: Network) -> int:
    """Size of the largest matrix that a frame needs: a map, or the windows of a convolution."""
    windows = [
        network.maps[node.name].height
        * network.maps[node.name].width
        * node.taps
        * node.groups
        * (1 if isinstance(node, BinaryConv) else 4)
        for node in network.nodes
        if isinstance(node, Convolution)
    ]
    return max([*windows, *(4 * x.size for x in network.maps.values())])


class _Step(NamedTuple):
    """Function that delivers the values of ``name``, and names that are not needed after that."""

    name: str
    sources: tuple[str, ...]
    kernel: Kernel
    done: tuple[str, ...]


def _steps(network: Network, wanted: Collection[str]) -> list[_Step]:
    """How to get at the values of the nodes in ``wanted``, step by step."""
    users = Counter(source for node in network.nodes for source in node.sources)
    alone = {
        node.name: node
        for node in network.nodes
        if isinstance(node, BinaryConv) and node.bits == 1
        if users[node.name] == 1 and node.name not in wanted
    }
    joined = {
        node.name: alone.pop(node.source)
        for node in network.nodes
        if isinstance(node, Threshold | Affine) and node.source in alone
    }
    within = {conv.name for conv in joined.values()}
    steps: list[_Step] = []
    needed = set(wanted)
    for node in reversed(network.nodes):
        if node.name in within:
            continue
        conv = joined.get(node.name)
        sources = (node if conv is None else conv).sources
        kernel = kernel_of(node, network.maps, conv) or _plain(node, network)
        steps.append(_Step(node.name, sources, kernel, tuple({*sources} - needed)))
        needed.update(sources)
    return steps[::-1]


def _plain(node: Node, network: Network) -> Kernel:
    """Kernel of a node that has none of its own: its definition."""
    type_ = network.maps[node.name].type
    return lambda *sources: narrow(define(node, *map(widen, sources)), type_)


def _execute(
    network: Network, steps: list[_Step], frames: NDArray[Any], wanted: Collection[str]
) -> dict[str, Values]:
    """Values of the nodes in ``wanted``, for one batch of frames."""
    values = {INPUT: narrow(Values(torch.tensor(frames)), network.input.type)}
    for step in steps:
        values[step.name] = step.kernel(*(values[source] for source in step.sources))
        for name in step.done:
            del values[name]
    return {name: values[name] for name in wanted}


def define(node: Node, x: Values, *others: Values) -> Values:
    """Output of ``node`` for given inputs: the definition, in bool and int64.

    The kernels deliver the same.
    """
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
            return Values(bits if node.inverted is None else bits ^ torch.tensor(node.inverted))
        case MultiThreshold():
            rows = [x.map >= _of_classes(row, node.classes) for row in node.thresholds]
            reached = torch.stack(rows).sum(dim=0)
            if node.inverted is not None:
                reached = torch.where(torch.tensor(node.inverted), node.steps - reached, reached)
            return Values(torch.tensor(node.codes)[reached])
        case Affine():
            products = torch.tensor(node.scale) * x.map + _weigh(node.popcount_scale, x.popcount)
            sums = products + _of_classes(node.offset, node.classes)
            return Values(sums if node.rounding is None else _round(sums, node.rounding))
        case TwoSlope():
            positive, negative = torch.tensor(node.positive), torch.tensor(node.negative)
            products = torch.where(x.map >= 0, positive, negative) * x.map
            return Values(_round(products, node.rounding))
        case DynamicThreshold():
            channels = min(x.map.shape[3], others[0].map.shape[3])
            thresholds = others[0].map[..., node.first : node.first + channels]
            return Values(node.scale * x.map >= thresholds)
        case DynamicTwoSlope():
            before, after = others[0].map[..., node.first :].split(x.map.shape[3], dim=3)[:2]
            z, rounding = x.map + before, node.rounding
            slopes = torch.where(z >= 0, torch.tensor(node.positive), torch.tensor(node.negative))
            rounded = (slopes * z + rounding.half >> rounding.shift) + after
            return Values(rounded.clamp_(rounding.low, rounding.high))
        case Add():
            return Values(_round(x.map + others[0].map, node.rounding))
        case Concat():
            return Values(torch.cat([x.map, *(other.map for other in others)], dim=3))
        case Subsample():
            return Values(x.map[:, :: node.stride, :: node.stride])
        case Upsample():
            down, across = pair(node.factor)
            return Values(x.map.repeat_interleave(down, 1).repeat_interleave(across, 2))
        case PadChannels():
            return Values(functional.pad(x.map, (node.before, node.after)))
        case AveragePool():
            sides = node.size, node.size
            sums = _pool_windows(x.map, axes_of(sides, sides)).sum(dim=4)
            return Values((sums + ((1 << node.shift) >> 1)) >> node.shift)
        case SumPool():
            return Values(_pool_windows(x.map.to(torch.int64), node.axes).sum(dim=4))
        case GlobalSum():
            return Values(x.map.sum(dim=(1, 2), keepdim=True))
        case ArgMax() if x.map.shape[3] == 1:
            return Values((x.map >= 0).to(torch.int64))
        case ArgMax():
            # torch.argmax gives the first of several maxima.
            return Values(x.map.to(torch.int64).argmax(dim=3, keepdim=True))
        case _:
            raise TypeError(f"{type(node).__name__} has no definition")


def _of_classes(values: NDArray[np.int64], classes: NDArray[np.int64] | None) -> Tensor:
    """Values (channels,), or with ``classes`` those of each pixel: (height, width, channels)."""
    return torch.tensor(values if classes is None else values[classes])


def _round(x: Tensor, rounding: Rounding) -> Tensor:
    rounded = (x + rounding.half) >> rounding.shift
    return rounded.clamp_(rounding.low, rounding.high)


def _weigh(weights: NDArray[np.int64] | None, popcount: Tensor | None) -> Tensor | int:
    """The term of P, (n, height, width, channels), or 0 where there is none."""
    return 0 if weights is None or popcount is None else torch.tensor(weights) * popcount


def _binary_conv(node: BinaryConv, x: Tensor) -> Values:
    counts = []
    masks = _mask(node).chunk(node.groups)
    for (u, v), mask in zip(_groups(node, x.to(torch.int64)), masks, strict=True):
        counts.append(u @ v.T)
        if node.gate is Gate.XNOR:
            counts[-1] += (2**node.bits - 1 - u) @ (mask - v).T
    # P is that of the only group.
    return Values(torch.cat(counts, dim=3), u.sum(dim=3, keepdim=True) if node.popcount else None)


def _mask(node: BinaryConv) -> Tensor:
    """1 for each tap that counts, (filters, taps)."""
    counted = np.ones_like(node.weights) if node.mask is None else node.mask
    return torch.tensor(counted).flatten(1).to(torch.int64)


def _integer_conv(node: IntegerConv, x: Tensor) -> Values:
    sums = [taps @ weights.T for taps, weights in _groups(node, x.to(torch.int64))]
    return Values(torch.cat(sums, dim=3))


def _groups(node: Convolution, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each group, the taps of every window, and its weights (filters, taps)."""
    weights = torch.tensor(node.weights).flatten(1).to(torch.int64)
    windows = [windows_of(node, part) for part in x.chunk(node.groups, dim=3)]
    return list(zip(windows, weights.chunk(node.groups), strict=True))


def _max_pool(node: MaxPool, x: Tensor) -> Values:
    beyond = 1 << 40  # more than any value
    integers = x.to(torch.int64)
    largest = _pool_windows(integers, node.axes, -beyond).amax(dim=4)
    if node.inverted is not None:
        smallest = _pool_windows(integers, node.axes, beyond).amin(dim=4)
        largest = torch.where(torch.tensor(node.inverted), smallest, largest)
    return Values(largest.to(x.dtype))


def _pool_windows(x: Tensor, axes: tuple[Axis, Axis], outside: int = 0) -> Tensor:
    """Pixels of every window of ``x``: (n, height, width, channels, pixels of a window)."""
    rows, columns = axes
    sides = columns.before, columns.after, rows.before, rows.after
    x = functional.pad(x, (0, 0, *sides), value=outside)
    return x.unfold(1, rows.taps, rows.stride).unfold(2, columns.taps, columns.stride).flatten(4)
