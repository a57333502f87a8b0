"""Maps that are computed twice, instead of waiting for parameters that follow from them.

A map that is kept in a buffer leaves it twice. What follows from it up to the next map that would
have to wait is computed twice, too: the first time only for the parameters of that map, the second
time to be used with them::

              ┌─ sums … ─┬───────┐                     ┌─ first pass ─ sums … ─┐
    words ─ fork         │       │                     │                       │
              └─── frame buffer ─┴─ compare … add ─ fork                       │
                                                       └─ second pass ─────────┴─ compare …

So only every second map needs a buffer, and layers work twice as fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from xnorflow.hw.compile.schedule import schedule
from xnorflow.hw.families.device import Device
from xnorflow.hw.streams.stage import Stage
from xnorflow.ir import Network


__all__ = ["PASSES", "Region", "regions", "with_times_of_passes"]

PASSES = 2

_TO_TABLE = 4
"""Cycles from the last parameter of a frame to its use: fork, queue and table."""


@dataclass(frozen=True)
class Region:
    """What is computed twice: from the map that is kept to the one that is not.

    Attributes
    ----------
    start, end : str
        The two maps.
    nodes : frozenset of str
        Nodes in between, and the last one.
    """

    start: str
    end: str
    nodes: frozenset[str]


def regions(network: Network, held: Mapping[str, str]) -> list[Region]:
    """Find every second map that need not wait if what it follows from is kept.

    ``held`` has the maps that wait, with their parameters.
    """
    found: list[Region] = []
    for node in network.nodes:
        region = _region(network, held, node.name) if node.name in held else None
        if region and region.start not in {other.end for other in found}:
            found.append(region)
    return found


def _region(network, held, end):
    """What a map follows from, back to another that waits, if it is that map's only use."""
    by_name = {node.name: node for node in network.nodes}
    parameters = frozenset(held.values())
    nodes, starts, rest = set(), set(), [end]
    while rest:
        name = rest.pop()
        if name not in by_name:
            return None
        nodes.add(name)
        for source in by_name[name].sources:
            if source in held:
                starts.add(source)
            elif source not in nodes | parameters:
                rest.append(source)
    if len(starts) != 1:
        return None
    (start,) = starts
    # It needs no other parameters, nothing else needs what is computed twice, and all that takes
    # the map that is kept takes it twice.
    used = {source for name in nodes for source in by_name[name].sources}
    if used & parameters != {held[start]} & used:
        return None
    inside, known = nodes - {end}, False
    for node in network.nodes:
        again = node.name in nodes
        if (not again and inside.intersection(node.sources)) or (
            start in node.sources and again != known
        ):
            return None
        known = known or node.name == held[start]
    return Region(start, end, frozenset(nodes))


def with_times_of_passes(
    stages: tuple[Stage, ...],
    sources: Mapping[str, tuple[str, ...]],
    waits: Mapping[str, tuple[str, str]],
    words: int,
    cycles: int,
    device: Device,
) -> tuple[Stage, ...]:
    """Stages with buffers that know when frames leave again.

    Parameters
    ----------
    stages, sources, words, cycles, device
        As for `xnorflow.hw.compile.schedule.buffer_depths`.
    waits : mapping of str to (str, str)
        For each such buffer, by name, the stage that hands on the second pass, and the one that
        delivers the parameters that are wanted then.
    """
    stages = tuple(replace(s, apart=cycles) if s.name in waits else s for s in stages)
    arrivals = np.arange(words) * cycles // words
    times, _ = schedule(stages, sources, arrivals, device)
    apart = {
        name: cycles + max(0, int(times[parameters][-1] + _TO_TABLE - times[second][0]))
        for name, (second, parameters) in waits.items()
    }
    return tuple(replace(s, apart=apart[s.name]) if s.name in waits else s for s in stages)
