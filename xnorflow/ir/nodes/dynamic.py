"""Input-dependent thresholds and shifts."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import (
    MAX_SCALE_BITS,
    check_channels,
    check_int,
    check_parameters,
)
from xnorflow.ir.nodes.affine import freeze_slopes
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import MAX_SIDE, Bit, FeatureMap, Rounding, check_range


__all__ = ["DynamicThreshold", "DynamicTwoSlope"]


@dataclass(frozen=True)
class DynamicThreshold(Node):
    """Compare every value with a threshold that the frame itself has: integers → bit.

    ``y[r, c, k] = (scale · x[r, c, k] ≥ parameters[0, 0, first + k])``. A map of parameters that
    has a single channel is the threshold of all channels: a frame's mean is ``scale`` = the number
    of its values, and their sum.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    parameters : str
        The node that delivers a 1×1 map of integers for each frame.
    first : int
        Channel of that map which belongs to channel 0.
    scale : int
        At least 1.
    """

    kind = "dynamic_threshold"
    feeds = ("source", "parameters")
    header = ("parameters", "first", "scale")

    parameters: str
    first: int = 0
    scale: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"{self.name}: first", self.first, 0, MAX_SIDE)
        check_range(f"{self.name}: scale", self.scale, 1, (1 << MAX_SCALE_BITS) - 1)

    def infer(self, x: FeatureMap, parameters: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x`` and its parameters."""
        shared = parameters.channels == 1
        check_parameters(self.name, x, parameters, self.first + (1 if shared else x.channels))
        return replace(x, type=Bit())


@dataclass(frozen=True, eq=False)
class DynamicTwoSlope(Node):
    """`TwoSlope` between two shifts that the frame itself has: integers → integers.

    With ``z = x[r, c, k] + parameters[0, 0, first + k]``, ``y[r, c, k] = ((positive[k] · z if z ≥ 0
    else negative[k] · z) + 2^(shift − 1) >> shift) + parameters[0, 0, first + channels + k]``, and
    only that is clipped: DyPReLU.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    parameters : str
        The node that delivers a 1×1 map of integers for each frame.
    positive, negative, rounding
        As for `TwoSlope`.
    first : int
        Channel of the map of parameters which belongs to channel 0.
    """

    kind = "dynamic_two_slope"
    feeds = ("source", "parameters")
    header = ("parameters", "first", "rounding")

    parameters: str
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    rounding: Rounding
    first: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze_slopes(self)
        check_range(f"{self.name}: first", self.first, 0, MAX_SIDE)

    def infer(self, x: FeatureMap, parameters: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x`` and its parameters."""
        check_int(self.name, x)
        check_channels(self.name, self.positive.size, x)
        check_parameters(self.name, x, parameters, self.first + 2 * x.channels)
        if self.rounding.fraction != check_int(self.name, x):
            raise NetworkError(f"{self.name}: its result must have its source's fractional bits")
        return replace(x, type=self.rounding.type)
