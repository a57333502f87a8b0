"""What is added to the bits, codes and inputs of a network where a file has them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from xnorflow.ir import (
    INPUT,
    BinaryConv,
    Concat,
    Gate,
    IntegerConv,
    MaxPool,
    MultiThreshold,
    Network,
    Node,
    Threshold,
)
from xnorflow.sw.frontend.qonnx.products import (
    EXACT,
    Products,
    Range,
    compared,
    products_of,
    range_of,
    simplest,
)


__all__ = ["shifts_of"]

_ZERO = Fraction(0)
_POWERS = tuple(1 << digits for digits in range(13))
"""Denominators by which float32 divides exactly."""


def shifts_of(network: Network) -> dict[str, Fraction]:
    """Shift c of each map that convolutions read as ``u + c``: ±1 for bits is c = −1/2, doubled.

    It is 0 where no other one makes thresholds the same for all pixels, or where something else
    than convolutions, pools and joins reads the map.
    """
    groups = _groups(network)
    members = defaultdict(list)
    for name, group in groups.items():
        members[group].append(name)
    shifts = {group: _shift(network, names) for group, names in members.items()}
    return {name: shifts[group] for name, group in groups.items()}


def _groups(network: Network) -> dict[str, str]:
    """For each map, one that has the same shift: pools and joins deliver what they get."""
    groups = {INPUT: INPUT}
    for node in network.nodes:
        groups[node.name] = node.name
        if isinstance(node, MaxPool | Concat) and INPUT not in node.sources:
            first, *others = (groups[source] for source in node.sources)
            same = {first, *others, node.name}
            groups |= {name: first for name, group in groups.items() if group in same}
    return groups


def _shift(network: Network, names: list[str]) -> Fraction:
    nodes = {node.name: node for node in network.nodes}
    within, layers, compared_only = Range(), list[Products](), True
    for name in names:
        node = nodes.get(name)
        if not isinstance(node, MaxPool | Concat | MultiThreshold | Threshold | None):
            return _ZERO
        for reader in _readers(network, name):
            if isinstance(reader, BinaryConv | IntegerConv):
                found = _within(network, reader)
                if found is None:
                    return _ZERO
                within &= found.range
                layers += found.layers
                compared_only &= found.compared_only
            elif name != INPUT and not isinstance(reader, MaxPool | Concat):
                return _ZERO
    candidates: list[Fraction | None] = [*_candidates(network, names[0], layers)]
    candidates.append(simplest(within, _POWERS))
    if compared_only:
        candidates.append(simplest(within, range(1, _POWERS[-1])))
    for shift in candidates:
        if (
            shift is not None
            and shift in within
            and all(int(each.reach(shift).max()) <= EXACT for each in layers)
        ):
            return shift
    return _ZERO


@dataclass(frozen=True, eq=False)
class _Written:
    """How a convolution can be written.

    Attributes
    ----------
    range : Range
        Shifts of what it gets.
    layers : tuple of Products
    compared_only : bool
        Whether thresholds alone read it, so that sums may be in steps of any size.
    """

    range: Range
    layers: tuple[Products, ...]
    compared_only: bool


def _within(network: Network, conv: BinaryConv | IntegerConv) -> _Written | None:
    """How a convolution can be written other than with the shift 0."""
    x = network.maps[conv.source]
    within, layers, compared_only = Range(), [products_of(conv, x)], True
    for reader in _readers(network, conv.name):
        found = None
        if isinstance(reader, Threshold | MultiThreshold):
            layers.append(compared(reader, conv, x))
            found = range_of(layers[-1], reader)
        if found is None and layers[0].padded:
            return None
        within &= found or Range()
        compared_only &= found is not None
    return _Written(within, tuple(layers), compared_only)


def _readers(network: Network, name: str) -> list[Node]:
    return [node for node in network.nodes if name in node.sources]


def _candidates(network: Network, name: str, layers: list[Products]) -> Iterator[Fraction]:
    """Shifts of levels that people know."""
    low, high = network.maps[name].type.low, network.maps[name].type.high
    centre = Fraction(-low - high, 2)
    signs = (
        isinstance(each.node, BinaryConv) and each.node.gate is Gate.XNOR and not each.node.popcount
        for each in layers
    )
    if (low, high) == (0, 1) and name != INPUT and any(signs):
        yield centre
    yield _ZERO
    yield centre
    if name == INPUT and network.quantisation is not None:
        yield Fraction(-network.quantisation.zero_point)
    yield Fraction(-(high + 1) // 2)
