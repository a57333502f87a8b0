"""Scales, shifts and slopes of channels."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.checks import (
    MAX_WEIGHT_BITS,
    bounds_of,
    check_channels,
    check_classes,
    check_int,
    check_popcount,
    check_type,
    freeze,
    freeze_classes,
    sum_type,
)
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.values import FeatureMap, Rounding, int_bits


__all__ = ["Affine", "TwoSlope", "freeze_slopes"]


@dataclass(frozen=True, eq=False)
class Affine(Node):
    """Scale and shift every channel in integers: counts or integers → integers.

    ``y[r, c, k] = scale[k] · x[r, c, k] + popcount_scale[k] · P[r, c] + offset[k]``, and then
    ``rounding``. With ``classes``, it is ``offset[classes[r, c], k]``.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    scale : int array, (channels,)
    offset : int array, (channels,), or (border classes, channels) with ``classes``
    popcount_scale : int array, (channels,), optional
        Needs counts that carry P.
    classes : int array, (height, width), optional
        Border class of each pixel: 0, 1, …, each of which occurs.
    rounding : Rounding, optional
        Without it, the result is of the narrowest type that holds it.
    """

    kind = "affine"
    header = ("rounding",)

    scale: NDArray[np.int64]
    offset: NDArray[np.int64]
    popcount_scale: NDArray[np.int64] | None = None
    classes: NDArray[np.int64] | None = None
    rounding: Rounding | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze(self, "scale", np.int64, 1)
        freeze(self, "offset", np.int64, 1 if self.classes is None else 2)
        if self.offset.shape[-1] != self.scale.size:
            raise NetworkError(f"{self.name}: offset has the wrong shape {self.offset.shape}")
        if self.popcount_scale is not None:
            freeze(self, "popcount_scale", np.int64, 1, shape=self.scale.shape)
        if self.classes is not None:
            freeze_classes(self, len(self.offset))
        if self.rounding is not None:
            check_type(self.name, "rounding", self.rounding, Rounding)

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest value of each channel before rounding: two (channels,) arrays."""
        return bounds_of(self.name, x, self.scale, self.popcount_scale, np.atleast_2d(self.offset))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_channels(self.name, self.scale.size, x)
        check_popcount(self.name, self.popcount_scale is not None, x)
        check_classes(self, x)
        low, high = self.bounds(x)
        bits = int_bits(int(low.min()), int(high.max()))
        type_ = self.rounding.type if self.rounding else sum_type(self.name, bits)
        return FeatureMap(x.height, x.width, x.channels, type_)


@dataclass(frozen=True, eq=False)
class TwoSlope(Node):
    """Multiply every value by one of its channel's slopes: integers → integers.

    ``y[r, c, k] = positive[k] · x if x ≥ 0 else negative[k] · x``, and then ``rounding``: PReLU,
    and AdaBin's Maxout. RPReLU is one too, its biases being parts of what is before and behind it.

    Parameters
    ----------
    name, source : str
        This node, and the node that feeds it.
    positive, negative : int array, (channels,)
        At most 16 bits each; ``rounding.shift`` of them are fractional.
    rounding : Rounding
    """

    kind = "two_slope"
    header = ("rounding",)

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    rounding: Rounding

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze_slopes(self)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        check_int(self.name, x)
        check_channels(self.name, self.positive.size, x)
        return replace(x, type=self.rounding.type)


def freeze_slopes(node: Any) -> None:
    """As `freeze`, for both slopes; and check the rounding behind them."""
    check_type(node.name, "rounding", node.rounding, Rounding)
    freeze(node, "positive", np.int64, 1)
    freeze(node, "negative", np.int64, 1, shape=node.positive.shape)
    slopes = np.concatenate([node.positive, node.negative])
    bits = int_bits(int(slopes.min()), int(slopes.max()))
    if bits > MAX_WEIGHT_BITS:
        raise NetworkError(f"{node.name}: its slopes need {bits} bits, more than {MAX_WEIGHT_BITS}")
