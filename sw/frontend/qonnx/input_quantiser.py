"""A quantiser in front of the first layer: what it delivers becomes the network's input.

The host quantises: the values that a model takes, less a scale and a shift in front of the
quantiser, are those that the integers of a frame stand for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from xnorflow.errors import LoweringError
from xnorflow.ir import INPUT, Int, Quantisation, UInt
from xnorflow.sw.frontend.graph import Clip, Operation, Scale, TwoSlope
from xnorflow.sw.frontend.qonnx.quantisers import Grid


__all__ = ["InputQuantiser", "input_quantiser", "is_input", "scale_before"]


@dataclass(frozen=True)
class InputQuantiser:
    """Integers of a frame, and what they stand for."""

    type: Int | UInt
    quantisation: Quantisation


def is_input(operations: Mapping[str, Operation], source: str) -> bool:
    """Whether there is no layer between the input and ``source``."""
    if source == INPUT:
        return True
    operation = operations[source]
    alone = isinstance(operation.function, Scale | TwoSlope | Clip)
    return alone and is_input(operations, operation.sources[0])


def scale_before(operations: Mapping[str, Operation], source: str) -> tuple[Fraction, Fraction]:
    """Gain and shift of everything between the input and ``source``.

    Raises
    ------
    LoweringError
        If there is something else than one scale and shift for all values.
    """
    if source == INPUT:
        return Fraction(1), Fraction(0)
    operation = operations[source]
    function = operation.function
    gain, shift = scale_before(operations, operation.sources[0])
    if not isinstance(function, Scale) or len(function.gain) > 1 or len(function.shift) > 1:
        raise LoweringError(f"{operation.origin} stands between the input and its quantiser")
    offset = function.shift[0].as_rational()
    factor = function.gain[0]
    if offset is None or factor.radicand != 1 or factor.factor <= 0:
        raise LoweringError(f"{operation.origin} stands between the input and its quantiser")
    return gain * factor.factor, shift * factor.factor + offset


def input_quantiser(grid: Grid, gain: Fraction, shift: Fraction) -> InputQuantiser:
    """Frames of codes on a ``grid``, whose values are those of an input times ``gain``, shifted.

    Raises
    ------
    LoweringError
        If no integer stands for 0.
    """
    zero = grid.zero + shift / grid.scale
    if zero.denominator != 1:
        raise LoweringError(f"the input's quantiser has no integer for 0, but {float(zero):g}")
    return InputQuantiser(grid.type, Quantisation(float(grid.scale / gain), int(zero)))
