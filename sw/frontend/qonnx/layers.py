"""Convolutions, dense layers, pools and joins of maps."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir.windows import shortest
from xnorflow.sw.frontend.graph import (
    Concat,
    Function,
    Scale,
    Sum,
    WeightedSum,
)
from xnorflow.sw.frontend.qonnx.file import MOST_VALUES
from xnorflow.sw.frontend.qonnx.values import Call, Constant, Tensor, arrange, fractions, taken
from xnorflow.sw.frontend.qonnx.weights import weights_of
from xnorflow.sw.frontend.qonnx.windows import padded, windows_of
from xnorflow.sw.lowering.roots import ONE, RootSum


__all__ = ["LAYERS", "Read", "concat", "map_of", "ordered", "pad", "summed"]

Read = tuple[list[tuple[str, Function]], Tensor]
"""Functions one after the other, each with what its name ends in; and what they deliver."""


def pad(call: Call) -> Tensor:
    """Zeros around a map, which the convolution behind it takes along."""
    x = map_of(call, sequence=True)
    return replace(x, padding=padded(call, x))


def concat(call: Call) -> Read:
    """Channels of several maps."""
    tensors = [each for each in call.inputs if isinstance(each, Tensor)]
    rank = tensors[0].order.ndim
    axis = call.integer("axis", 1) % rank
    if len(tensors) < len(call.inputs) or axis != 1 or not all(each.plain for each in tensors):
        raise call.error("must join the channels of maps, which are axis 1")
    maps = [each.map for each in tensors]
    if len({(rows, columns) for _, rows, columns in maps}) > 1:
        raise call.error(f"joins maps of different sizes: {maps}")
    channels = sum(each for each, _, _ in maps)
    order = ordered(call, 1, channels, *tensors[0].order.shape[2:])
    result = Tensor("", (channels, *maps[0][1:]), order)
    return [("", Concat())], replace(result, bits=all(each.bits for each in tensors))


def summed(call: Call) -> Read:
    """Several maps, value by value."""
    first, *others = (each for each in call.inputs if isinstance(each, Tensor))
    if any(each.map != first.map or not np.array_equal(each.order, first.order) for each in others):
        raise call.error("adds tensors of different shapes, or in different orders")
    return [("", Sum())], replace(first, bits=False)


def _conv(call: Call) -> Read:
    x = map_of(call, sequence=True)
    constant = call.needed(1)
    if len(constant.shape) != x.order.ndim:
        raise call.error(
            f"has weights {constant.shape}: accepted are (filters, channels, rows, columns) for "
            "maps, and (filters, channels, columns) for sequences"
        )
    filters, channels, *kernel = constant.shape
    groups = call.integer("group", 1)
    if groups < 1 or filters % groups or channels * groups != x.map[0]:
        raise call.error(
            f"has {filters} filters of {channels} channels in {groups} groups, but it gets a map "
            f"of {x.map[0]} channels"
        )
    axes = windows_of(call, x, kernel)
    weights = weights_of(call, constant, bits=x.bits)
    code = weights.code.reshape(filters, channels, *(axis.taps for axis in axes))
    rows, columns = axes
    sums = WeightedSum(
        replace(weights, code=code.transpose(0, 2, 3, 1)),
        shortest((rows.stride, columns.stride)),
        shortest((rows.before, rows.after, columns.before, columns.after)),
        shortest((rows.dilation, columns.dilation)),
        groups,
    )
    sides = [axis.count(side) for axis, side in zip(axes, x.map[1:], strict=True)]
    shape = (filters, sides[0], sides[1])
    order = ordered(call, 1, filters, *sides[2 - len(kernel) :])
    return _biased(call, sums), Tensor("", shape, order)


def _gemm(call: Call) -> Read:
    if call.integer("transA", 0):
        raise call.error("must not transpose its input")
    constant = call.needed(1)
    factors = call.number("alpha", 1.0), call.number("beta", 1.0)
    return _dense(call, constant, turn=not call.integer("transB", 0), factors=factors)


def _matmul(call: Call) -> Read:
    return _dense(call, call.needed(1), turn=True)


def _dense(
    call: Call,
    constant: Constant,
    *,
    turn: bool,
    factors: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1)),
) -> Read:
    x = _unpadded(call)
    if len(constant.shape) != 2:
        raise call.error(f"has weights {constant.shape}: accepted are two axes")
    constant = taken(constant, lambda values: values.T) if turn else constant
    filters, features = constant.shape
    if x.order.shape[-1] != features or x.order.size != features:
        raise call.error(
            f"takes vectors of {features} values, but it gets a tensor {x.order.shape}"
        )
    weights = weights_of(call, constant, bits=x.bits, factor=factors[0])
    code = np.empty_like(weights.code)
    code[:, x.order.reshape(-1)] = weights.code
    sums = WeightedSum(replace(weights, code=code), dense=True)
    order = ordered(call, *x.order.shape[:-1], filters)
    return _biased(call, sums, factors[1]), Tensor("", (filters, 1, 1), order)


def _biased(
    call: Call, sums: WeightedSum, factor: Fraction = Fraction(1)
) -> list[tuple[str, Function]]:
    functions: list[tuple[str, Function]] = [("", sums)]
    bias, filters = call.constant(2), len(sums.weights.scales)
    if bias is not None:
        size = int(np.prod(bias.shape, dtype=int))
        if size not in (1, filters):
            raise call.error(f"has a bias {bias.shape} for {filters} filters")
        shifts = fractions(bias, np.arange(size), call)
        shift = tuple(RootSum.rational(factor * each) for each in shifts)
        functions.append(("_biased", Scale((ONE,), shift)))
    return functions


def map_of(call: Call, *, sequence: bool = False) -> Tensor:
    """The first input, which must be a map as it is, or a ``sequence`` (1, channels, columns)."""
    x = call.tensor()
    if not x.plain or x.order.ndim < (3 if sequence else 4):
        channels, height, width = x.map
        raise call.error(
            f"takes a map (1, channels, rows, columns), but it gets a tensor {x.order.shape} of "
            f"the values of a map of {channels} channels and {height}×{width} pixels, in another "
            "form or order; of the model's input, input=FeatureMap(…) says what a frame is"
        )
    return x


def _unpadded(call: Call) -> Tensor:
    x = call.tensor()
    if x.padding:
        raise call.error("gets a map with zeros around it, which only a convolution takes")
    return x


def ordered(call: Call, *shape: int) -> NDArray[np.int32]:
    """`arrange`, of a tensor that a file may well describe as larger than any memory."""
    if np.prod(np.array(shape, object)) > MOST_VALUES:
        raise call.error(f"delivers a tensor {shape}: accepted are {MOST_VALUES:,} values")
    return arrange(*shape)


LAYERS: dict[str, Callable[[Call], Read]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
