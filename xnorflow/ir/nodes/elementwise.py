"""Nodes that join maps, and parameter-free shortcuts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import check_int, check_type, spell_shape
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import MAX_BITS, MAX_SIDE, Counts, FeatureMap, Int, Rounding, check_range


__all__ = ["Add", "Concat", "PadChannels", "Subsample"]


@dataclass(frozen=True)
class Add(Node):
    """Add two maps of integers, value by value: the end of a shortcut.

    Parameters
    ----------
    name, source, other : str
        This node, and the two that feed it.
    bits : int
        Of the result; a sum that does not fit is clipped.
    narrow : bool
        Whether it is clipped to a symmetric range, as by a `Rounding`.
    """

    kind = "add"
    feeds = ("source", "other")
    header = ("other", "bits")
    optional = ("narrow",)

    other: str
    bits: int
    narrow: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"{self.name}: bits", self.bits, 1, MAX_BITS)
        check_type(self.name, "narrow", self.narrow, bool)

    @property
    def rounding(self) -> Rounding:
        """How sums are clipped."""
        return Rounding(0, self.bits, narrow=self.narrow)

    def infer(self, x: FeatureMap, other: FeatureMap) -> FeatureMap:
        """Map that this node delivers for two maps."""
        fraction = check_int(self.name, x)
        if x.shape != other.shape or fraction != check_int(self.name, other):
            raise NetworkError(
                f"{self.name}: it cannot add maps of {spell_shape(x)} and {spell_shape(other)}, "
                "or with different fractional bits"
            )
        return replace(x, type=Int(self.bits, fraction))


@dataclass(frozen=True)
class Concat(Node):
    """Put the channels of maps behind each other: ``source``, ``other``, and then ``more``.

    All are of bits, of codes, or of integers, and of the same type.

    Parameters
    ----------
    name, source, other : str
        This node, and the first two that feed it.
    more : tuple of str
        Any others.
    """

    kind = "concat"
    header = ("other",)
    optional = ("more",)

    other: str
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.more, tuple | list):
            raise NetworkError(f"{self.name}: more sources must be names, not {self.more!r}")
        object.__setattr__(self, "more", tuple(self.more))
        super().__post_init__()

    @classmethod
    def of(cls, name: str, sources: Sequence[str]) -> "Concat":
        """Join of at least two ``sources``."""
        source, other, *more = sources
        return cls(name, source, other, tuple(more))

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of what feeds it, in order."""
        return self.source, self.other, *self.more

    def infer(self, x: FeatureMap, *others: FeatureMap) -> FeatureMap:
        """Map that this node delivers for two maps or more."""
        if isinstance(x.type, Counts):
            raise NetworkError(f"{self.name}: it joins bits, codes or integers, not counts")
        for other in others:
            if (x.height, x.width, x.type) != (other.height, other.width, other.type):
                raise NetworkError(
                    f"{self.name}: it cannot join maps of {spell_shape(x)} and "
                    f"{spell_shape(other)}, or of different types"
                )
        return replace(x, channels=x.channels + sum(other.channels for other in others))


@dataclass(frozen=True)
class Subsample(Node):
    """Every ``stride``-th row and column, from the first on: a shortcut without parameters.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    stride : int
        At least 2.
    """

    kind = "subsample"
    header = ("stride",)

    stride: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"{self.name}: stride", self.stride, 2, MAX_SIDE)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_int(self.name, x)
        return replace(x, height=-(-x.height // self.stride), width=-(-x.width // self.stride))


@dataclass(frozen=True)
class PadChannels(Node):
    """Channels of zeros before and after those of a map of integers.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    before, after : int
        How many.
    """

    kind = "pad_channels"
    header = ("before", "after")

    before: int
    after: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"{self.name}: channels before", self.before, 0, MAX_SIDE)
        check_range(f"{self.name}: channels after", self.after, 0, MAX_SIDE)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_int(self.name, x)
        return replace(x, channels=self.before + x.channels + self.after)
