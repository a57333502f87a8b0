"""Weights that are loaded at run time: which networks a design can run, and what is sent to it.

A load is a `load_image`: a digest of the design's shape, the words of all tables in the order of
the pipeline, and a CRC of these. The CRC is at the same time the name of the network: what it
begins with brings it to the first bytes of the network's fingerprint.
"""

import hashlib
from dataclasses import fields, replace

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.loaded_memory import Contents
from xnorflow.hw.compile.design import Design
from xnorflow.hw.streams.loading import CRC_BYTES, DIGEST_BYTES, chunk_bytes, seed_of
from xnorflow.hw.streams.stage import Stage
from xnorflow.ir import BinaryConv, IntegerConv, MultiThreshold, Network, Node, Threshold, xnf


__all__ = ["check_shape", "load_image", "loaded_tables", "network_crc", "shape_digest"]

_LOADED = {
    BinaryConv: {"weights", "mask"},
    IntegerConv: {"weights"},
    Threshold: {"thresholds", "popcount_weights", "inverted"},
    MultiThreshold: {"thresholds", "inverted"},
}
"""Fields of nodes that are loaded; others are part of the shape."""


def load_image(design: Design, network: Network | None = None) -> bytes:
    """Bytes that load a network, if not that of the design, into what has been built of it.

    Raises
    ------
    DesignError
        If it is of another shape, or has numbers that there is no room for.
    """
    network = design.network if network is None else network
    check_shape(design, network)
    tables, crc = list(loaded_tables(design, network).values()), network_crc(network)
    seed, check = (n.to_bytes(CRC_BYTES, "little") for n in (seed_of(crc, tables), crc))
    return shape_digest(design) + b"".join(map(_words, tables)) + seed + check


def _words(table):
    """Bytes of all chunks of a table."""
    chunk, sent = table.loading.chunk, []
    for word in table.words:
        low = 0
        for bits in table.chunks:
            sent.append(chunk_bytes(word >> low & (1 << bits) - 1, chunk))
            low += bits
    return b"".join(sent)


def network_crc(network: Network) -> int:
    """CRC of a load of a network: the first bytes of its fingerprint, the lowest first."""
    digest = hashlib.sha256(xnf.dumps(network)).digest()
    return int.from_bytes(digest[:CRC_BYTES], "little")


def loaded_tables(design: Design, network: Network | None = None) -> dict[str, Contents]:
    """The table of each stage that has one, with the constants of a network like the design's."""
    nodes = _named_like(network or design.network, design.network)
    tables = {}
    for stage in _stages(design):
        node = _completed(nodes[stage.name], stage.node)
        tables[stage.name] = stage.loaded(design.device_of(stage), node)
    return {name: table for name, table in tables.items() if table is not None}


def shape_digest(design: Design) -> bytes:
    """Bytes by which a design knows loads that are for it."""
    facts = [design.device.family.name]
    facts += [(node.name, node.kind, _facts(node)) for node in design.network.nodes]
    for name, table in loaded_tables(design).items():
        facts.append((name, table.width, len(table.rows), table.loading, table.order))
    facts += [(stage.name, stage.describe(None)) for stage in _stages(design)]
    return hashlib.sha256(repr(facts).encode()).digest()[:DIGEST_BYTES]


def check_shape(design: Design, network: Network) -> None:
    """Check that what has been built of a design can run a network.

    Raises
    ------
    DesignError
        If it is of another shape, or has numbers that there is no room for.
    """
    ours, what = design.network, f"{network.name} has another shape than {design.network.name}"
    if network.input != ours.input:
        raise DesignError(f"{what}: its input is {network.input}, not {ours.input}")
    kinds, wanted = ([node.kind for node in each.nodes] for each in (network, ours))
    if kinds != wanted:
        raise DesignError(f"{what}: its nodes are {', '.join(kinds)}, not {', '.join(wanted)}")
    nodes = _named_like(network, ours)
    for node in ours.nodes:
        other = nodes[node.name]
        facts = _facts(_completed(other, node))
        for field, fact in _facts(node).items():
            if facts[field] != fact:
                fixed = "" if field in _LOADED.get(type(node), ()) else ", which cannot be loaded"
                raise DesignError(f"{what}: {node.name} has other {field}{fixed}")
    loaded_tables(design, network)


def _named_like(network: Network, other: Network) -> dict[str, Node]:
    """Nodes of a network by the names that another one of the same shape has for them."""
    pairs = zip(network.nodes, other.nodes, strict=True)
    names = {node.name: like.name for node, like in pairs}

    def named(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(map(named, value))
        return names.get(value, value) if isinstance(value, str) else value

    return {
        names[node.name]: replace(
            node,
            **{
                field.name: named(getattr(node, field.name)) for field in fields(node) if field.init
            },
        )
        for node in network.nodes
    }


def _stages(design: Design) -> list[Stage]:
    """Stages of nodes that have something to load."""
    names = {node.name for node in design.network.nodes if type(node) in _LOADED}
    return [stage for stage in design.stages if stage.name in names]


def _completed(node: Node, like: Node) -> Node:
    """The same node, with directions if another one like it has them."""
    if getattr(like, "inverted", None) is None or getattr(node, "inverted", 0) is not None:
        return node
    return replace(node, inverted=np.zeros(node.channels, bool))


def _facts(node: Node) -> dict[str, object]:
    """What a node is besides what is loaded, by its fields."""
    loaded, facts = _LOADED.get(type(node), set()), {}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, np.ndarray):
            value = value.shape, None if field.name in loaded else value.tolist()
        facts[field.name] = value
    return facts
