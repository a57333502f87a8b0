"""Convolutions, dense layers and joins of maps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

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
from xnorflow.sw.lowering.roots import ONE, RootSum


__all__ = ["LAYERS", "Read", "concat", "map_of", "ordered", "pad", "summed"]

Read = tuple[list[tuple[str, Function]], Tensor]
"""Functions one after the other, each with what its name ends in; and what they deliver."""


def pad(call: Call) -> Tensor:
    """Zeros around a map, which the convolution behind it takes along."""
    x = map_of(call)
    pads = call.integers("pads", 1) or []
    value = call.constant(2)
    shift = call.number("value", 0.0) if value is None else fractions(value, np.zeros(1, int), call)
    if call.text("mode", "constant") != "constant" or shift not in (0, [0]) or len(pads) != 8:
        raise call.error("must pad all four axes with zeros")
    if call.constant(3) is not None or any(pads[n] for n in (0, 1, 4, 5)):
        raise call.error("must pad rows and columns, nothing else")
    return replace(x, padding=x.padding + _side(call, [pads[n] for n in (2, 3, 6, 7)]))


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
    shape = (channels, *maps[0][1:])
    result = Tensor("", shape, ordered(call, 1, *shape[: rank - 1]))
    return [("", Concat())], replace(result, bits=all(each.bits for each in tensors))


def summed(call: Call) -> Read:
    """Several maps, value by value."""
    first, *others = (each for each in call.inputs if isinstance(each, Tensor))
    if any(each.map != first.map or not np.array_equal(each.order, first.order) for each in others):
        raise call.error("adds tensors of different shapes, or in different orders")
    return [("", Sum())], replace(first, bits=False)


def _conv(call: Call) -> Read:
    x = map_of(call)
    constant = call.needed(1)
    if len(constant.shape) != 4:
        raise call.error(f"has weights {constant.shape}: accepted are (filters, channels, k, k)")
    filters, channels, rows, columns = constant.shape
    if call.integer("group", 1) != 1 or {*(call.integers("dilations") or [1])} != {1}:
        raise call.error("must have one group and no dilation")
    strides = {*(call.integers("strides") or [1])}
    if len(strides) > 1 or min(strides) < 1:
        raise call.error("must have the same stride for rows and columns")
    (stride,) = strides
    padding = x.padding + _padding(call, x, (rows, columns), stride)
    height, width = (
        (size + 2 * padding - kernel) // stride + 1
        for size, kernel in zip(x.map[1:], (rows, columns), strict=True)
    )
    if channels != x.map[0] or min(height, width) < 1:
        raise call.error(
            f"takes maps of {channels} channels and at least {rows}×{columns} pixels, padding "
            f"included, but it gets {x.map}"
        )
    weights = weights_of(call, constant, bits=x.bits)
    code = weights.code.reshape(constant.shape).transpose(0, 2, 3, 1)
    sums = WeightedSum(replace(weights, code=code), stride, padding)
    shape = (filters, height, width)
    return _biased(call, sums), Tensor("", shape, ordered(call, 1, *shape))


def _padding(call: Call, x: Tensor, kernel: tuple[int, int], stride: int) -> int:
    """Rows and columns that a convolution or a pool puts around its map itself."""
    mode = call.text("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = call.integers("pads") if mode == "NOTSET" else None
        return _side(call, pads or [0])
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise call.error(f"has the padding {mode!r}, which is not known")
    both = [
        max(0, (-(-size // stride) - 1) * stride + width - size)
        for size, width in zip(x.map[1:], kernel, strict=True)
    ]
    return _side(call, [each // 2 for each in both] + [each - each // 2 for each in both])


def _side(call: Call, pads: Sequence[int]) -> int:
    if len({*pads}) > 1 or min(pads) < 0:
        raise call.error(f"must have the same padding on all four sides, not {list(pads)}")
    return pads[0]


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


def map_of(call: Call) -> Tensor:
    """The first input, which must be a map as it is."""
    x = call.tensor()
    if not x.plain or x.order.ndim != 4:
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
