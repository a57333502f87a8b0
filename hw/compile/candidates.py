"""Candidates of a folding: what each node may become, and what that costs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.plan import Wiring, segment_of
from xnorflow.hw.families.device import Cell, Device
from xnorflow.hw.ops.folding import Folding, layers
from xnorflow.hw.ops.registry import STAGES
from xnorflow.hw.ops.stage import divisors
from xnorflow.ir import INPUT, Convolution, Network, Node


__all__ = ["Candidates", "Choice", "Rows"]


_WASTE, _FEW_PRODUCTS = 2, 64
"""How many times the products a cycle that a layer needs it may have, and how many at any rate."""


@dataclass(frozen=True)
class Choice:
    """What a node becomes: its folding, if it has one, and what memories are made of, by stage."""

    folding: Folding | None
    memories: tuple[tuple[str, Cell], ...]


class Rows:
    """Choices for a node that is fed in a certain way, the fastest foldings first.

    Attributes
    ----------
    choices : list of Choice
    costs : array of int, (choices, 3)
        Look-up tables, block RAMs and multipliers.
    busy : array of int
        Clock cycles for which a frame keeps the slowest stage busy.
    lanes : array of int
        Values a word that the node delivers.
    slowest : list of str
        The name of the slowest stage.
    """

    def __init__(self, rows: Iterable[tuple]):
        rows = list(rows)
        self.choices = [row[0] for row in rows]
        self.costs = np.array([row[1] for row in rows], np.int64).reshape(-1, 3)
        self.busy = np.array([row[2] for row in rows], np.int64)
        self.lanes = np.array([row[3] for row in rows], np.int64)
        self.slowest = [row[4] for row in rows]

    def __add__(self, other: "Rows") -> "Rows":
        """Both, one behind the other."""
        if not self.choices:
            return other
        both = Rows(())
        both.choices, both.slowest = self.choices + other.choices, self.slowest + other.slowest
        for what in ("costs", "busy", "lanes"):
            setattr(both, what, np.concatenate([getattr(self, what), getattr(other, what)]))
        return both


class _Foldings:
    """Foldings of a layer that is fed some lanes, how fast they are, and those that are known."""

    def __init__(self, node, source, lanes, device):
        kind = STAGES[type(node)]
        self.foldings = [
            folding
            for folding in kind.foldings(node, source, lanes)
            if not device.runtime_weights or kind(node, source, folding).rows > 1
        ]
        self.products = np.array([f.pe * f.simd for f in self.foldings], np.int64)
        self.cycles = np.array([kind(node, source, f).busy for f in self.foldings], np.int64)

    def useful(self, cycles):
        """Which may be the cheapest of at most so many cycles."""
        keep = self.cycles <= cycles
        least = self.products[keep].min(initial=self.products.max(initial=0))
        return keep & (self.products <= max(_FEW_PRODUCTS, _WASTE * least))


class Candidates:
    """Choices for all nodes of a network on a device; each is estimated once.

    What a queue takes is left out, since it depends on the whole pipeline; a buffer of windows is
    as deep as it usually has to be, and one of frames as shallow as it may be.

    Parameters
    ----------
    network : Network
    device : Device
    recompute : bool
        As for `xnorflow.hw.compile.plan.plan`.
    """

    def __init__(self, network: Network, device: Device, *, recompute: bool = False):
        self.network, self.device = network, device
        self.recompute, self.wiring = recompute, Wiring.of(network, recompute=recompute)
        self.refusals: dict[str, DesignError] = {}
        self._known: dict[tuple, tuple[np.ndarray, Rows]] = {}
        self._of_layer = cache(self._layer_foldings)
        self._at_pace = cache(self._rows_at)
        self._variants = cache(self._variants_of)

    @cached_property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each node, by name, the maps whose lanes it depends on."""
        released = {node.name: self.wiring.released(node.name) for node in self.network.nodes}
        return {
            node.name: tuple(dict.fromkeys([*node.sources, *released[node.name]]))
            for node in self.network.nodes
        }

    def is_folded(self, node: Node) -> bool:
        """Whether a node has foldings."""
        return isinstance(node, Convolution)

    def input_cost(self, lanes: int) -> np.ndarray:
        """Costs of what stands behind the input."""
        stages = self.wiring.behind(INPUT, {INPUT: lanes})
        costs = [_cost(stage.resources(self.device)) for stage, *_ in stages]
        return np.array(costs, np.int64).reshape(-1, 3).sum(axis=0)

    def rows(self, node: Node, lanes: tuple[int, ...], cycles: int) -> Rows:
        """Choices for a node whose ``needs`` have so many lanes.

        Those of a layer have foldings, some of which take more than so many ``cycles``; others keep
        them as their pace.
        """
        if self.is_folded(node):
            return self._up_to(node, lanes, cycles)
        return self._at_pace(node, lanes, cycles)

    @property
    def operations(self) -> int:
        """Products of a frame."""
        found = (self._of_layer(node, 1) for node in layers(self.network))
        return sum(int((f.products * f.cycles).min()) for f in found)

    def cycles(self) -> set[int]:
        """Clock cycles a frame that layers may take."""
        return {
            int(cycles)
            for node in layers(self.network)
            for cycles in self._of_layer(node, 1).cycles
        }

    def paces(self) -> set[int]:
        """Clock cycles a frame at which the lanes of a node change that are as few as they may."""
        maps = self.network.maps
        paced = (node for node in self.network.nodes if STAGES[type(node)].paced)
        names = {name for node in paced for name in (node.name, *node.sources)}
        return {maps[name].size // n for name in names for n in divisors(maps[name].channels)}

    def _layer_foldings(self, node, lanes):
        return _Foldings(node, self.network.maps[node.source], lanes, self.device)

    def _up_to(self, node, lanes, cycles):
        fed = dict(zip(self.needs[node.name], lanes, strict=True))[node.source]
        found, key = self._of_layer(node, fed), (node.name, lanes)
        known, rows = self._known.get(key, (np.zeros(len(found.foldings), bool), Rows(())))
        wanted = found.useful(cycles)
        if (new := np.flatnonzero(wanted & ~known)).size:
            more = (found.foldings[n] for n in new)
            rows += Rows(row for f in more for row in self._rows(node, lanes, f, cycles))
            self._known[key] = known | wanted, rows
        return rows

    def _rows_at(self, node, lanes, pace):
        return Rows(self._rows(node, lanes, None, pace))

    def _rows(self, node, lanes, folding, pace):
        """What a node may become with a folding: its memories may be made of this or that."""
        given = dict(zip(self.needs[node.name], lanes, strict=True))
        fed = tuple(given[source] for source in node.sources)
        try:
            segment = segment_of(self.network, node, fed, folding, pace)
        except DesignError as error:  # the lanes do not suit the node
            self.refusals[node.name] = error
            return
        given[node.name] = segment.lanes
        stages = *segment.stages, *(stage for stage, *_ in self.wiring.behind(node.name, given))
        slowest = max(stages, key=lambda stage: stage.busy)
        options = [((0, 0, 0), ())]
        for stage in stages:
            variants = self._variants(stage)
            options = [
                ((a + more[0], b + more[1], c + more[2]), memories + made)
                for (a, b, c), memories in options
                for more, made in variants
            ]
        for cost, memories in options:
            yield Choice(folding, memories), cost, slowest.busy, segment.lanes, slowest.name

    def _variants_of(self, stage):
        """Costs of a stage, and its memories."""
        if self.device.memories is not None:
            return [(_cost(stage.resources(self.device)), ())]
        found = {}
        for cell in (Cell.BLOCK_RAM, None, Cell.LUT):
            cost = _cost(stage.resources(_made_of(self.device, cell)))
            found.setdefault(cost, ((stage.name, cell),))
            if not cost[1]:  # there is nothing else that they might be made of
                break
        return list(found.items()) if len(found) > 1 else [(cost, ())]


@cache
def _made_of(device, cell):
    return replace(device, memories=cell)


def _cost(resources: Resources) -> tuple[int, int, int]:
    return resources.luts, resources.block_rams, resources.multipliers
