"""The steps of a pipeline: each becomes one component."""

from dataclasses import dataclass
from functools import cached_property

from xnorflow.errors import DesignError
from xnorflow.hw.swu import Windows
from xnorflow.network import (
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    GlobalSum,
    HalvingMaxPool,
    IntegerConv,
    MaxPool,
    PadChannels,
    Subsample,
    Threshold,
    TwoSlope,
)


__all__ = [
    "Accumulate",
    "Append",
    "Bend",
    "Compare",
    "Copy",
    "Cut",
    "Divide",
    "DynamicBend",
    "DynamicCompare",
    "Folding",
    "Gather",
    "Hold",
    "Merge",
    "Multiply",
    "Pad",
    "Peak",
    "Pool",
    "Queue",
    "Scale",
    "Select",
    "Skip",
    "Slide",
    "Step",
    "is_dense",
]


@dataclass(frozen=True)
class Folding:
    """How a layer is folded in time: ``pe`` neurons and ``simd`` synapses a cycle."""

    pe: int
    simd: int

    def __post_init__(self):
        for what, value in (("PE", self.pe), ("SIMD", self.simd)):
            if not isinstance(value, int) or value < 1:
                raise DesignError(f"{what} must be a positive integer, not {value!r}")


@dataclass(frozen=True)
class Gather:
    """Gather ``ratio`` words of ``lanes`` values into one; ``words`` narrow words a vector."""

    name: str
    source: FeatureMap
    lanes: int
    ratio: int
    words: int


@dataclass(frozen=True)
class Divide:
    """Divide a word into ``ratio`` words of ``lanes`` values; ``words`` narrow words a vector."""

    name: str
    source: FeatureMap
    lanes: int
    ratio: int
    words: int


@dataclass(frozen=True)
class Copy:
    """Hand words of ``lanes`` values to several steps."""

    name: str
    source: FeatureMap
    lanes: int
    consumers: int


@dataclass(frozen=True)
class Cut:
    """Keep a layer's ``ready`` from reaching the one before it in the same cycle."""

    name: str
    source: FeatureMap
    lanes: int


@dataclass(frozen=True)
class Queue:
    """Keep words of ``lanes`` values until they are wanted."""

    name: str
    source: FeatureMap
    lanes: int


@dataclass(frozen=True)
class Hold:
    """Keep words of ``lanes`` values until the parameters of their frame have come."""

    name: str
    source: FeatureMap
    lanes: int
    parameters: FeatureMap
    parameter_lanes: int


@dataclass(frozen=True)
class Slide:
    """Repeat pixels as windows, in words of ``lanes`` channels."""

    node: BinaryConv | IntegerConv
    source: FeatureMap
    lanes: int

    @property
    def name(self) -> str:
        return f"{self.node.name}_windows"

    @cached_property
    def windows(self) -> Windows:
        """Geometry of the windows."""
        return Windows(
            self.source,
            kernel=self.node.weights.shape[1:3],
            stride=self.node.stride,
            padding=self.node.padding,
            lanes=self.lanes,
        )


@dataclass(frozen=True)
class Multiply:
    """Multiply vectors with weights: windows, or the whole frame for a dense layer."""

    node: BinaryConv | IntegerConv
    source: FeatureMap
    folding: Folding

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def vectors(self) -> int:
        """Vectors of a frame."""
        delivered = self.node.infer(self.source)
        return delivered.height * delivered.width

    @property
    def synapse_fold(self) -> int:
        """Words of a vector."""
        return -(-self.node.taps // self.folding.simd)

    @property
    def neuron_fold(self) -> int:
        """Groups of neurons that take turns."""
        return -(-self.node.filters // self.folding.pe)

    @property
    def matrix(self):
        """Weights as a matrix, (filters, taps), in the order in which activations come."""
        return self.node.weights.reshape(self.node.filters, self.node.taps)

    @property
    def rows(self) -> int:
        """Rows of the weight memory, clock cycles a vector."""
        return self.synapse_fold * self.neuron_fold

    @property
    def cycles(self) -> int:
        """Clock cycles a frame."""
        return self.vectors * self.rows


@dataclass(frozen=True)
class _Lanewise:
    """What takes words of ``lanes`` values from ``source``, and is named after its node."""

    node: (
        MaxPool
        | Threshold
        | Affine
        | TwoSlope
        | Subsample
        | PadChannels
        | AveragePool
        | HalvingMaxPool
        | GlobalSum
        | ArgMax
    )
    source: FeatureMap
    lanes: int

    @property
    def name(self) -> str:
        return self.node.name


class Pool(_Lanewise):
    """Pool bits."""


class Compare(_Lanewise):
    """Compare with thresholds."""


class Scale(_Lanewise):
    """Scale and shift, and round."""


class Bend(_Lanewise):
    """Multiply by one of two slopes."""


class Skip(_Lanewise):
    """Leave pixels out."""


class Pad(_Lanewise):
    """Add channels of zeros."""


class Peak(_Lanewise):
    """Find the largest value around every other pixel."""


class Accumulate(_Lanewise):
    """Sum windows, or the frame, up."""


class Select(_Lanewise):
    """Find the label."""


@dataclass(frozen=True)
class _Join:
    """What takes words of ``lanes`` values from two steps, and is named after its node."""

    node: Add | Concat
    source: FeatureMap
    other: FeatureMap
    lanes: int

    @property
    def name(self) -> str:
        return self.node.name


class Merge(_Join):
    """Add, value by value."""


class Append(_Join):
    """Put channels behind each other."""


@dataclass(frozen=True)
class _Dynamic:
    """What takes words of ``lanes`` values, and one by one the parameters of their frame."""

    node: DynamicThreshold | DynamicTwoSlope
    source: FeatureMap
    parameters: FeatureMap
    lanes: int

    @property
    def name(self) -> str:
        return self.node.name


class DynamicCompare(_Dynamic):
    """Compare with thresholds of the frame."""


class DynamicBend(_Dynamic):
    """Multiply by one of two slopes, between shifts of the frame."""


Step = (
    Gather
    | Divide
    | Copy
    | Cut
    | Queue
    | Hold
    | Slide
    | Multiply
    | Pool
    | Compare
    | Scale
    | Bend
    | Skip
    | Pad
    | Peak
    | Accumulate
    | Merge
    | Append
    | DynamicCompare
    | DynamicBend
    | Select
)


def is_dense(node: BinaryConv | IntegerConv, source: FeatureMap) -> bool:
    """Whether the kernel covers the whole map, so that it sees each frame as a single vector."""
    return node.weights.shape[1:] == source.shape and node.padding == 0
