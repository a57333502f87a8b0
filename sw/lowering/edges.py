"""Exact descriptions of the values on an edge while a graph is lowered."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.ir import FeatureMap
from xnorflow.sw.frontend.graph import Clip, MaxPool, Scale, TwoSlope, Upsample
from xnorflow.sw.lowering.roots import ZERO, Root, RootSum


__all__ = ["Edge", "Joined", "Levels", "Step", "Sums", "scaled", "spread", "total"]

_T = TypeVar("_T")

Step = Scale | TwoSlope | Clip | MaxPool | Upsample
"""Functions that can come between a sum and the comparison that makes a bit of it."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Two levels of activations, or several: ``low + step · u``.

    Their bits or codes u are what a node delivers.

    Attributes
    ----------
    node : str
    map : FeatureMap
        What the node delivers.
    low, step : Fraction
    scales : tuple of Root, (channels,), or empty
        Factors of all that, where channels have their own.
    """

    node: str
    map: FeatureMap
    low: Fraction
    step: Fraction
    scales: tuple[Root, ...] = ()


@dataclass(frozen=True, eq=False)
class Sums:
    """Function of an integer map: ``gain[k] · (x + centre[k]·2^−fraction·P) + offset``, and steps.

    The integer x is what a node delivers, P the popcount that goes along with it, and the offset
    that of the channel k and of the pixel's border class.

    Attributes
    ----------
    node : str
    map : FeatureMap
        What the node delivers.
    gains : tuple of Root, (channels,)
    offsets : tuple of tuple of RootSum, (border classes, channels)
    classes : int array, (height, width)
        Border class of each pixel.
    bounds : tuple of (int, int), (channels,)
        Smallest and largest x.
    centres : tuple of int, (channels,)
    fraction : int
    shares : tuple of Fraction, (border classes,)
        Positive factors of the gains, where these depend on the pixel.
    steps : tuple of Step
        In the order in which they are applied.
    """

    node: str
    map: FeatureMap
    gains: tuple[Root, ...]
    offsets: tuple[tuple[RootSum, ...], ...]
    classes: NDArray[np.int64]
    bounds: tuple[tuple[int, int], ...]
    centres: tuple[int, ...] = ()
    fraction: int = 0
    shares: tuple[Fraction, ...] = ()
    steps: tuple[Step, ...] = ()

    def then(self, step: Step) -> "Sums":
        """The same with one more ``step``."""
        return replace(self, steps=(*self.steps, step))


@dataclass(frozen=True, eq=False)
class Joined:
    """Channels of several maps behind each other."""

    parts: tuple[Sums, ...]


Edge = Levels | Sums | Joined


def spread(values: tuple[_T, ...], channels: int, origin: str) -> tuple[_T, ...]:
    """One of ``values`` for each channel, if there is one for each or one for all.

    Raises
    ------
    LoweringError
        If there are other numbers of them.
    """
    if len(values) not in (1, channels):
        raise LoweringError(f"{origin} has {len(values)} channels, but it gets {channels}")
    return values * (channels // len(values))


def scaled(sums: Sums, origin: str) -> Sums:
    """The same without steps, all of which must be scales.

    Raises
    ------
    LoweringError
        If one of them is something else.
    """
    if not all(isinstance(step, Scale) for step in sums.steps):
        raise LoweringError(
            f"{origin} takes sums that are only scaled and shifted: binarise them first, or put "
            "the model on a fixed-point grid with prepare(model, grid)"
        )
    if sums.shares:
        raise LoweringError(
            f"{origin} takes averages of as many pixels everywhere: count those outside the frame, "
            "as in AvgPool2d(count_include_pad=True), or binarise the averages first"
        )
    gains, offsets = list(sums.gains), [list(row) for row in sums.offsets]
    for step in sums.steps:
        assert isinstance(step, Scale)
        step_gains = spread(step.gain, len(gains), origin)
        shifts = spread(step.shift, len(gains), origin)
        gains = [gain * root for gain, root in zip(gains, step_gains, strict=True)]
        offsets = [
            [
                offset * root + shift
                for offset, root, shift in zip(row, step_gains, shifts, strict=True)
            ]
            for row in offsets
        ]
    return replace(sums, gains=tuple(gains), offsets=tuple(map(tuple, offsets)), steps=())


def total(sums: list[RootSum]) -> RootSum:
    """Sum of ``sums``."""
    return reduce(RootSum.__add__, sums, ZERO)
