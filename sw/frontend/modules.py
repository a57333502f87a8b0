"""Operations of the modules and functions that a traced PyTorch model calls."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from xnorflow.errors import LoweringError
from xnorflow.ir import INPUT, FeatureMap
from xnorflow.sw.frontend.graph import (
    Binarise,
    Clip,
    Concat,
    Flatten,
    Function,
    GlobalAverage,
    Graph,
    MaxPool,
    Operation,
    Scale,
    Sum,
    TwoSlope,
    WeightedSum,
    Weights,
)
from xnorflow.sw.frontend.trace import trace
from xnorflow.sw.lowering.roots import ONE, ZERO, Root, RootSum
from xnorflow.sw.nn.activations import ActivationQuantiser
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.weights import WeightLevels


__all__ = ["graph_of"]

_ACCEPTED = (
    "xnorflow's layers, BatchNorm1d/2d, MaxPool2d, AdaptiveAvgPool2d(1), PReLU, ReLU, Hardtanh, "
    "Identity, Dropout, Flatten, + - * / with constants, and torch.cat"
)

_NO_SCALE = Root(Fraction())

_Functions = list[tuple[str, Function]]
"""Functions one after the other, each with what its name ends in."""


# -- modules --------------------------------------------------------------------------------------


def _of_module(module: nn.Module, origin: str, shape: tuple[int, ...]) -> _Functions:
    """Functions of a module that gets a tensor of a ``shape``."""
    match module:
        case ActivationQuantiser():
            return [("", Binarise(module.levels()))]
        case BinaryConv2d() | BinaryLinear() | IntegerConv2d() | IntegerLinear():
            return _of_layer(module)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return [("", _of_norm(module, origin))]
        case nn.MaxPool2d():
            windows = module.kernel_size, module.stride, module.padding, module.dilation
            return _pool(*windows, module.ceil_mode, origin)
        case nn.AdaptiveAvgPool2d() | nn.AvgPool2d():
            size = getattr(module, "output_size", None) or module.kernel_size
            return _average(size, shape, origin, adaptive=isinstance(module, nn.AdaptiveAvgPool2d))
        case nn.PReLU():
            return [("", _slopes(module.weight))]
        case nn.ReLU():
            return [("", _slopes(torch.zeros(1)))]
        case nn.Hardtanh():
            return [("", _clip(module.min_val, module.max_val))]
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
            raise LoweringError(f"{origin} cannot be lowered: what can is {_ACCEPTED}")


def _of_layer(
    layer: BinaryConv2d | BinaryLinear | IntegerConv2d | IntegerLinear,
) -> _Functions:
    """What binarises or normalises the input of a layer, and its sums."""
    match layer:
        case IntegerConv2d():
            code, scale = layer.encode()
            means = tuple(RootSum.rational(-255 * Fraction(mean)) for mean in layer.mean)
            weights = _integer(code.permute(0, 2, 3, 1), scale)
            return [
                ("_centred", Scale((ONE,), means)),
                ("", WeightedSum(weights, layer.stride, layer.padding)),
            ]
        case IntegerLinear():
            code, scale = layer.weight_quantiser.encode(layer.weight)
            return [
                ("_bits", Binarise(layer.activation_quantiser.levels())),
                ("", WeightedSum(_integer(code, scale), dense=True)),
            ]
        case BinaryConv2d():
            levels = layer.weight_quantiser.levels(layer.weight.flatten(1))
            shape = layer.weight.permute(0, 2, 3, 1).shape
            bits = levels.bits.reshape(layer.weight.shape).permute(0, 2, 3, 1).reshape(shape)
            lower = layer.border is Border.LOWER
            sums = WeightedSum(_binary(levels, bits), layer.stride, layer.padding, lower)
        case BinaryLinear():
            levels = layer.weight_quantiser.levels(layer.weight)
            sums = WeightedSum(_binary(levels, levels.bits), dense=True)
    return [("_bits", Binarise(layer.activation_quantiser.levels())), ("", sums)]


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
    return Weights(code.detach().numpy().astype(np.int64), False, scales, (0,) * len(scales))


def _of_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, origin: str) -> Scale:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise LoweringError(
            f"{origin} has no running statistics: make it with track_running_stats=True"
        )
    channels = norm.num_features
    weight = [1.0] * channels if norm.weight is None else norm.weight.tolist()
    bias = [0.0] * channels if norm.bias is None else norm.bias.tolist()
    squares = [Fraction(value) + Fraction(norm.eps) for value in variance.tolist()]
    if min(squares) <= 0:
        raise LoweringError(f"{origin} has a variance that is not above 0")
    gains = tuple(
        Root(Fraction(gain), 1 / square) for gain, square in zip(weight, squares, strict=True)
    )
    shifts = tuple(
        RootSum.rational(shift) - RootSum.of(gain) * Root(Fraction(centre))
        for gain, shift, centre in zip(gains, bias, mean.tolist(), strict=True)
    )
    return Scale(gains, shifts)


def _pool(
    size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, origin: str
) -> _Functions:
    sides = {*_pair(size), *_pair(size if stride in (None, []) else stride)}
    if len(sides) > 1 or {*_pair(padding)} != {0} or {*_pair(dilation)} != {1} or ceil_mode:
        raise LoweringError(
            f"{origin} must have square windows side by side, without padding, dilation or "
            "ceil mode"
        )
    (side,) = sides
    return [] if side == 1 else [("", MaxPool(side))]


def _average(size: Any, shape: tuple[int, ...], origin: str, *, adaptive: bool) -> _Functions:
    whole = (1, 1) if adaptive else tuple(shape[2:])
    if _pair(size) != whole:
        raise LoweringError(
            f"{origin} must average the whole map here; other averages need a fixed-point grid: "
            "prepare(model, grid)"
        )
    return [("", GlobalAverage())]


def _slopes(negative: Tensor) -> TwoSlope:
    return TwoSlope((ONE,), tuple(Root(Fraction(n)) for n in negative.reshape(-1).tolist()))


def _clip(low: float, high: float) -> Clip:
    return Clip(RootSum.rational(low), RootSum.rational(high))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


# -- functions and methods ------------------------------------------------------------------------

_MODULES: dict[Any, Callable[..., nn.Module]] = {
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.dropout: nn.Dropout,
    functional.dropout2d: nn.Dropout2d,
    functional.hardtanh: nn.Hardtanh,
    functional.log_softmax: nn.LogSoftmax,
    functional.max_pool2d: nn.MaxPool2d,
    functional.relu: nn.ReLU,
    functional.softmax: nn.Softmax,
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
}
"""Modules that do what a function or method does, with the same arguments behind the first."""

_NOTHING = frozenset({"contiguous", "float", "double", "to", "clone", "detach"})
_FLATTENS = frozenset({torch.flatten, torch.reshape, "flatten", "view", "reshape"})
_SUMS = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})
_DIFFERENCES = frozenset({operator.sub, operator.isub, torch.sub, "sub", "sub_"})
_PRODUCTS = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_QUOTIENTS = frozenset({operator.truediv, operator.itruediv, torch.div, "div", "div_"})
_ARITHMETIC = _SUMS | _DIFFERENCES | _PRODUCTS | _QUOTIENTS


def _of_function(
    target: Any,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    origin: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> _Functions:
    """Functions of a call with ``arguments`` behind the tensor, whose ``shapes`` are in and out."""
    if target in _NOTHING:
        return []
    if target in _FLATTENS:
        if shapes[1] != (1, math.prod(shapes[0])):
            raise LoweringError(f"{origin} must flatten its input, and not split or regroup it")
        return [("", Flatten())]
    if target is functional.prelu:
        return [("", _slopes(arguments[0]))]
    if target in (torch.clamp, "clamp"):
        low, high = [*arguments, None][0], [*arguments, None, None][1]
        low, high = keywords.get("min", low), keywords.get("max", high)
        ends = (-math.inf if low is None else low), (math.inf if high is None else high)
        return [("", _clip(*map(float, ends)))]
    if target in (torch.mean, "mean"):
        axes = arguments[0] if arguments else keywords.get("dim")
        if isinstance(axes, tuple | list) and {axis % 4 for axis in axes} == {2, 3}:
            return [("", GlobalAverage())]
    if target in _MODULES:
        known = {name: value for name, value in keywords.items() if name not in _IRRELEVANT}
        try:
            module = _MODULES[target](*arguments, **known)
        except TypeError:
            raise LoweringError(f"{origin} is called with arguments that are not known") from None
        return _of_module(module, origin, shapes[0])
    raise LoweringError(f"{origin} cannot be lowered: what can is {_ACCEPTED}")


_IRRELEVANT = frozenset({"training", "inplace", "dtype", "_stacklevel"})


def _of_arithmetic(target: Any, constant: Any, *, first: bool, channels: int, origin: str) -> Scale:
    """Scale of an operator with a ``constant``, which is its ``first`` argument or its second."""
    values = [Fraction(value) for value in _per_channel(constant, channels, origin)]
    nothing = (ZERO,)
    if target in _SUMS:
        return Scale((ONE,), tuple(map(RootSum.rational, values)))
    if target in _DIFFERENCES and first:
        return Scale((Root(Fraction(-1)),), tuple(map(RootSum.rational, values)))
    if target in _DIFFERENCES:
        return Scale((ONE,), tuple(RootSum.rational(-value) for value in values))
    if target in _PRODUCTS:
        return Scale(tuple(map(Root, values)), nothing)
    if target in _QUOTIENTS and not first and all(values):
        return Scale(tuple(Root(1 / value) for value in values), nothing)
    raise LoweringError(f"{origin} cannot be lowered: what can is {_ACCEPTED}")


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


# -- the graph ------------------------------------------------------------------------------------


@torch.no_grad()
def graph_of(model: nn.Module, frame: FeatureMap) -> Graph:
    """Graph of a ``model`` in float64 and evaluation mode, which is not changed.

    Raises
    ------
    LoweringError
        If it cannot be traced, or calls what cannot be lowered.
    """
    traced = trace(model, frame)
    return _Walk(traced).graph()


class _Walk:
    """Operations so far; ``values`` has the name of an operation or a constant for each node."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.operations: list[Operation] = []
        self.names = {INPUT, "scores", "label"}
        self.sources: dict[fx.Node, str] = {}
        self.constants: dict[fx.Node, Any] = {}

    def graph(self) -> Graph:
        """The whole graph."""
        for node in self.traced.graph.nodes:
            if node.op == "output":
                (result,) = node.args
                if not isinstance(result, fx.Node) or result not in self.sources:
                    raise LoweringError("the model must return one tensor that its input decides")
                if not self.operations or self.sources[result] != self.operations[-1].name:
                    raise LoweringError("the last operation of the model must be what it returns")
            else:
                self._visit(node)
        return Graph(tuple(self.operations))

    def _visit(self, node: fx.Node) -> None:
        inputs = [each for each in node.all_input_nodes if each in self.sources]
        if node.op == "placeholder":
            if self.sources:
                raise LoweringError("the model must take one tensor, not several")
            self.sources[node] = INPUT
        elif not inputs or not isinstance(node.meta.get("tensor_meta"), tuple):
            self.constants[node] = self._evaluate(node)
        else:
            self._read(node, inputs)

    def _evaluate(self, node: fx.Node) -> Any:
        """Value of a node that the input does not decide, or of one that is a shape."""
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.traced)

        def known(each: fx.Node) -> Any:
            if each in self.sources:
                return torch.empty(_shape(each), device="meta")
            return self.constants[each]

        arguments, keywords = fx.map_arg(node.args, known), fx.map_arg(node.kwargs, known)
        if node.op == "call_module":
            return self.modules[str(node.target)](*arguments, **keywords)
        if node.op == "call_method":
            return getattr(arguments[0], str(node.target))(*arguments[1:], **keywords)
        return node.target(*arguments, **keywords)  # type: ignore[operator]

    def _read(self, node: fx.Node, inputs: list[fx.Node]) -> None:
        origin, functions = self._functions(node, inputs)
        base = self._base(node)
        sources = tuple(self.sources[each] for each in inputs)
        for ending, function in functions:
            name = self._unique(f"{base}{ending}")
            self.operations.append(Operation(name, origin, function, sources))
            sources = (name,)
        if len(sources) != 1:
            raise LoweringError(f"{origin} must have one input")
        self.sources[node] = sources[0]

    def _functions(self, node: fx.Node, inputs: list[fx.Node]) -> tuple[str, _Functions]:
        shape = _shape(inputs[0])
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            origin = f"{node.target} ({type(module).__name__})"
            return origin, _of_module(module, origin, shape)
        target: Any = node.target
        origin = f"{node.name} ({target if isinstance(target, str) else target.__name__})"
        if target in (torch.cat, torch.concat):
            return origin, self._concat(node, inputs, origin)
        if target in _ARITHMETIC and len(inputs) == 1 and len(node.args) == 2 and not node.kwargs:
            first, second = (
                self.constants.get(each) if isinstance(each, fx.Node) else each
                for each in node.args
            )
            leads = node.args[0] is not inputs[0]
            constant = first if leads else second
            scale = _of_arithmetic(target, constant, first=leads, channels=shape[1], origin=origin)
            return origin, [("", scale)]
        if target in (operator.neg, torch.neg):
            return origin, [("", Scale((Root(Fraction(-1)),), (ZERO,)))]
        if target in _SUMS and not node.kwargs:
            return origin, [("", Sum())]
        known = {
            each: value for each, value in self.constants.items() if each in node.all_input_nodes
        }
        if len(inputs) != 1 or node.args[:1] != (inputs[0],):
            raise LoweringError(f"{origin} cannot be lowered: what can is {_ACCEPTED}")
        arguments = fx.map_arg(node.args[1:], known.__getitem__)
        keywords = fx.map_arg(node.kwargs, known.__getitem__)
        shapes = shape, _shape(node)
        return origin, _of_function(target, arguments, keywords, origin, shapes)

    def _concat(self, node: fx.Node, inputs: list[fx.Node], origin: str) -> _Functions:
        tensors = node.args[0]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if not isinstance(tensors, tuple | list) or list(tensors) != inputs or axis not in (1, -3):
            raise LoweringError(f"{origin} must join the channels of different maps, dimension 1")
        return [("", Concat())]

    def _base(self, node: fx.Node) -> str:
        """What the names of a node's operations begin with."""
        text = str(node.target) if node.op == "call_module" else node.name
        text = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48]
        return text if re.match(r"[a-z]", text) else f"layer_{text}"

    def _unique(self, name: str) -> str:
        number, unique = 1, name
        while unique in self.names:
            number += 1
            unique = f"{name}_{number}"
        self.names.add(unique)
        return unique


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["tensor_meta"].shape)
