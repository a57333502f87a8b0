"""Comparisons with static thresholds."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import (
    MAX_LEVEL_BITS,
    bounds_of,
    check_channels,
    check_classes,
    check_popcount,
    freeze,
    freeze_classes,
)
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import MAX_FRACTION, Bit, FeatureMap, UInt, check_range


__all__ = ["MultiThreshold", "Threshold"]


@dataclass(frozen=True, eq=False)
class Threshold(Node):
    """Compare every value with its channel's threshold: counts or integers → bit.

    ``y[r, c, k] = (2^fraction · x[r, c, k] + popcount_weights[k] · P[r, c] ≥ thresholds[k])``,
    complemented on channels that are ``inverted``. With ``classes``, it is
    ``thresholds[classes[r, c], k]``: windows that reach outside the frame have other thresholds.

    A threshold equal to the smallest left side makes the comparison constant 1, one above the
    largest constant 0: that is how degenerate channels are written.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    thresholds : int array, (channels,), or (border classes, channels) with ``classes``
    popcount_weights : int array, (channels,), optional
        ρ of each channel in units of 2^−fraction; needs counts that carry P.
    fraction : int
        Fractional bits of ρ.
    inverted : bool array, (channels,), optional
        Channels whose comparison is inverted (a negative batch-norm scale with the and gate).
    classes : int array, (height, width), optional
        Border class of each pixel: 0, 1, …, each of which occurs.
    """

    kind = "threshold"
    header = ("fraction",)

    thresholds: NDArray[np.int64]
    popcount_weights: NDArray[np.int64] | None = None
    fraction: int = 0
    inverted: NDArray[np.bool_] | None = None
    classes: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze(self, "thresholds", np.int64, 1 if self.classes is None else 2)
        for what, dtype in (("popcount_weights", np.int64), ("inverted", np.bool_)):
            if getattr(self, what) is not None:
                freeze(self, what, dtype, 1, shape=(self.channels,))
        check_range(f"{self.name}: fraction", self.fraction, 0, MAX_FRACTION)
        if self.classes is not None:
            freeze_classes(self, len(self.thresholds))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.thresholds.shape[-1]

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest left side of the comparison, per channel: two (channels,) arrays."""
        factor = np.full(self.channels, 1 << self.fraction, np.int64)
        return bounds_of(self.name, x, factor, self.popcount_weights, np.zeros_like(factor)[None])

    def clipped(self, x: FeatureMap) -> "Threshold":
        """The same comparison of the map ``x``, with thresholds in the range that `infer` accepts.

        Those below it make a constant 1, those above it a constant 0, and so do its ends.
        """
        low, high = self.bounds(x)
        return replace(self, thresholds=np.clip(self.thresholds, low, high + 1))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_channels(self.name, self.channels, x, bits=True)
        check_popcount(self.name, self.popcount_weights is not None, x)
        check_classes(self, x)
        low, high = self.bounds(x)
        if np.any(self.thresholds < low) or np.any(self.thresholds > high + 1):
            raise NetworkError(
                f"{self.name}: a threshold lies outside the range of what it is compared with"
            )
        return FeatureMap(x.height, x.width, x.channels, Bit())


@dataclass(frozen=True, eq=False)
class MultiThreshold(Node):
    """Count the thresholds of its channel that every value reaches: of any type → integers.

    ``y[r, c, k] = #{i: x[r, c, k] ≥ thresholds[i, k]}``, and ``steps − #{…}`` on channels that are
    ``inverted``. With ``classes``, it is ``thresholds[i, classes[r, c], k]``. So activations of few
    bits are made (QONNX: MultiThreshold). With ``levels``, the result is ``levels[y]``.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    thresholds : int array, (steps, channels), or (steps, border classes, channels) with ``classes``
        In ascending order for each channel, equal ones allowed; those of a `Threshold` otherwise.
    inverted : bool array, (channels,), optional
        Channels on which a larger x gives a smaller value (a negative batch-norm scale).
    classes : int array, (height, width), optional
        As for `Threshold`.
    levels : tuple of int, (steps + 1,), optional
        Rising codes, from 0 up to 15 at most, where they are others than 0, 1, 2, …
    """

    kind = "multi_threshold"
    optional = ("levels",)

    thresholds: NDArray[np.int64]
    inverted: NDArray[np.bool_] | None = None
    classes: NDArray[np.int64] | None = None
    levels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze(self, "thresholds", np.int64, 2 if self.classes is None else 3)
        if self.inverted is not None:
            freeze(self, "inverted", np.bool_, 1, shape=(self.channels,))
        check_range(f"{self.name}: thresholds of a channel", self.steps, 1, 2**MAX_LEVEL_BITS - 1)
        if np.any(np.diff(self.thresholds, axis=0) < 0):
            raise NetworkError(f"{self.name}: the thresholds of a channel must ascend")
        if self.classes is not None:
            freeze_classes(self, self.thresholds.shape[1])
        self._check_levels()

    def _check_levels(self) -> None:
        """Make a tuple of the levels, and None of those that say nothing."""
        levels = self.levels
        if levels is None:
            return
        whole = isinstance(levels, tuple | list) and all(type(each) is int for each in levels)
        if (
            not whole
            or len(levels) != self.steps + 1
            or list(levels) != sorted({*levels})
            or not 0 == levels[0] < levels[-1] < 2**MAX_LEVEL_BITS
        ):
            raise NetworkError(
                f"{self.name}: levels must be {self.steps + 1} rising integers from 0 to "
                f"{2**MAX_LEVEL_BITS - 1} at most, not {levels!r}"
            )
        plain = levels[-1] == self.steps
        object.__setattr__(self, "levels", None if plain else tuple(levels))

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes that it delivers, by the number of thresholds that are reached."""
        return self.levels or tuple(range(self.steps + 1))

    @property
    def steps(self) -> int:
        """Thresholds of each channel."""
        return self.thresholds.shape[0]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.thresholds.shape[-1]

    @property
    def type(self) -> UInt:
        """Narrowest type of the results."""
        return UInt(self.codes[-1].bit_length())

    def repeated(self) -> NDArray[np.int64]:
        """Thresholds that give the same without ``levels``: each once for every code it adds."""
        gaps = np.diff(self.codes)
        falling = np.repeat(self.thresholds, gaps[::-1], axis=0)
        rising = np.repeat(self.thresholds, gaps, axis=0)
        return rising if self.inverted is None else np.where(self.inverted, falling, rising)

    def clipped(self, x: FeatureMap) -> "MultiThreshold":
        """The same for the map ``x``, with thresholds in the range that `infer` accepts."""
        return replace(self, thresholds=np.clip(self.thresholds, x.type.low, x.type.high + 1))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_channels(self.name, self.channels, x, bits=True)
        check_popcount(self.name, False, x)
        check_classes(self, x)
        if np.any(self.thresholds < x.type.low) or np.any(self.thresholds > x.type.high + 1):
            raise NetworkError(
                f"{self.name}: a threshold lies outside the range of what it is compared with"
            )
        return FeatureMap(x.height, x.width, x.channels, self.type)
