"""The cheapest way through layers of choices, several costs of which are limited.

Ways go from the only state of the first layer to the only one of the last. Each edge has a vector
of costs, in parts of what there is, so that a way fits if no sum is above 1. The cheapest way is
the one, of those that fit, whose sums are worth least together. It is found in two steps:

- Lagrange multipliers say what costs are worth that are scarce. Each choice of them gives a way,
  and a bound that no way through an edge is below; edges that can't be of a better way than the
  best one so far are dropped.
- Of the ways through what is left, vectors of costs are kept state by state, without those that are
  dominated: Pareto dynamic programming.
"""

from dataclasses import dataclass
from math import inf

import numpy as np


__all__ = ["Layer", "Way", "any_fits", "cheapest_way"]

_TOLERANCE = 1e-9
_KEPT = 3
_AIM = 0.002
_ROUNDS = 60
"""Choices of multipliers, at most: they only save time later."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Edges from the states before it to those behind it.

    Attributes
    ----------
    before, behind : array of int, (edges)
        States that each edge connects.
    costs : array of float, (edges, costs)
    """

    before: np.ndarray
    behind: np.ndarray
    costs: np.ndarray


@dataclass(frozen=True)
class Way:
    """A way: its edge in each layer, the sums of its costs, and whether these fit."""

    edges: tuple[int, ...]
    costs: np.ndarray

    @property
    def fits(self) -> bool:
        """Whether no sum is above 1."""
        return bool(self.costs.max() <= 1 + _TOLERANCE)


def cheapest_way(layers: list[Layer], worth: np.ndarray) -> Way:
    """Find the cheapest way that fits; if none does, one that nearly does.

    ``worth`` has a number above 0 for each of the costs.
    """
    search = _Search(layers, worth)
    search.bound()
    if not search.proven:
        search.exact()
    return search.best or search.nearest


def any_fits(layers: list[Layer]) -> bool:
    """Find out whether any way fits."""
    search = _Search(layers, np.ones(layers[0].costs.shape[1]))
    search.bound(until_it_fits=True)
    if not search.proven and search.best is None:
        search.exact()
    return search.best is not None


class _Search:
    """State of a search: the edges that are left, by number, and the best ways so far."""

    def __init__(self, layers, worth):
        self.layers, self.worth = layers, worth
        self.left = [np.arange(len(layer.before)) for layer in layers]
        ends = [layer.behind.max() for layer in layers]
        starts = [*(layer.before.max() for layer in layers[1:]), 0]
        self.states = [1, *(int(max(pair)) + 1 for pair in zip(ends, starts, strict=True))]
        self.best, self.nearest = None, None
        self.bounds, self.proven = [], False

    @property
    def limit(self):
        """What a better way that fits is worth at most."""
        return self.worth.sum() if self.best is None else self.best.costs @ self.worth

    def bound(self, *, until_it_fits=False):
        """Try multipliers, and drop edges, until it is proven that nothing is better."""
        multipliers = np.zeros(len(self.worth))
        for number in range(_ROUNDS):
            weights = self.worth + multipliers
            ahead = self._suffixes(weights)
            bound = ahead[0][0] - multipliers.sum()
            if bound == inf:  # no way is left
                self.proven = True
                return
            way = self._follow(weights, ahead)
            self._consider(way)
            self.proven = bool(bound >= self.limit - _TOLERANCE)
            if self.proven or (until_it_fits and self.best is not None):
                return
            self.bounds.append((bound, tuple(weights)))
            self._drop(weights, ahead, self.limit + multipliers.sum())
            gradient = way.costs - (1 if self.best else 1 - _AIM * number)
            step = (self.limit + 1e-3 - bound) / max(gradient @ gradient, 1e-12)
            multipliers = np.maximum(0, multipliers + step * gradient)

    def exact(self):
        """Find the cheapest way through what is left."""
        tried = [np.array(weights) for _, weights in sorted(set(self.bounds))[-_KEPT:]]
        bounds = [(w, self._suffixes(w)) for w in (*np.eye(len(self.worth)), *tried)]
        fronts, traces = {0: np.zeros((1, len(self.worth)))}, []
        for number, (layer, left) in enumerate(zip(self.layers, self.left, strict=True)):
            ahead = [(weights, sums[number + 1]) for weights, sums in bounds]
            left = left[np.isin(layer.before[left], list(fronts))]
            found = {
                state: self._front(fronts, layer, left[layer.behind[left] == state], ahead)
                for state in np.unique(layer.behind[left]).tolist()
            }
            fronts = {state: costs for state, (costs, *_) in found.items() if len(costs)}
            traces.append({state: trace for state, (_, *trace) in found.items()})
        if fronts:
            ((state, costs),) = fronts.items()
            place = int(np.argmin(costs @ self.worth))
            self._consider(Way(self._back(traces, state, place), costs[place]))

    def _front(self, fronts, layer, edges, ahead):
        """Costs in a state, without those that can't be of a better way, and where they are from.

        ``edges`` lead there. From each it is told which edge, and which costs in front of it.
        """
        parts = [fronts[layer.before[edge]] + layer.costs[edge] for edge in edges]
        sizes = [len(part) for part in parts]
        costs, state = np.concatenate(parts), layer.behind[edges[0]]
        kept = np.ones(len(costs), bool)
        for weights, sums in ahead:
            kept &= costs @ weights + sums[state] <= self._most(weights) + _TOLERANCE
        kept = np.flatnonzero(kept)
        kept = kept[_undominated(costs[kept])]
        index = np.concatenate([np.arange(size) for size in sizes])
        return costs[kept], np.repeat(edges, sizes)[kept], index[kept]

    def _most(self, weights):
        """Weighted sum that a better way that fits stays below."""
        least = (weights / self.worth).min()
        return least * self.limit + (weights - least * self.worth).sum()

    def _back(self, traces, state, place):
        edges = []
        for layer, trace in zip(reversed(self.layers), reversed(traces), strict=True):
            edge, index = trace[state]
            edges.append(int(edge[place]))
            state, place = layer.before[edge[place]], index[place]
        return tuple(reversed(edges))

    def _suffixes(self, weights):
        """For each layer's states, and the last one, the least weighted sum of what is behind."""
        ahead = [np.zeros(1)]
        for layer, left, states in zip(
            reversed(self.layers), reversed(self.left), self.states[-2::-1], strict=True
        ):
            sums = np.full(states, inf)
            costs = layer.costs[left] @ weights + ahead[0][layer.behind[left]]
            np.minimum.at(sums, layer.before[left], costs)
            ahead.insert(0, sums)
        return ahead

    def _prefixes(self, weights):
        sums = [np.zeros(1)]
        for layer, left, states in zip(self.layers, self.left, self.states[1:], strict=True):
            found = np.full(states, inf)
            costs = layer.costs[left] @ weights + sums[-1][layer.before[left]]
            np.minimum.at(found, layer.behind[left], costs)
            sums.append(found)
        return sums

    def _follow(self, weights, ahead):
        """The way of the least weighted sum; of several, that of the first edges."""
        state, edges, total = 0, [], np.zeros(len(self.worth))
        for layer, left, sums in zip(self.layers, self.left, ahead[1:], strict=True):
            here = left[layer.before[left] == state]
            edge = here[np.argmin(layer.costs[here] @ weights + sums[layer.behind[here]])]
            edges.append(int(edge))
            total = total + layer.costs[edge]
            state = layer.behind[edge]
        return Way(tuple(edges), total)

    def _consider(self, way):
        if self.nearest is None or way.costs.max() < self.nearest.costs.max():
            self.nearest = way
        if way.fits and (self.best is None or way.costs @ self.worth < self.limit):
            self.best = way

    def _drop(self, weights, ahead, most):
        """Drop edges through which no way has a weighted sum of at most so much."""
        before = self._prefixes(weights)
        for n, (layer, left) in enumerate(zip(self.layers, self.left, strict=True)):
            through = (
                before[n][layer.before[left]]
                + layer.costs[left] @ weights
                + ahead[n + 1][layer.behind[left]]
            )
            self.left[n] = left[through <= most + _TOLERANCE]


def _undominated(costs):
    """Places of vectors that no other one is nowhere above of; of equal ones, the first."""
    order = np.lexsort(costs.T[::-1])
    order = order[np.argsort(costs[order].sum(axis=1), kind="stable")]
    kept = []
    while len(order):
        first = order[0]
        kept.append(first)
        order = order[(costs[order] < costs[first] - _TOLERANCE).any(axis=1)]
    return np.sort(np.array(kept, np.int64))
