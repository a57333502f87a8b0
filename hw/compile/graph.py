"""Graph of all foldings for a rate: a layer of edges for each node of a network.

A state between two nodes is the lanes of the maps that are still wanted behind it, and an edge is a
`Choice` for the node. So whatever becomes of a node, what is behind it gets the lanes that follow.
"""

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.compile.candidates import Candidates, Rows
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.estimate import common
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.search import Layer, Way
from xnorflow.ir import INPUT


__all__ = ["FoldingGraph"]


class FoldingGraph:
    """All foldings of at most so many cycles.

    Parameters
    ----------
    candidates : Candidates
    cycles : int
        Most clock cycles a frame.
    input_lanes : list of int
        Values a word that the input may have.

    Raises
    ------
    DesignError
        If there is no folding that is as fast.
    """

    def __init__(self, candidates: Candidates, cycles: int, input_lanes: list[int]):
        self._candidates, self._cycles, self._input_lanes = candidates, cycles, input_lanes
        nodes = candidates.network.nodes
        last = {name: n for n, node in enumerate(nodes) for name in candidates.needs[node.name]}
        costs = [candidates.input_cost(lanes) for lanes in input_lanes]
        count = np.arange(len(input_lanes))
        beside = np.array([common(candidates.device), 0, 0])
        self._layers = [(0 * count, count, np.array(costs) + beside)]
        self._origins: list[tuple[list[Rows], np.ndarray, np.ndarray]] = []
        names, states = [INPUT], {(lanes,): n for n, lanes in enumerate(input_lanes)}
        for n, node in enumerate(nodes):
            behind = [name for name in [*names, node.name] if last.get(name, -1) > n]
            states = self._add(node, names, behind, states)
            names = behind

    def _add(self, node, names, names_behind, states):
        """Add a node's layer, and find the states behind it."""
        found, behind, parts = [], {}, []
        for state, number in states.items():
            lanes = dict(zip(names, state, strict=True))
            fed = tuple(lanes[name] for name in self._candidates.needs[node.name])
            rows = self._candidates.rows(node, fed, self._cycles)
            found.append(rows)
            usable = np.flatnonzero(rows.busy <= self._cycles)
            delivered, place = np.unique(rows.lanes[usable], return_inverse=True)
            states_behind = []
            for width in delivered.tolist():
                lanes[node.name] = width
                key = tuple(lanes[name] for name in names_behind)
                states_behind.append(behind.setdefault(key, len(behind)))
            parts.append((
                np.full(len(usable), number), np.array(states_behind, np.int64)[place],
                rows.costs[usable], usable,
            ))  # fmt: skip
        before, after, costs, index = (np.concatenate(part) for part in zip(*parts, strict=True))
        if not len(before):
            self._refuse(node, found)
        self._layers.append((before, after, costs))
        self._origins.append((found, before, index))
        return behind

    def _refuse(self, node, found):
        """Say why there is nothing that a node may become."""
        if self._candidates.is_folded(node):
            raise DesignError(
                f"{node.name} takes more than {self._cycles} cycles a frame, however it is folded"
            )
        rows = [row for each in found for row in zip(each.busy, each.slowest, strict=True)]
        if not rows:
            raise self._candidates.refusals[node.name]
        busy, slowest = min(rows)
        raise DesignError(f"{slowest} takes {busy} cycles a frame, more than {self._cycles}")

    def layers(self, budget: np.ndarray, extra: np.ndarray) -> list[Layer]:
        """Layers for a search: costs are parts of a budget, and something ``extra`` is needed."""
        # What there is none of is dearer than all else.
        scale = np.where(budget > 0, 1 / np.maximum(budget, 1), 1e6)
        layers = [Layer(*ends, costs * scale) for *ends, costs in self._layers]
        before, behind, costs = self._layers[0]
        return [Layer(before, behind, (costs + extra) * scale), *layers[1:]]

    def costs(self, way: Way) -> np.ndarray:
        """Look-up tables, block RAMs and multipliers of a way."""
        parts = zip(self._layers, way.edges, strict=True)
        return sum(costs[edge] for (_, _, costs), edge in parts)

    def design(self, way: Way, *, single_buffered: bool) -> Design:
        """Plan what a way is."""
        network, foldings, memories = self._candidates.network, {}, {}
        first, *edges = way.edges
        for node, edge, origins in zip(network.nodes, edges, self._origins, strict=True):
            rows, state, index = origins
            choice = rows[state[edge]].choices[index[edge]]
            memories.update(choice.memories)
            if choice.folding is not None:
                foldings[node.name] = choice.folding
        return plan(
            network,
            foldings,
            self._input_lanes[first],
            self._candidates.device,
            memories=memories,
            pace=self._cycles,
            single_buffered=single_buffered,
            recompute=self._candidates.recompute,
        )
