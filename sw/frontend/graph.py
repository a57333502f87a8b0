"""Graph of exact numbers that front ends deliver, for `xnorflow.sw.lowering`.

Values are those of the model in exact arithmetic. A scale may be irrational, since batch
normalisation divides by a standard deviation and AdaBin multiplies with one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir.windows import Padding, Pair
from xnorflow.sw.lowering.roots import Root, RootSum
from xnorflow.sw.nn.quantiser import ActivationLevels, ActivationSteps


__all__ = [
    "AveragePool",
    "Binarise",
    "Clip",
    "Concat",
    "Flatten",
    "Graph",
    "MaxPool",
    "Operation",
    "Quantise",
    "Scale",
    "Sum",
    "TwoSlope",
    "Upsample",
    "WeightedSum",
    "Weights",
]


@dataclass(frozen=True, eq=False)
class Weights:
    """Levels ``scale[f] · (code[f, …] + centre[f] · 2^−fraction)``.

    Attributes
    ----------
    code : int array, (filters, rows, columns, channels), or (filters, features)
        ±1 for binary weights, otherwise integers. Features are in the order of PyTorch's flatten:
        channel, row, column.
    binary : bool
    scales : tuple of Root, (filters,)
    centres : tuple of int, (filters,)
        ρ, 0 but for binary weights; it is 2^fraction for weights {0, 2·scale}.
    fraction : int
    """

    code: NDArray[np.int64]
    binary: bool
    scales: tuple[Root, ...]
    centres: tuple[int, ...]
    fraction: int = 0


@dataclass(frozen=True, eq=False)
class Scale:
    """``gain[c] · x + shift[c]``: batch normalisation, biases, constants.

    Attributes
    ----------
    gain : tuple of Root, (channels,) or (1,)
    shift : tuple of RootSum, (channels,) or (1,)
    """

    gain: tuple[Root, ...]
    shift: tuple[RootSum, ...]


@dataclass(frozen=True, eq=False)
class TwoSlope:
    """``p[c] · max(x, 0) + n[c] · min(x, 0)``: PReLU and ReLU; (channels,) or (1,) each."""

    positive: tuple[Root, ...]
    negative: tuple[Root, ...]


@dataclass(frozen=True)
class Clip:
    """``x`` within ``low`` … ``high``, where there are such limits: hardtanh."""

    low: RootSum | None
    high: RootSum | None


@dataclass(frozen=True)
class MaxPool:
    """Largest value of windows; what is outside the frame does not count.

    Attributes
    ----------
    size, stride, padding
        As nodes have them.
    """

    size: Pair
    stride: Pair | None = None
    padding: Padding = 0


@dataclass(frozen=True)
class AveragePool:
    """Sum of windows, divided by a number of pixels; what is outside the frame is 0.

    Attributes
    ----------
    size, stride, padding
        As nodes have them.
    counted : Padding
        The pixels outside the frame that count in the divisor.
    divisor : int or None
        What to divide by, whatever counts.
    """

    size: Pair
    stride: Pair | None = None
    padding: Padding = 0
    counted: Padding = 0
    divisor: int | None = None


@dataclass(frozen=True)
class Upsample:
    """Every pixel several times: rows and columns."""

    factor: Pair


@dataclass(frozen=True)
class Flatten:
    """A vector of all values, in the order channel, row, column."""


@dataclass(frozen=True, eq=False)
class Binarise:
    """One of two levels, by a threshold for each channel or for all of them."""

    levels: ActivationLevels


@dataclass(frozen=True, eq=False)
class Quantise:
    """One of several levels, by thresholds for each channel or for all of them."""

    steps: ActivationSteps


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """Convolution or dense layer, of bits or of an input of integers.

    Attributes
    ----------
    weights : Weights
    stride, padding, dilation, groups
        Of a convolution, as nodes have them.
    lower_border : bool
        Whether taps outside the frame stand for the lower level, and not for the number 0.
    dense : bool
        Whether every window is the whole map.
    """

    weights: Weights
    stride: Pair = 1
    padding: Padding = 0
    dilation: Pair = 1
    groups: int = 1
    lower_border: bool = False
    dense: bool = False

    @property
    def windows(self) -> dict[str, Any]:
        """Fields of a node."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


@dataclass(frozen=True)
class Concat:
    """The channels of several maps behind each other."""


@dataclass(frozen=True)
class Sum:
    """Several maps, added value by value."""


Function = (
    Scale
    | TwoSlope
    | Clip
    | MaxPool
    | AveragePool
    | Upsample
    | Flatten
    | Binarise
    | Quantise
    | WeightedSum
    | Concat
    | Sum
)


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of what other operations deliver.

    Attributes
    ----------
    name : str
        Unlike any other, as nodes of a network are named.
    origin : str
        What a user calls it, for errors: where it stands in the model, and what it is.
    function : Function
    sources : tuple of str
        Names of operations, or `xnorflow.ir.INPUT`.
    """

    name: str
    origin: str
    function: Function
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations, each after its sources; the last one has the scores, if there are no heads.

    Attributes
    ----------
    operations : tuple of Operation
    heads : tuple of (str, str)
        Of a model with several outputs, the name of each, and of the operation with its scores.
    """

    operations: tuple[Operation, ...]
    heads: tuple[tuple[str, str], ...] = ()
