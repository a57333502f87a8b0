"""Lowering of a graph without a fixed-point grid: every activation is a bit, and every bit exact.

Batch normalisation, scales, biases and pools change what is known of an edge; a binariser makes a
threshold of it, and the end of the graph makes scores.
"""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.ir import (
    INPUT,
    Affine,
    BinaryConv,
    Counts,
    FeatureMap,
    Gate,
    Head,
    IntegerConv,
    MultiThreshold,
    Node,
    Quantisation,
    SumPool,
    Threshold,
)
from xnorflow.ir import (
    Upsample as UpsampleNode,
)
from xnorflow.ir.windows import pair
from xnorflow.sw.frontend.graph import (
    AveragePool,
    Binarise,
    Clip,
    Concat,
    Flatten,
    Graph,
    MaxPool,
    Operation,
    Quantise,
    Scale,
    Sum,
    TwoSlope,
    Upsample,
    WeightedSum,
)
from xnorflow.sw.lowering.adds import add_maps
from xnorflow.sw.lowering.averages import averaged, level_sums
from xnorflow.sw.lowering.channel_scales import rescaled
from xnorflow.sw.lowering.edges import Edge, Joined, Levels, Step, Sums, scaled
from xnorflow.sw.lowering.joins import join_levels, join_scores, join_sums
from xnorflow.sw.lowering.roots import ONE, Root, RootSum
from xnorflow.sw.lowering.scores import scores
from xnorflow.sw.lowering.thresholds import multi_thresholds, pool_node, thresholds
from xnorflow.sw.lowering.windows import weigh


__all__ = ["exact_nodes"]

_T = TypeVar("_T")


def exact_nodes(
    graph: Graph, frame: FeatureMap, quantisation: Quantisation
) -> tuple[list[Node], tuple[Head, ...]]:
    """All nodes of ``graph`` up to its ``scores``, for such frames, and its heads.

    Raises
    ------
    LoweringError
        If an operation cannot be lowered where it stands.
    """
    return _Lowering(frame, quantisation).lower(graph)


class _Lowering:
    """Nodes so far, and what is known of the edges."""

    def __init__(self, frame: FeatureMap, quantisation: Quantisation) -> None:
        self.nodes: dict[str, Node] = {}
        self.maps = {INPUT: frame}
        scale = Fraction(quantisation.scale)
        channels = frame.channels
        self.edges: dict[str, Edge] = {
            INPUT: Sums(
                INPUT,
                frame,
                (Root(scale),) * channels,
                ((RootSum.rational(-scale * quantisation.zero_point),) * channels,),
                np.zeros((frame.height, frame.width), np.int64),
                ((frame.type.low, frame.type.high),) * channels,
            )
        }
        self.binarised: dict[tuple[int, Binarise], Levels] = {}

    def lower(self, graph: Graph) -> tuple[list[Node], tuple[Head, ...]]:
        """Nodes of all operations, and scores of the last one or of all heads."""
        for operation in graph.operations:
            inputs = [self.edges[source] for source in operation.sources]
            self.edges[operation.name] = self._apply(operation, *inputs)
        ends = dict(graph.heads) or {"": graph.operations[-1].name}
        affines = {head: self._scores(graph, name) for head, name in ends.items()}
        every = [node for nodes in affines.values() for node in nodes]
        self._add(*join_scores(every, [self.maps[node.source] for node in every]))
        heads = {
            head: sum(node.scale.size for node in nodes)
            for head, nodes in affines.items()
            if graph.heads
        }
        return complement(list(self.nodes.values())), tuple(Head(*each) for each in heads.items())

    def _scores(self, graph: Graph, name: str) -> list[Affine]:
        """Nodes that make scores of what the operation ``name`` delivers."""
        edge = self.edges[name]
        (last,) = (each for each in graph.operations if each.name == name)
        if isinstance(edge, Levels):
            raise LoweringError(f"{last.origin} cannot be the end: its output must be sums")
        weighed = [each for each in graph.operations if isinstance(each.function, WeightedSum)]
        parts = edge.parts if isinstance(edge, Joined) else (edge,)
        names = [f"{name}_scores{n or ''}" for n in range(len(parts))]
        if not graph.heads:
            last = (weighed or [last])[-1]
        return scores(parts, names, last.origin)

    def _add(self, *nodes: Node) -> None:
        for node in nodes:
            self.maps[node.name] = node.infer(*(self.maps[source] for source in node.sources))
            self.nodes[node.name] = node

    def _apply(self, operation: Operation, x: Edge, *others: Edge) -> Edge:
        function = operation.function
        match function:
            case Binarise() | Quantise() if isinstance(x, Joined):
                return self._of_parts(operation, function, x)
            case Binarise():
                return self._binarise(operation, function, x)
            case Quantise():
                return self._quantise(operation, function, x)
            case WeightedSum():
                if isinstance(x, Joined):
                    nodes, x = join_sums(x, f"{operation.name}_input", operation.origin)
                    self._add(*nodes)
                node, sums = weigh(operation, x)
                self._add(node)
                return sums
            case Concat():
                return self._concat(operation, (x, *others))
            case Flatten():
                return x
            case AveragePool():
                return self._average(operation, function, x)
            case Sum():
                return self._sum(operation, x, others)
            case MaxPool() | Upsample() if isinstance(x, Levels):
                return self._pool(operation, function, x)
            case Upsample() if isinstance(x, Sums) and x.node == INPUT and not x.steps:
                return self._upsampled(operation, function, x)
            case Scale() | TwoSlope() | Clip() | MaxPool() | Upsample():
                return _then(operation, x, function)

    def _of_parts(
        self, operation: Operation, function: Binarise | Quantise | AveragePool, x: Joined
    ) -> Edge:
        """What a function of each channel makes of joined ones."""
        edges = [
            self._apply(
                replace(operation, name=f"{operation.name}_{n}", function=_part(function, x, n)),
                part,
            )
            for n, part in enumerate(x.parts)
        ]
        return self._concat(operation, tuple(edges))

    def _binarise(self, operation: Operation, function: Binarise, x: Edge) -> Levels:
        if not isinstance(x, Sums):
            raise LoweringError(f"{operation.origin} binarises what is binary already")
        known = id(x), function
        if known not in self.binarised:
            nodes = thresholds(x, function.levels, operation.name, operation.origin)
            self._add(*nodes)
            last = nodes[-1].name
            levels = function.levels
            self.binarised[known] = Levels(last, self.maps[last], levels.low, levels.step)
        return self.binarised[known]

    def _quantise(self, operation: Operation, function: Quantise, x: Edge) -> Levels:
        if isinstance(x, Levels):
            x = level_sums(x)
        if not isinstance(x, Sums) or any(x.centres):
            raise LoweringError(
                f"{operation.origin} takes sums of one layer whose weights have no centres of "
                "their own"
            )
        nodes = multi_thresholds(x, function.steps, operation.name, operation.origin)
        self._add(*nodes)
        last = nodes[-1].name
        steps = function.steps
        return Levels(last, self.maps[last], steps.low * steps.unit, steps.unit)

    def _pool(self, operation: Operation, pool: MaxPool | Upsample, x: Levels) -> Levels:
        falling = np.array([(x.step < 0) != (scale.sign < 0) for scale in x.scales or (ONE,)])
        inverted = np.resize(falling, x.map.channels)
        self._add(pool_node(pool, operation.name, x.node, inverted))
        return replace(x, node=operation.name, map=self.maps[operation.name])

    def _upsampled(self, operation: Operation, function: Upsample, x: Sums) -> Sums:
        """Integers of the input, every pixel several times."""
        self._add(UpsampleNode(operation.name, x.node, function.factor))
        rows, columns = pair(function.factor)
        classes = x.classes.repeat(rows, axis=0).repeat(columns, axis=1)
        return replace(x, node=operation.name, map=self.maps[operation.name], classes=classes)

    def _concat(self, operation: Operation, edges: tuple[Edge, ...]) -> Edge:
        if len(edges) == 1:
            return edges[0]
        bits = [edge for edge in edges if isinstance(edge, Levels)]
        if len(bits) == len(edges):
            return self._join(operation, bits)
        parts: list[Sums] = []
        for edge in edges:
            if isinstance(edge, Levels):
                raise LoweringError(
                    f"{operation.origin} joins bits with sums: binarise all of them, or none"
                )
            parts += edge.parts if isinstance(edge, Joined) else [edge]
        return Joined(tuple(parts))

    def _join(self, operation: Operation, parts: list[Levels]) -> Levels:
        nodes, bits = join_levels(parts, operation.name, operation.origin)
        self._add(*nodes)
        if not any(part.scales for part in parts):
            return bits
        scales = [part.scales or (ONE,) * part.map.channels for part in parts]
        return replace(bits, scales=tuple(scale for each in scales for scale in each))

    def _sum(self, operation: Operation, x: Edge, others: tuple[Edge, ...]) -> Edge:
        for n, other in enumerate(others, 1):
            name = operation.name if n == len(others) else f"{operation.name}_sum{n}"
            nodes, x = add_maps(x, other, name, operation.origin)
            self._add(*nodes)
        return x

    def _average(self, operation: Operation, pool: AveragePool, x: Edge) -> Edge:
        if isinstance(x, Joined):
            return self._of_parts(operation, pool, x)
        x = level_sums(x) if isinstance(x, Levels) else scaled(x, operation.origin)
        if any(x.centres):
            raise LoweringError(
                f"{operation.origin} cannot average these sums exactly: put the model on a "
                "fixed-point grid with prepare(model, grid)"
            )
        source = x.node
        if isinstance(x.map.type, Counts):
            one = np.ones(x.map.channels, np.int64)
            source = f"{operation.name}_counts"
            self._add(Affine(source, x.node, one, 0 * one))
        name, size = operation.name, pool.size
        self._add(SumPool(name, source, size, stride=pool.stride, padding=pool.padding))
        return averaged(pool, x, name, self.maps[name])


def _then(operation: Operation, x: Edge, step: Step) -> Edge:
    """``x`` with one more step behind it."""
    if isinstance(x, Levels) and isinstance(step, Scale):
        return rescaled(x, step, operation.origin)
    if isinstance(x, Levels):
        raise LoweringError(
            f"{operation.origin} stands behind an activation quantiser, where only pools, an "
            "upsampling, a concatenation, a flatten or a layer can be"
        )
    if isinstance(step, TwoSlope) and any(
        slope.sign < 0 for slope in step.positive + step.negative
    ):
        raise LoweringError(
            f"{operation.origin} has negative slopes, so what follows is no threshold: put the "
            "model on a fixed-point grid with prepare(model, grid)"
        )
    if isinstance(x, Joined):
        return Joined(tuple(part.then(_slice(step, x, n)) for n, part in enumerate(x.parts)))
    return x.then(step)


def _part(
    function: Binarise | Quantise | AveragePool, x: Joined, n: int
) -> Binarise | Quantise | AveragePool:
    """The same for the channels of the n-th part of ``x``."""
    where = _range(x, n)
    match function:
        case Binarise(levels):
            thresholds, inverted = _cut(levels.thresholds, where), _cut(levels.inverted, where)
            return Binarise(replace(levels, thresholds=thresholds, inverted=inverted))
        case Quantise(steps):
            rows = tuple(_cut(row, where) for row in steps.thresholds)
            return Quantise(replace(steps, thresholds=rows))
        case _:
            return function


def _slice(step: Step, x: Joined, n: int) -> Step:
    """``step`` for the channels of the n-th part of ``x``."""
    where = _range(x, n)
    match step:
        case Scale():
            return Scale(_cut(step.gain, where), _cut(step.shift, where))
        case TwoSlope():
            return TwoSlope(_cut(step.positive, where), _cut(step.negative, where))
        case _:
            return step


def _cut(values: tuple[_T, ...], where: slice) -> tuple[_T, ...]:
    return values if len(values) == 1 else values[where]


def _range(x: Joined, n: int) -> slice:
    start = sum(part.map.channels for part in x.parts[:n])
    return slice(start, start + x.parts[n].map.channels)


def complement(nodes: list[Node]) -> list[Node]:
    """The same nodes, with filters complemented where their threshold is inverted.

    That makes M of N − M, a sum of products its opposite, and ρ its opposite, and so the
    comparison need not be inverted. For the and gate there is no such thing; nor can it be done
    where something else reads the sums.
    """
    readers = Counter(source for node in nodes for source in node.sources)
    found = {node.name: node for node in nodes}
    for node in nodes:
        if not isinstance(node, Threshold | MultiThreshold) or readers[node.source] > 1:
            continue
        if node.inverted is None:
            continue
        match found.get(node.source):
            case BinaryConv(gate=Gate.XNOR) as layer:
                flipped = node.inverted[:, None, None, None]
                if layer.mask is not None:
                    flipped = flipped & layer.mask
                found[layer.name] = replace(layer, weights=layer.weights ^ flipped)
                found[node.name] = _turn(node, node.inverted, layer.reach)
            case IntegerConv() as layer:
                signs = np.where(node.inverted, -1, 1)[:, None, None, None]
                found[layer.name] = replace(layer, weights=signs * layer.weights)
                found[node.name] = _turn(node, node.inverted, np.zeros(layer.filters, np.int64))
    return list(found.values())


def _turn(
    node: Threshold | MultiThreshold, inverted: NDArray[np.bool_], whole: NDArray[np.int64]
) -> Threshold | MultiThreshold:
    """Thresholds of ``whole − x`` on ``inverted`` channels, on which x was compared inversely."""
    if isinstance(node, MultiThreshold):
        # Of x it was the number of thresholds that are not reached. Those of whole − x ascend, too.
        opposite = whole + 1 - node.thresholds[::-1]
        thresholds = np.where(inverted, opposite, node.thresholds)
        return replace(node, thresholds=thresholds, inverted=None)
    weights = node.popcount_weights
    whole = whole << node.fraction
    return replace(
        node,
        # x < t is the same as whole − x ≥ whole + 1 − t.
        thresholds=np.where(inverted, whole + 1 - node.thresholds, node.thresholds),
        popcount_weights=None if weights is None else np.where(inverted, -weights, weights),
        inverted=None,
    )
