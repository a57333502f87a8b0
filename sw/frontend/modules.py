"""Operations of the modules that a traced PyTorch model calls."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xnorflow.errors import LoweringError
from xnorflow.sw.frontend.graph import (
    AveragePool,
    Binarise,
    Clip,
    Flatten,
    Function,
    MaxPool,
    Quantise,
    Scale,
    TwoSlope,
    Upsample,
    WeightedSum,
    Weights,
)
from xnorflow.sw.frontend.pools import average_pool, max_pool, upsampling
from xnorflow.sw.lowering.integers import to_integers
from xnorflow.sw.lowering.roots import ONE, Root, RootSum
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.quantiser import ActivationQuantiser, Delivered, WeightLevels
from xnorflow.sw.nn.windows import windows_of


__all__ = ["ACCEPTED", "Functions", "batch_norm", "clip", "pair", "read_module", "two_slopes"]

ACCEPTED = (
    "xnorflow's layers, BatchNorm1d/2d, MaxPool1d/2d, AvgPool1d/2d, AdaptiveAvgPool1d/2d, "
    "Upsample, PReLU, ReLU, Hardtanh, Identity, Dropout, Flatten, + - * / with constants, and "
    "torch.cat; a residual model must first be put on a fixed-point grid, by prepare(model, grid)"
)

Functions = list[tuple[str, Function]]
"""Functions one after the other, each with what its name ends in."""


def read_module(module: nn.Module, origin: str, shape: tuple[int, ...]) -> Functions:
    """Functions of a module that gets a tensor of a ``shape``."""
    match module:
        case ActivationQuantiser():
            return [("", _quantiser(module))]
        case BinaryConv2d() | BinaryLinear() | IntegerConv2d() | IntegerLinear():
            return _of_layer(module)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return [("", _of_norm(module, origin))]
        case nn.MaxPool1d() | nn.MaxPool2d():
            return _moving(max_pool(module, origin, shape[2:]))
        case nn.AdaptiveAvgPool1d() | nn.AdaptiveAvgPool2d() | nn.AvgPool1d() | nn.AvgPool2d():
            return _moving(average_pool(module, origin, shape[2:]))
        case nn.Upsample():
            return _moving(upsampling(module, origin, shape[2:]))
        case nn.PReLU():
            return [("", two_slopes(module.weight))]
        case nn.ReLU():
            return [("", two_slopes(torch.zeros(1)))]
        case nn.Hardtanh():
            return [("", clip(module.min_val, module.max_val))]
        case nn.Flatten():
            return [("", Flatten())]
        case nn.Identity() | nn.Dropout() | nn.Dropout2d() | nn.Softmax() | nn.LogSoftmax():
            return []
        case nn.Linear() | nn.Conv2d():
            raise LoweringError(
                f"{origin} has weights of floating point: use BinaryLinear, IntegerLinear, "
                "BinaryConv2d or IntegerConv2d, or prepare(model, grid), which makes them integers"
            )
        case _:
            raise LoweringError(f"{origin} cannot be lowered: what can is {ACCEPTED}")


def _of_layer(
    layer: BinaryConv2d | BinaryLinear | IntegerConv2d | IntegerLinear,
) -> Functions:
    """Functions in front of a layer, and its sums."""
    match layer:
        case IntegerConv2d():
            code, scale = layer.encode()
            means = tuple(RootSum.rational(-255 * Fraction(mean)) for mean in layer.mean)
            weights = _integer(code.permute(0, 2, 3, 1), scale)
            return [
                ("_centred", Scale((ONE,), means)),
                ("", WeightedSum(weights, **windows_of(layer))),
            ]
        case IntegerLinear():
            code, scale = layer.weight_quantiser.encode(layer.weight)
            sums = WeightedSum(_integer(code, scale), dense=True)
        case BinaryConv2d(weight_quantiser=IntegerWeight()):
            code, scale = layer.weight_quantiser.encode(layer.weight.flatten(1))
            weights = _integer(code.reshape(layer.weight.shape).permute(0, 2, 3, 1), scale)
            lower = layer.border is Border.LOWER
            sums = WeightedSum(weights, **windows_of(layer), lower_border=lower)
        case BinaryLinear(weight_quantiser=IntegerWeight()):
            sums = WeightedSum(_integer(*layer.weight_quantiser.encode(layer.weight)), dense=True)
        case BinaryConv2d():
            levels = layer.weight_quantiser.levels(layer.weight.flatten(1))
            shape = layer.weight.permute(0, 2, 3, 1).shape
            bits = levels.bits.reshape(layer.weight.shape).permute(0, 2, 3, 1).reshape(shape)
            lower = layer.border is Border.LOWER
            sums = WeightedSum(_binary(levels, bits), **windows_of(layer), lower_border=lower)
        case BinaryLinear():
            levels = layer.weight_quantiser.levels(layer.weight)
            sums = WeightedSum(_binary(levels, levels.bits), dense=True)
    functions: Functions = [("", sums)]
    if not isinstance(layer.activation_quantiser, Delivered):
        function = _quantiser(layer.activation_quantiser)
        functions.insert(0, ("_bits" if isinstance(function, Binarise) else "_codes", function))
    if not isinstance(layer, IntegerLinear) and layer.bias is not None:
        shifts = (RootSum.rational(Fraction(bias)) for bias in layer.bias.tolist())
        functions.append(("_biased", Scale((ONE,), tuple(shifts))))
    return functions


def _quantiser(quantiser: ActivationQuantiser) -> Binarise | Quantise:
    steps = quantiser.steps()
    return Binarise(quantiser.levels()) if steps is None else Quantise(steps)


def _binary(levels: WeightLevels, bits: Tensor) -> Weights:
    return Weights(
        np.where(bits.numpy(), 1, -1),
        binary=True,
        scales=tuple(
            Root(Fraction(1), s) if s else Root(Fraction(0)) for s in levels.scale_squared
        ),
        centres=tuple(levels.centres.tolist()),
        fraction=levels.fraction,
    )


def _integer(code: Tensor, scale: Tensor) -> Weights:
    scales = tuple(Root(Fraction(value)) for value in scale.tolist())
    return Weights(to_integers(code), False, scales, (0,) * len(scales))


def _of_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, origin: str) -> Scale:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    channels = norm.num_features
    weight = [1.0] * channels if norm.weight is None else norm.weight.tolist()
    bias = [0.0] * channels if norm.bias is None else norm.bias.tolist()
    return batch_norm(weight, bias, mean.tolist(), variance.tolist(), norm.eps, origin)


def batch_norm(
    gains: Sequence[float | Fraction],
    shifts: Sequence[float | Fraction],
    means: Sequence[float | Fraction],
    variances: Sequence[float | Fraction],
    eps: float | Fraction,
    origin: str,
) -> Scale:
    """Batch normalisation ``gain · (x − mean) / √(variance + eps) + shift`` of each channel."""
    squares = [Fraction(value) + Fraction(eps) for value in variances]
    if min(squares) <= 0:
        raise LoweringError(f"{origin} has a variance that is not above 0")
    roots = tuple(
        Root(Fraction(gain), 1 / square) for gain, square in zip(gains, squares, strict=True)
    )
    offsets = tuple(
        RootSum.rational(shift) - RootSum.of(root) * Root(Fraction(mean))
        for root, shift, mean in zip(roots, shifts, means, strict=True)
    )
    return Scale(roots, offsets)


def _moving(function: MaxPool | AveragePool | Upsample) -> Functions:
    """A function, unless it delivers what it gets."""
    if isinstance(function, Upsample):
        nothing = function.factor == (1, 1)
    else:
        alone = function.size == (1, 1) and function.stride in (None, (1, 1))
        divided = isinstance(function, AveragePool) and function.divisor not in (None, 1)
        nothing = alone and not divided
    return [] if nothing else [("", function)]


def two_slopes(negative: Tensor) -> TwoSlope:
    """PReLU with the slopes ``negative``, (channels,) or (1,)."""
    return TwoSlope((ONE,), tuple(Root(Fraction(n)) for n in negative.reshape(-1).tolist()))


def clip(low: float | None, high: float | None) -> Clip:
    """Hardtanh; an end that is None is open."""
    ends = (None if end is None else RootSum.rational(end) for end in (low, high))
    return Clip(*ends)


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of a size that PyTorch has as one number or two."""
    return (value, value) if isinstance(value, int) else tuple(value)
