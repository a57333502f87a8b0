"""Stages of nodes: what a node becomes, and the lanes of the words in front of it.

A layer delivers as many values a word as it has PE. Behind it, arithmetic on integers costs
multipliers for every lane; so an `Affine` and a `TwoSlope` get the fewest lanes that keep the pace,
and wider words are divided in front of them. A node that joins two streams widens the narrower one.
In front of each layer, where words are narrow, paths of ``ready`` are cut, so that none gets longer
as networks grow.
"""

from dataclasses import dataclass
from math import gcd
from typing import ClassVar

from xnorflow.errors import DesignError
from xnorflow.hw.streams.fifo import FifoStage
from xnorflow.hw.streams.stage import Stage
from xnorflow.hw.streams.width_converters import WidthConverterStage, WidthDividerStage
from xnorflow.ir import FeatureMap, Node


__all__ = [
    "EvenStage",
    "JoinStage",
    "LaneStage",
    "NodeStage",
    "PacedStage",
    "Segment",
    "check_pixels",
    "divisors",
    "even_lanes",
    "fewest",
    "queued",
]


@dataclass(frozen=True)
class Segment:
    """The stages that a node becomes.

    Attributes
    ----------
    ahead : tuple of tuple of Stage
        For each of its sources, what words pass before they reach ``stage``.
    stage : Stage
        What computes.
    lanes : int
        Values a word that it delivers.
    """

    ahead: tuple[tuple[Stage, ...], ...]
    stage: Stage
    lanes: int

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All of them."""
        return (*(stage for ahead in self.ahead for stage in ahead), self.stage)


class NodeStage(Stage):
    """The stage that a node becomes, and that has its name.

    Attributes
    ----------
    node : Node
    paced : bool
        Whether its lanes depend on the pace.
    """

    paced: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.node.name

    @classmethod
    def segment(cls, node, sources, fed, folding, pace) -> Segment:
        """Find out what ``node`` becomes.

        Parameters
        ----------
        node : Node
            What to build.
        sources : tuple of FeatureMap
            The maps that come in.
        fed : tuple of int
            Values a word in which each of them comes.
        folding : Folding or None
            Of a layer.
        pace : int
            Clock cycles that a frame may take.

        Raises
        ------
        DesignError
            If the folding or the lanes do not work out.
        """
        check_borders(node, sources, fed)
        return Segment(((),), cls(node, *sources, *fed), *fed)

    @classmethod
    def foldings(cls, node, source, lanes) -> list:
        """Foldings that it may have, if it is fed ``lanes`` values a word."""
        return [None]


@dataclass(frozen=True)
class LaneStage(NodeStage):
    """A stage that takes words of ``lanes`` values from ``source``."""

    node: Node
    source: FeatureMap
    lanes: int

    def build(self, device, depth):
        return self.component(self.node, self.source, lanes=self.lanes)


class EvenStage(LaneStage):
    """A stage that does not take the spare lanes of a word."""

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        (source,), (lanes,) = sources, fed
        (even,) = even_lanes(node, sources, fed)
        return Segment((adapted(node.name, source, lanes, even),), cls(node, source, even), even)


class PacedStage(LaneStage):
    """A stage that has a multiplier a lane, and gets the fewest that keep the pace."""

    paced = True

    @classmethod
    def segment(cls, node, sources, fed, folding, pace):
        check_borders(node, sources, fed)
        (source,), (lanes,) = sources, fed
        # A word of a whole pixel, such as a dense layer's, stays as it is.
        few = lanes
        if source.size > source.channels and source.channels % lanes == 0:
            few = fewest(source.size, lanes, pace)
        return Segment((adapted(node.name, source, lanes, few),), cls(node, source, few), few)

    def build(self, device, depth):
        return self.component(self.node, self.source, lanes=self.lanes, device=device)


@dataclass(frozen=True)
class JoinStage(NodeStage):
    """A stage that takes words of ``lanes`` values from two others."""

    node: Node
    source: FeatureMap
    other: FeatureMap
    lanes: int

    inputs = ("i", "i_other")

    def build(self, device, depth):
        return self.component(self.node, self.source, self.other, lanes=self.lanes)


def divisors(number: int) -> list[int]:
    """Find the divisors of a number, the least first."""
    return [n for n in range(1, number + 1) if number % n == 0]


def fewest(size, most, pace):
    """Fewest lanes, a divisor of ``most``, in which ``size`` values come within ``pace`` cycles."""
    return next((lanes for lanes in divisors(most) if size // lanes <= pace), most)


def adapted(name, source, lanes, wanted):
    """Stages that turn words of ``lanes`` values into words of ``wanted`` ones."""
    common = gcd(lanes, wanted)
    stages = []
    if common < lanes:
        words = -(-source.channels // common)
        stages.append(FifoStage(f"{name}_split_queue", source, lanes))
        stages.append(WidthDividerStage(f"{name}_split", source, common, lanes // common, words))
    if common < wanted:
        ratio, words = wanted // common, source.channels // common
        stages.append(WidthConverterStage(f"{name}_width", source, common, ratio, words))
    return tuple(stages)


def queued(name, source, lanes, wanted):
    """The same, and a queue behind them."""
    return *adapted(name, source, lanes, wanted), FifoStage(f"{name}_queue", source, wanted)


def even_lanes(node, sources, fed):
    """For each source, the most lanes of those that feed it that divide its channels."""
    for source, lanes in zip(sources, fed, strict=True):
        check_pixels(node, source, lanes)
    return [gcd(source.channels, lanes) for source, lanes in zip(sources, fed, strict=True)]


def check_borders(node, sources, fed):
    """Check that words do not cut pixels, if what happens to one depends on where it is."""
    if getattr(node, "classes", None) is not None:
        check_pixels(node, *sources, *fed)


def check_pixels(node, source, lanes, *, spare=True):
    """Check that words do not cut pixels; they may be larger than a lone one."""
    if source.channels % lanes and not (spare and source.size == source.channels):
        raise DesignError(
            f"{node.name}: the {lanes} lanes that feed it must divide its "
            f"{source.channels} channels"
        )
