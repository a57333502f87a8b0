"""Operations of the functions, methods and operators that a traced PyTorch model calls."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.errors import LoweringError
from xnorflow.sw.frontend.graph import Scale
from xnorflow.sw.frontend.modules import ACCEPTED, Functions, clip, read_module, two_slopes
from xnorflow.sw.lowering.roots import ONE, ZERO, Root, RootSum


__all__ = [
    "ARITHMETIC",
    "DIFFERENCES",
    "KNOWN",
    "PRODUCTS",
    "QUOTIENTS",
    "SUMS",
    "module_of",
    "read_arithmetic",
    "read_function",
]

_MODULES: dict[Any, Callable[..., nn.Module]] = {
    functional.adaptive_avg_pool1d: nn.AdaptiveAvgPool1d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    functional.avg_pool1d: nn.AvgPool1d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.dropout: nn.Dropout,
    functional.dropout2d: nn.Dropout2d,
    functional.hardtanh: nn.Hardtanh,
    functional.interpolate: nn.Upsample,
    functional.log_softmax: nn.LogSoftmax,
    functional.max_pool1d: nn.MaxPool1d,
    functional.max_pool2d: nn.MaxPool2d,
    functional.relu: nn.ReLU,
    functional.softmax: nn.Softmax,
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
}
"""Modules that do what a function or method does, with the same arguments behind the first."""

_NOTHING = frozenset({"contiguous", "float", "double", "to", "clone", "detach"})
_FLATTENS = frozenset({torch.flatten, torch.reshape, "flatten", "view", "reshape"})
KNOWN = frozenset(_MODULES) | _NOTHING | _FLATTENS | {torch.mean, "mean"}
"""Functions that `module_of` takes."""

SUMS = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})
DIFFERENCES = frozenset({operator.sub, operator.isub, torch.sub, "sub", "sub_"})
PRODUCTS = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
QUOTIENTS = frozenset({operator.truediv, operator.itruediv, torch.div, "div", "div_"})
ARITHMETIC = SUMS | DIFFERENCES | PRODUCTS | QUOTIENTS


def read_function(
    target: Any,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    origin: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> Functions:
    """Functions of a call with ``arguments`` behind the tensor, whose ``shapes`` are in and out."""
    if target is functional.prelu:
        return [("", two_slopes(arguments[0]))]
    if target in (torch.clamp, "clamp"):
        low, high = (*arguments, None, None)[:2]
        return [("", clip(keywords.get("min", low), keywords.get("max", high)))]
    return read_module(module_of(target, arguments, keywords, origin, shapes), origin, shapes[0])


def module_of(
    target: Any,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    origin: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> nn.Module:
    """Module without parameters that does what a call does: see `read_function`."""
    if target in _NOTHING:
        return nn.Identity()
    if target in _FLATTENS:
        if shapes[1] != (1, math.prod(shapes[0])):
            raise LoweringError(f"{origin} must flatten its input, and not split or regroup it")
        return nn.Flatten()
    if target in (torch.mean, "mean"):
        axes = arguments[0] if arguments else keywords.get("dim")
        if isinstance(axes, tuple | list) and {axis % 4 for axis in axes} == {2, 3}:
            return nn.AdaptiveAvgPool2d(1)
    if target in _MODULES:
        known = {name: value for name, value in keywords.items() if name not in _IRRELEVANT}
        try:
            return _MODULES[target](*arguments, **known)
        except TypeError:
            raise LoweringError(f"{origin} is called with arguments that are not known") from None
    raise LoweringError(f"{origin} cannot be lowered: what can is {ACCEPTED}")


_IRRELEVANT = frozenset({"antialias", "training", "inplace", "dtype", "_stacklevel"})


def read_arithmetic(
    target: Any, constant: Any, *, first: bool, channels: int, origin: str
) -> Scale:
    """Scale of an operator with a ``constant``, which is its ``first`` argument or its second."""
    values = [Fraction(value) for value in _per_channel(constant, channels, origin)]
    nothing = (ZERO,)
    if target in SUMS:
        return Scale((ONE,), tuple(map(RootSum.rational, values)))
    if target in DIFFERENCES and first:
        return Scale((Root(Fraction(-1)),), tuple(map(RootSum.rational, values)))
    if target in DIFFERENCES:
        return Scale((ONE,), tuple(RootSum.rational(-value) for value in values))
    if target in PRODUCTS:
        return Scale(tuple(map(Root, values)), nothing)
    if target in QUOTIENTS and not first and all(values):
        return Scale(tuple(Root(1 / value) for value in values), nothing)
    raise LoweringError(f"{origin} cannot be lowered: what can is {ACCEPTED}")


def _per_channel(constant: Any, channels: int, origin: str) -> list[float]:
    """Values of a constant, one for each channel or one for all."""
    if isinstance(constant, int | float):
        return [float(constant)]
    if isinstance(constant, Tensor):
        if constant.numel() == 1:
            return [float(constant)]
        shape = tuple(constant.shape)
        # (1, C, 1, 1), (C, 1, 1), and for vectors (1, C) or (C,)
        trimmed = shape[1:] if shape[0] == 1 and len(shape) > 1 else shape
        if trimmed[0] == channels and constant.numel() == channels:
            return [float(value) for value in constant.reshape(-1).tolist()]
    raise LoweringError(
        f"{origin} has a constant that is neither a number nor one for each channel"
    )
