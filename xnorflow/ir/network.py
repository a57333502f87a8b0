"""A network: a checked graph of nodes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import INPUT, check_scores, check_type
from xnorflow.ir.heads import Head, check_text
from xnorflow.ir.nodes.argmax import ArgMax
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.nodes.threshold import MultiThreshold, Threshold
from xnorflow.ir.values import (
    Bit,
    FeatureMap,
    Int,
    Quantisation,
    UInt,
    check_range,
)


__all__ = ["Network", "Provenance", "clip_thresholds"]


@dataclass(frozen=True)
class Provenance:
    """Where a network came from; nothing here changes what it computes."""

    dataset: str = ""
    model: str = ""
    method: str = ""
    recipe: str = ""
    seed: int | None = None
    epochs: int | None = None
    float_accuracy: float | None = None
    """Accuracy of the PyTorch model on the test set, a fraction."""

    def __post_init__(self) -> None:
        for what in ("dataset", "model", "method", "recipe"):
            check_text(f"provenance: {what}", getattr(self, what), shortest=0)
        for what in ("seed", "epochs"):
            if getattr(self, what) is not None:
                check_range(f"provenance: {what}", getattr(self, what), 0, (1 << 63) - 1)
        accuracy = self.float_accuracy
        if accuracy is not None and not (isinstance(accuracy, float) and 0 <= accuracy <= 1):
            raise NetworkError(f"provenance: accuracy must be from 0.0 to 1.0, not {accuracy!r}")


@dataclass(frozen=True, eq=False)
class Network:
    """A network in integers: a checked graph of nodes.

    Parameters
    ----------
    name : str
    input : FeatureMap
        One frame, usually raw pixels of type ``UInt(8)``.
    nodes : tuple of Node
        In an order in which every node comes after what feeds it. The last one is an `ArgMax`, or
        delivers a 1×1 map of scores: a regression, or whatever needs no label.
    labels : tuple of str
        Names of the classes; none without an `ArgMax`.
    provenance : Provenance
    quantisation : Quantisation, optional
        What the input's integers stand for, if frames may also come as floating-point numbers.
    heads : tuple of Head
        Parts of the scores, all of them in order, of a network with several outputs. Such a
        network has no `ArgMax`: each head's label follows from its scores.

    Attributes
    ----------
    maps : mapping of str to FeatureMap
        What the input and each node deliver.

    Raises
    ------
    NetworkError
        If names repeat, an edge leads nowhere, a node is not used, or shapes and types do not fit.
    """

    name: str
    input: FeatureMap
    nodes: tuple[Node, ...] = field(repr=False)
    labels: tuple[str, ...]
    provenance: Provenance = field(default_factory=Provenance)
    quantisation: Quantisation | None = None
    heads: tuple[Head, ...] = ()
    maps: Mapping[str, FeatureMap] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "heads", tuple(self.heads))
        check_text("a network's name", self.name)
        check_type(self.name, "provenance", self.provenance, Provenance)
        self._check_input()
        object.__setattr__(self, "maps", MappingProxyType(self._infer()))
        check_scores(self.name, self.maps[self.scores])
        self._check_labels()
        self._check_heads()

    def _check_input(self) -> None:
        check_type(self.name, "input", self.input, FeatureMap)
        if not isinstance(self.input.type, UInt | Int | Bit):
            raise NetworkError(f"{self.name}: the input must be pixels, not counts")
        if isinstance(self.input.type, Int) and self.input.type.fraction:
            raise NetworkError(f"{self.name}: the input must be integers, without a fraction")
        if self.quantisation is not None:
            check_type(self.name, "quantisation", self.quantisation, Quantisation)

    def _infer(self) -> dict[str, FeatureMap]:
        """Feature maps of the input and of each node, by name."""
        if not self.nodes:
            raise NetworkError(f"{self.name}: there must be at least one node")
        maps = {INPUT: self.input}
        for node in self.nodes:
            check_type(self.name, "a node", node, Node)
            if node.name in maps:
                raise NetworkError(f"{self.name}: two nodes are named {node.name!r}")
            for source in node.sources:
                if source not in maps:
                    raise NetworkError(
                        f"{node.name}: its source {source!r} does not come before it"
                    )
            maps[node.name] = node.infer(*(maps[source] for source in node.sources))
        used = {source for node in self.nodes for source in node.sources}
        unused = maps.keys() - used - {self.nodes[-1].name}
        if unused:
            raise NetworkError(f"{self.name}: nothing uses {', '.join(sorted(unused))}")
        return maps

    def _check_labels(self) -> None:
        for label in self.labels:
            check_text(f"{self.name}: a label", label)
        if len(set(self.labels)) != len(self.labels):
            raise NetworkError(f"{self.name}: two classes have the same label")
        if self.label is None and self.labels:
            raise NetworkError(f"{self.name}: there are labels, but no ArgMax to choose one")
        classes = max(2, self.maps[self.scores].channels)
        if self.label is not None and len(self.labels) != classes:
            raise NetworkError(
                f"{self.name}: there are {len(self.labels)} labels for {classes} classes"
            )

    def _check_heads(self) -> None:
        for head in self.heads:
            check_type(self.name, "a head", head, Head)
        if self.heads and self.label is not None:
            raise NetworkError(f"{self.name}: with several heads there is no label of all scores")
        if len({head.name for head in self.heads}) < len(self.heads):
            raise NetworkError(f"{self.name}: two heads have the same name")
        scores, classes = self.maps[self.scores].channels, sum(h.classes for h in self.heads)
        if self.heads and classes != scores:
            raise NetworkError(
                f"{self.name}: its heads have {classes} scores, but it delivers {scores}"
            )

    @property
    def scores(self) -> str:
        """Name of the node that delivers the scores."""
        return self.nodes[-1].name if self.label is None else self.nodes[-1].source

    @property
    def label(self) -> str | None:
        """Name of the `ArgMax` that delivers the label, if there is one."""
        return self.nodes[-1].name if isinstance(self.nodes[-1], ArgMax) else None


def clip_thresholds(frame: FeatureMap, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Nodes of somebody else's network, with thresholds in the range that nodes accept.

    A `Network` takes no thresholds beyond what they are compared with, since where one is made they
    would be a mistake; other programs write constant bits like that.

    Parameters
    ----------
    frame : FeatureMap
        The network's input.
    nodes : sequence of Node
        Each after what feeds it. Those behind one that does not fit what feeds it stay as they
        are: `Network` says what is wrong.
    """
    maps = {INPUT: frame}
    clipped: list[Node] = []
    for node in nodes:
        feeds = [maps[source] for source in node.sources if source in maps]
        with suppress(NetworkError):
            if isinstance(node, Threshold | MultiThreshold) and feeds:
                node = node.clipped(*feeds)
            if len(feeds) == len(node.sources):
                maps[node.name] = node.infer(*feeds)
        clipped.append(node)
    return tuple(clipped)
