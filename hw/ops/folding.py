"""Foldings of layers in time: which there are, and for which layers."""

from dataclasses import dataclass

from xnorflow.errors import DesignError
from xnorflow.hw.ops.stage import check_pixels, divisors
from xnorflow.ir import BinaryConv, Convolution, FeatureMap, Network


__all__ = [
    "Folding",
    "check_folding",
    "foldings_of",
    "is_channelwise",
    "is_dense",
    "is_pointwise",
    "layers",
]


@dataclass(frozen=True)
class Folding:
    """Folding of a layer in time: ``pe`` neurons and ``simd`` synapses of each a cycle."""

    pe: int
    simd: int

    def __post_init__(self):
        for what, value in (("PE", self.pe), ("SIMD", self.simd)):
            if not isinstance(value, int) or value < 1:
                raise DesignError(f"{what} must be a positive integer, not {value!r}")


def layers(network: Network) -> list[Convolution]:
    """The nodes that have a folding."""
    return [node for node in network.nodes if isinstance(node, Convolution)]


def is_channelwise(node: Convolution) -> bool:
    """Whether a layer is a depthwise one of bits: each of its PE is for a channel of its own."""
    alone = node.groups == node.filters > 1 and node.weights.shape[-1] == 1
    return alone and isinstance(node, BinaryConv)


def is_pointwise(node: Convolution) -> bool:
    """Whether a window is a pixel, and every pixel has one."""
    return node.weights.shape[1:3] == (1, 1) and (node.stride, node.padding, node.groups) == (
        1,
        0,
        1,
    )


def is_dense(node: Convolution, source: FeatureMap) -> bool:
    """Whether the kernel covers the whole map, so that it sees each frame as a single vector."""
    return node.weights.shape[1:] == source.shape and node.padding == 0 and node.groups == 1


def foldings_of(node: Convolution, source: FeatureMap, lanes: int) -> list[Folding]:
    """The least PE and SIMD of each neuron fold and synapse fold."""
    channels, filters = source.channels // node.groups, node.filters // node.groups
    if is_dense(node, source):
        pes, words = _quotients(node.filters), -(-node.taps // lanes)
        return [Folding(pe, n * lanes) for pe in pes for n in _quotients(words)]
    if is_channelwise(node):
        return [Folding(pe, 1) for pe in divisors(node.filters)]
    # Groups have words of their own.
    simds = [n for n in divisors(channels) if node.groups > 1 or n % lanes == 0]
    if node.groups == 1:
        simds += [n for n in _quotients(node.taps) if n > channels]
    return [Folding(pe, simd) for pe in divisors(filters) for simd in simds]


def _quotients(number):
    """Quotients of a number, rounded up."""
    return sorted({-(-number // n) for n in range(1, number + 1)})


def check_folding(node: Convolution, folding: Folding, source: FeatureMap, lanes: int) -> None:
    """Check the folding of a layer that is fed ``lanes`` values a word.

    Raises
    ------
    DesignError
        If it does not work out.
    """
    if not 1 <= folding.pe <= node.filters:
        raise DesignError(
            f"{node.name}: PE must be from 1 to the {node.filters} neurons, not {folding.pe}"
        )
    if is_dense(node, source):
        most = -(-node.taps // lanes) * lanes
        if folding.simd % lanes or not 1 <= folding.simd <= most:
            raise DesignError(
                f"{node.name}: SIMD must be a multiple of the {lanes} lanes that feed it, "
                f"up to {most}, not {folding.simd}"
            )
        return
    if node.groups > 1:
        _check_group_folding(node, folding, source, lanes)
        return
    check_pixels(node, source, lanes, spare=False)
    whole = source.channels < folding.simd <= node.taps
    if (folding.simd % lanes or source.channels % folding.simd) and not whole:
        raise DesignError(
            f"{node.name}: SIMD must be a multiple of the {lanes} lanes that feed it and divide "
            f"the {source.channels} channels, or be more, up to the {node.taps} values of a "
            f"window, not {folding.simd}"
        )
    if node.filters % folding.pe:
        raise DesignError(
            f"{node.name}: PE must divide the {node.filters} filters, not {folding.pe}"
        )


def _check_group_folding(node, folding, source, lanes):
    """Check the folding of a grouped convolution, for which words of any ``lanes`` are divided."""
    check_pixels(node, source, lanes, spare=False)
    if is_channelwise(node) and folding.simd == 1:
        if node.filters % folding.pe:
            raise DesignError(
                f"{node.name}: PE must divide the {node.filters} channels, not {folding.pe}"
            )
        return
    channels, filters = source.channels // node.groups, node.filters // node.groups
    if channels % folding.simd:
        raise DesignError(
            f"{node.name}: SIMD must divide the {channels} channels of a group, not {folding.simd}"
        )
    if filters % folding.pe:
        raise DesignError(
            f"{node.name}: PE must divide the {filters} filters of a group, not {folding.pe}"
        )
