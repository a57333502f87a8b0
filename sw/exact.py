"""Layers of a model in exact numbers.

With u and v the bits of activation and weight over the N taps of a window, V = Σv, Nc and Vc the
same over those taps that are inside the frame, activation levels a + s·u and weight levels
α·(2v − 1 + ρ), a filter's sum of products is α·Q with

- ``Q = s·(M + ρ·P) + s·(V − N) + a·(2Vc − Nc + ρ·Nc)``, for the xnor gate;
- ``Q = 2s·A + 2a·Vc`` where ρ = 1, for the and gate;
- ``Q = s·Σq·u + a·Σq`` for integer weights α·q;
- ``Q = Σq·x − Σq·255·mean``, the second sum over taps inside the frame, for those on pixels x.

Taps outside the frame have u = 0 or x = 0. Where they stand for the lower level, they count as
inside.
"""

import operator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xnorflow.errors import LoweringError
from xnorflow.ir import BinaryConv, FeatureMap, Gate, IntegerConv
from xnorflow.sw.lowering.borders import Borders, find_borders
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.quantiser import ActivationLevels


__all__ = ["ExactLayer", "Layer", "read", "to_integers"]

Layer = BinaryConv2d | BinaryLinear | IntegerConv2d | IntegerLinear


@dataclass(frozen=True, eq=False)
class ExactLayer:
    """A layer: filter k computes α·(slope·x + offsets[c][k]) in windows of border class c.

    Here x is what its node delivers: M + ρ·P, A, or a sum of products.

    Attributes
    ----------
    node : BinaryConv or IntegerConv
    scales_squared : tuple of Fraction, (filters,)
        α² ≥ 0.
    slope : Fraction
        Not 0.
    offsets : tuple of tuple of Fraction, (border classes, filters)
    classes : int array, (height, width)
        Border class of each window.
    ranges : tuple of (int, int), (filters,)
        Smallest and largest x, but for the term of P.
    centres : tuple of int, (filters,)
        ρ in units of 2^−fraction; 0 but for the xnor gate.
    fraction : int
    """

    node: BinaryConv | IntegerConv
    scales_squared: tuple[Fraction, ...]
    slope: Fraction
    offsets: tuple[tuple[Fraction, ...], ...]
    classes: NDArray[np.int64]
    ranges: tuple[tuple[int, int], ...]
    centres: tuple[int, ...]
    fraction: int = 0

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.name

    @property
    def filters(self) -> int:
        """Number of filters."""
        return self.node.filters

    @property
    def total(self) -> int:
        """What x and its opposite add up to: N − M, N − A, or −x for sums of products."""
        return self.node.taps if isinstance(self.node, BinaryConv) else 0


def read(name: str, layer: Layer, source: str, x: FeatureMap) -> ExactLayer:
    """Exact numbers of a layer that gets the map ``x`` from the node ``source``.

    Raises
    ------
    LoweringError
        If the layer has a form that no network can have.
    """
    match layer:
        case BinaryConv2d():
            borders = _borders(name, layer, x)
            if layer.border is Border.LOWER:
                borders = Borders(np.zeros_like(borders.classes), np.ones_like(borders.inside[:1]))
            window = tuple(layer.weight.shape[1:])
            return _binary(name, layer, source, window, borders, layer.stride, layer.padding)
        case IntegerConv2d():
            return _pixels(name, layer, source, _borders(name, layer, x))
        case BinaryLinear():
            window = _whole(name, layer.weight, x)
            borders = find_borders((x.height, x.width), (x.height, x.width))
            return _binary(name, layer, source, window, borders)
        case IntegerLinear():
            return _integers(name, layer, source, _whole(name, layer.weight, x))


def _borders(name: str, layer: BinaryConv2d | IntegerConv2d, x: FeatureMap) -> Borders:
    """Border classes of a convolution on the map ``x``, which it must fit."""
    _, channels, rows, columns = layer.weight.shape
    room = min(x.height - rows, x.width - columns) + 2 * layer.padding
    if channels != x.channels or room < 0:
        raise LoweringError(
            f"{name} takes maps of {channels} channels and at least {rows}×{columns} pixels, "
            f"padding included, but it gets one of {x.height}×{x.width}×{x.channels}"
        )
    return find_borders(
        (x.height, x.width), (rows, columns), stride=layer.stride, padding=layer.padding
    )


def _whole(name: str, weight: Tensor, x: FeatureMap) -> tuple[int, ...]:
    """Kernel of a dense layer: the whole map, (rows, columns, channels)."""
    if weight.shape[1] != x.size:
        raise LoweringError(
            f"{name} takes {weight.shape[1]} values, but it gets a map of "
            f"{x.height}×{x.width}×{x.channels}"
        )
    return x.height, x.width, x.channels


def _binary(
    name: str,
    layer: BinaryConv2d | BinaryLinear,
    source: str,
    window: tuple[int, ...],
    borders: Borders,
    stride: int = 1,
    padding: int = 0,
) -> ExactLayer:
    """Binary weights, with the gate that suits them."""
    if layer.bias is not None:
        raise LoweringError(f"{name} has a bias, for which a chain has no place")
    activation = layer.activation_quantiser.levels()
    weight = layer.weight_quantiser.levels(layer.weight.flatten(1))
    bits = weight.bits.numpy().reshape(-1, *window)
    if isinstance(layer, BinaryConv2d):
        bits = bits.transpose(0, 2, 3, 1)  # (filters, rows, columns, channels)
    centres = tuple(int(centre) for centre in weight.centres)
    a, s, n = activation.low, activation.step, bits[0].size
    ones = bits.sum(axis=(1, 2, 3))  # of each filter
    taps_inside, ones_inside = borders.count(bits)
    if all(centre == 1 << weight.fraction for centre in centres):
        gate, slope = Gate.AND, 2 * s
        offsets = [[2 * a * int(vc) for vc in row] for row in ones_inside]
        centres = (0,) * len(centres)
    else:
        gate, slope = Gate.XNOR, s
        offsets = [
            [
                s * (int(v) - n)
                + a * (2 * int(vc) - nc + Fraction(centre, 1 << weight.fraction) * nc)
                for v, vc, centre in zip(ones, row, centres, strict=True)
            ]
            for nc, row in zip(taps_inside.tolist(), ones_inside, strict=True)
        ]
    popcount = any(centres)
    return ExactLayer(
        BinaryConv(name, source, bits, gate, popcount, stride, padding),
        weight.scale_squared,
        slope,
        tuple(map(tuple, offsets)),
        borders.classes,
        ((0, n),) * len(bits),
        centres,
        # Without ρ there is nothing to have fractional bits.
        weight.fraction if popcount else 0,
    )


def _pixels(name: str, layer: IntegerConv2d, source: str, borders: Borders) -> ExactLayer:
    """Integer weights on raw pixels."""
    code, scale = layer.encode()
    weights = to_integers(code).transpose(0, 2, 3, 1)  # (filters, rows, columns, channels)
    means = [255 * Fraction(mean) for mean in layer.mean]
    inside = np.einsum("cij,fijk->cfk", borders.inside.astype(int), weights)
    offsets = tuple(
        tuple(-sum(map(operator.mul, means, sums), Fraction()) for sums in row)
        for row in inside.tolist()
    )
    node = IntegerConv(name, source, weights, layer.stride, layer.padding)
    return _weighted(node, scale, Fraction(1), offsets, borders.classes, (0, 255))


def _integers(name: str, layer: IntegerLinear, source: str, window: tuple[int, ...]) -> ExactLayer:
    """Integer weights on bits, of the whole map."""
    activation: ActivationLevels = layer.activation_quantiser.levels()
    code, scale = layer.weight_quantiser.encode(layer.weight)
    weights = to_integers(code).reshape(-1, *window)
    offsets = (tuple(activation.low * int(q) for q in weights.sum(axis=(1, 2, 3))),)
    node = IntegerConv(name, source, weights)
    return _weighted(node, scale, activation.step, offsets, np.zeros((1, 1), np.int64), (0, 1))


def _weighted(
    node: IntegerConv,
    scale: Tensor,
    slope: Fraction,
    offsets: tuple[tuple[Fraction, ...], ...],
    classes: NDArray[np.int64],
    values: tuple[int, int],
) -> ExactLayer:
    """Integer weights on inputs whose smallest and largest ``values`` are given; 0 is one."""
    weights = node.weights.reshape(node.filters, -1)
    low, high = (
        clipped.sum(axis=1) * values[1]
        for clipped in (np.minimum(weights, 0), np.maximum(weights, 0))
    )
    return ExactLayer(
        node,
        tuple(Fraction(factor) ** 2 for factor in scale.tolist()),
        slope,
        offsets,
        classes,
        tuple(zip(low.tolist(), high.tolist(), strict=True)),
        (0,) * node.filters,
    )


def to_integers(code: Tensor) -> NDArray[np.int64]:
    """Integers that are there as floating-point numbers."""
    return code.detach().numpy().astype(np.int64)
