"""Operations of PyTorch's pools and of its upsampling."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import nn

from xnorflow.errors import LoweringError
from xnorflow.ir.windows import Padding
from xnorflow.sw.frontend.graph import AveragePool, MaxPool, Upsample


__all__ = ["average_pool", "ceiled", "max_pool", "upsampling"]

Averages = nn.AvgPool1d | nn.AvgPool2d | nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d


def max_pool(module: nn.MaxPool1d | nn.MaxPool2d, origin: str, sides: Sequence[int]) -> MaxPool:
    """Function of a max pool of a map that has such ``sides``."""
    if {*_pair(module.dilation, 1)} != {1} or module.return_indices:
        raise LoweringError(f"{origin} must have no dilation, and return no indices")
    size, stride, before = _windows(module)
    after = ceiled(sides, size, stride, before, before) if module.ceil_mode else before
    return MaxPool(size, stride, _padding(before, after))


def average_pool(module: Averages, origin: str, sides: Sequence[int]) -> AveragePool:
    """Function of an average pool of a map that has such ``sides``."""
    whole = (1, sides[0]) if len(sides) == 1 else (sides[0], sides[1])
    if isinstance(module, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d):
        wanted = _pair(module.output_size, 1)
        wanted = (1 if len(sides) == 1 else wanted[0], wanted[1])
        if None in wanted or any(side % n for side, n in zip(whole, wanted, strict=True)):
            raise LoweringError(f"{origin} must have an output whose sides divide {whole}")
        return AveragePool((whole[0] // wanted[0], whole[1] // wanted[1]))
    size, stride, before = _windows(module)
    after = ceiled(whole, size, stride, before, before) if module.ceil_mode else before
    divisor = getattr(module, "divisor_override", None)
    if divisor is not None and divisor < 1:
        raise LoweringError(f"{origin} must have a positive divisor, not {divisor!r}")
    counted = before if module.count_include_pad else (0, 0)
    return AveragePool(size, stride, _padding(before, after), counted, divisor)


def upsampling(module: nn.Upsample, origin: str, sides: Sequence[int]) -> Upsample:
    """Function of an upsampling of a map that has such ``sides``."""
    whole = (1, sides[0]) if len(sides) == 1 else (sides[0], sides[1])
    size: Any = module.size
    factors: tuple[Any, ...] = _pair(module.scale_factor, 1)
    if size is not None:
        size = _pair(size, 1)
        factors = tuple(Fraction(n, side) for n, side in zip(size, whole, strict=True))
    if len(sides) == 1:
        factors = 1, factors[1]
    whole_numbers = all(factor == int(factor) and factor >= 1 for factor in factors)
    if module.mode not in ("nearest", "nearest-exact") or not whole_numbers:
        raise LoweringError(f"{origin} must repeat pixels, mode 'nearest', by whole factors")
    return Upsample((int(factors[0]), int(factors[1])))


def ceiled(
    sides: Sequence[int],
    size: tuple[int, int],
    stride: tuple[int, int],
    before: tuple[int, int],
    after: tuple[int, int],
) -> tuple[int, int]:
    """Padding behind rows and columns that ceil mode makes of that before and ``after`` them.

    A last window that is not whole is there, too, unless it begins behind the frame.
    """
    whole = (1, sides[0]) if len(sides) == 1 else sides
    found = []
    for side, taps, step, first, last in zip(whole, size, stride, before, after, strict=True):
        count = -((taps - side - first - last) // step) + 1
        if (count - 1) * step >= side + first:
            count -= 1
        found.append(max(0, (count - 1) * step + taps - first - side))
    return found[0], found[1]


def _windows(
    module: nn.MaxPool1d | nn.MaxPool2d | nn.AvgPool1d | nn.AvgPool2d,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Size, stride and padding of a pool, those of rows first."""
    size = _pair(module.kernel_size, 1)
    stride = _pair(module.stride, 1) if module.stride else size
    padding = _pair(module.padding, 0)
    if isinstance(module, nn.MaxPool1d | nn.AvgPool1d):
        return (1, size[1]), (1, stride[1]), (0, padding[1])
    return size, stride, padding


def _pair(value: Any, alone: int) -> tuple[int, int]:
    """Rows and columns of a number, or of several; of one for columns, rows have ``alone``."""
    if not isinstance(value, tuple | list):
        return value, value
    return (alone, value[0]) if len(value) == 1 else (value[0], value[1])


def _padding(before: tuple[int, int], after: tuple[int, int]) -> Padding:
    return before[0], after[0], before[1], after[1]
