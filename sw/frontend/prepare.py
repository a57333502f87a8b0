"""Rewriting of a float model for a fixed-point grid, as PyTorch's own FX graph mode does it.

The graph of the model is read once. On each of its edges stands what kind of values it carries, and
which shift of each channel is still to be added to them: by the sums of a layer in front, if these
are not rounded yet, otherwise by whatever reads the edge. So a batch norm, the shifts around it and
a shortcut's shift become one rounding.
"""

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from xnorflow.errors import LoweringError
from xnorflow.ir import FeatureMap
from xnorflow.sw.frontend.functions import (
    ARITHMETIC,
    DIFFERENCES,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    module_of,
)
from xnorflow.sw.frontend.trace import trace
from xnorflow.sw.nn.activations import Sign
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.dynamic import FrameMean, HyperFunction
from xnorflow.sw.nn.frame import DyPReLU, DySign
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.grid_convs import GridBinaryConv, GridConv, GridPixelConv, GridPointwise
from xnorflow.sw.nn.grid_layers import (
    Constant,
    GridAdd,
    GridAverage,
    GridDyPReLU,
    GridHardtanh,
    GridHyper,
    GridMaxout,
    GridPReLU,
    GridReLU,
    GridRPReLU,
    GridShift,
)
from xnorflow.sw.nn.prelu import Maxout, RPReLU
from xnorflow.sw.nn.shortcuts import IntegerPointwise, PadChannels, RepeatChannels, Subsample
from xnorflow.sw.nn.sums import (
    GridNorm1d,
    GridNorm2d,
    GridScores,
    Round,
    StreamSums,
    VectorSums,
    scale_sums,
)


__all__ = ["prepare"]


class _Kind(Enum):
    """What an edge carries, in the words of errors; and what may come there."""

    INPUT = "the input of the model", "IntegerConv2d and Conv2d"
    SUMS = "sums of a layer", "what takes a stream, and BatchNorm2d"
    STREAM = (
        "a stream",
        "convolutions, BatchNorm2d, activation functions of two slopes, Hardtanh, averages of "
        "2 × 2 or all pixels, MaxPool2d, Subsample, PadChannels, RepeatChannels, Flatten, "
        "+ and torch.cat, constants that scale or shift, HyperFunction, DySign and FrameMean",
    )
    VECTOR = "a vector", "Flatten, BatchNorm1d, and Linear as the last layer"
    NUMBERS = "numbers of the frame", "DySign and DyPReLU"
    ABOVE = "what is above thresholds of the frame", "BinaryConv2d"
    SCORES = "scores", "nothing"


@dataclass(frozen=True)
class _Edge:
    """What a node of the new graph delivers.

    Attributes
    ----------
    kind : _Kind
    node : Node
    channels : int
    bias : Node, optional
        A shift (channels,) that is still to be added.
    rounding : Node, optional
        A `Round` whose offset can take that shift along: nothing but this edge depends on it.
    mean : bool
        Whether it is above the frame's mean.
    """

    kind: _Kind
    node: fx.Node
    channels: int
    bias: fx.Node | None = None
    rounding: fx.Node | None = None
    mean: bool = False


def prepare(model: nn.Module, grid: Grid, frame: FeatureMap) -> fx.GraphModule:
    """Rewrite a float ``model`` so that it computes on a fixed-point grid.

    Parameters
    ----------
    model : Module
        It is not changed. It takes batches (N, channels, height, width) and returns scores (N,
        classes). Its leaves are xnorflow's layers and PyTorch's.
    grid : Grid
        Its fixed-point numbers.
    frame : FeatureMap
        Shape and type of a frame.

    Returns
    -------
    GraphModule
        With the names and parameters of the model, so that either loads the other's state. It is
        trained as the model is; in float64 its values are exactly those of the hardware. The grid
        and the frame are in its ``meta``.

    Raises
    ------
    LoweringError
        If something has no place on a grid.
    """
    training, model = model.training, copy.deepcopy(model).eval()
    prepared = _Rewrite(trace(model, frame), grid).result()
    prepared.meta |= {"grid": grid, "frame": frame}
    return prepared.train(training)


class _Rewrite:
    """A traced model on its way to a grid."""

    def __init__(self, traced: fx.GraphModule, grid: Grid) -> None:
        self.traced = traced
        self.grid = grid
        self.modules = dict(traced.named_modules())
        self.graph = fx.Graph()
        self.edges: dict[fx.Node, _Edge] = {}
        self.constants: dict[fx.Node, fx.Node] = {}
        self.last_constant: fx.Node | None = None
        self.node: fx.Node
        self.path = ""

    def result(self) -> fx.GraphModule:
        """The new module."""
        for node in self.traced.graph.nodes:
            self.node = node
            self.path = self._path(node)
            match node.op:
                case "placeholder":
                    self._input()
                case "get_attr":
                    self.constants[node] = self._constant_of(str(node.target))
                case "output":
                    self._output()
                case "call_module":
                    module = self.modules[self.path]
                    self.edges[node] = self._module(module, self.path)
                # What is not a tensor is a shape, which the graph has as numbers.
                case _ if "shape" in node.meta:
                    self.edges[node] = self._call()
        self.graph.lint()
        return fx.GraphModule(self.traced, self.graph)

    # -- the nodes of the traced graph ------------------------------------------------------------

    def _input(self) -> None:
        if self.edges:
            raise LoweringError("the model must take one tensor, not several")
        node = self.graph.placeholder(str(self.node.target))
        self.last_constant = node
        channels = self.node.meta["shape"][1]
        self.edges[self.node] = _Edge(_Kind.INPUT, node, channels)

    def _output(self) -> None:
        (result,) = self.node.args
        if not isinstance(result, fx.Node) or result not in self.edges:
            raise LoweringError("the model must return one tensor that its input decides")
        edge = self.edges[result]
        if edge.kind is not _Kind.SCORES:
            raise LoweringError(
                f"a model on a grid must end with a Linear behind a global average or Flatten, not "
                f"with {edge.kind.value[0]}"
            )
        self.graph.output(edge.node)

    def _path(self, node: fx.Node) -> str:
        """Where a node stands: its module, or one in the module that calls the function."""
        if node.op in ("call_module", "get_attr"):
            return str(node.target)
        within = list(node.meta.get("nn_module_stack") or {})
        base = f"{within[-1]}." if within and within[-1] else ""
        name = node.name.lstrip("_").rstrip("0123456789").rstrip("_") or node.op
        return self._free(f"{base}{name}")

    def _free(self, path: str) -> str:
        """The ``path``, or with a number behind it if there is something of this name."""
        number, free = 1, path
        while free in self.modules or _has(self.traced, free):
            number += 1
            free = f"{path}_{number}"
        return free

    # -- functions and operators ------------------------------------------------------------------

    def _call(self) -> _Edge:
        node, target = self.node, self.node.target
        origin = self._origin(target if isinstance(target, str) else target.__name__)  # type: ignore[union-attr]
        inputs = [each for each in node.all_input_nodes if each in self.edges]
        if target in (torch.cat, torch.concat):
            return self._concat(origin)
        if target in SUMS and len(inputs) == 2:
            return self._add(self.edges[inputs[0]], self.edges[inputs[1]])
        if target in SUMS and node.args[0] is node.args[1]:
            return self._add(self.edges[inputs[0]], self.edges[inputs[0]])
        if target in ARITHMETIC and len(inputs) == 1 and len(node.args) == 2:
            return self._arithmetic(inputs[0], origin)
        if len(inputs) != 1 or node.args[0] is not inputs[0]:
            raise LoweringError(f"{origin} has no place on a grid")
        if target in (torch.clamp, "clamp"):
            low, high = (*node.args[1:], None, None)[:2]
            ends = node.kwargs.get("min", low), node.kwargs.get("max", high)
            return self._module(nn.Hardtanh(*ends), origin)  # type: ignore[arg-type]
        shapes = inputs[0].meta["shape"], node.meta["shape"]
        module = module_of(target, node.args[1:], node.kwargs, origin, shapes)
        return self._module(module, origin)

    def _origin(self, what: str) -> str:
        return f"{self.path} ({what})"

    def _concat(self, origin: str) -> _Edge:
        tensors, *axes = (*self.node.args, *self.node.kwargs.values())
        if not isinstance(tensors, tuple | list) or axes not in ([1], [-3]) or len(tensors) < 2:
            raise LoweringError(f"{origin} must join the channels of several maps, dimension 1")
        joined, *others = (self._stream(self.edges[each]) for each in tensors)  # type: ignore[index]
        for other in others:
            bias = None
            if joined.bias is not None or other.bias is not None:
                parts = (
                    self._padded(joined.bias, 0, other.channels),
                    self._padded(other.bias, joined.channels, 0),
                )
                bias = self._sum(*parts)
            node = self.graph.call_function(torch.cat, ((joined.node, other.node), 1))
            channels = joined.channels + other.channels
            joined = _Edge(_Kind.STREAM, node, channels, bias)
        return joined

    def _add(self, x: _Edge, other: _Edge) -> _Edge:
        x, other = self._stream(x), self._stream(other)
        rounding = None if x.node is other.node else x.rounding or other.rounding
        node = self._insert("add", GridAdd(self.grid), x.node, other.node)
        alone = len(self.node.users) == 1
        bias = self._sum(x.bias, other.bias)
        return replace(x, node=node, bias=bias, rounding=rounding if alone else None)

    def _arithmetic(self, source: fx.Node, origin: str) -> _Edge:
        """A constant that scales or shifts."""
        node, x = self.node, self.edges[source]
        leads = node.args[0] is not source
        constant = node.args[0] if leads else node.args[1]
        value: Any = self.constants.get(constant) if isinstance(constant, fx.Node) else constant  # type: ignore[arg-type]
        if value is None or (leads and node.target in DIFFERENCES | QUOTIENTS):
            raise LoweringError(f"{origin} has no place on a grid")
        if isinstance(value, fx.Node):
            value = self._per_channel(constant, value, x.channels, origin)
        if node.target in PRODUCTS | QUOTIENTS:
            if node.target in QUOTIENTS:
                value = self._constant(operator.truediv, 1.0, value)
            return self._scale(x, value)
        if node.target in DIFFERENCES:
            value = self._constant(operator.neg, value)
        if not isinstance(value, fx.Node):
            value = self._vector(float(value), x.channels)
        x = self._stream(x)
        return replace(x, bias=self._sum(x.bias, value))

    def _per_channel(self, constant: Any, value: fx.Node, channels: int, origin: str) -> fx.Node:
        shape = tuple(operator.attrgetter(str(constant.target))(self.traced).shape)
        trimmed = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
        if shape not in ((), (1,)) and trimmed != (channels, 1, 1) and set(trimmed) != {1}:
            raise LoweringError(
                f"{origin} has a constant that is neither a number nor one for each channel"
            )
        flat = self._constant(torch.reshape, value, (-1,))
        return self._constant(torch.Tensor.expand, flat, channels)

    def _scale(self, x: _Edge, factor: Any) -> _Edge:
        if x.kind is _Kind.STREAM:
            x = self._sums(x)
        if x.kind not in (_Kind.SUMS, _Kind.VECTOR):
            raise self._refusal(x, "a factor")
        node = self.graph.call_function(scale_sums, (x.node, factor))
        return replace(x, node=node)

    # -- modules ----------------------------------------------------------------------------------

    def _module(self, module: nn.Module, origin: str) -> _Edge:
        """What a layer, or a function like it, becomes."""
        if self.node.op == "call_module":
            origin = self._origin(type(module).__name__)
        sources = [self.edges[each] for each in self.node.all_input_nodes if each in self.edges]
        x = sources[0]
        match module:
            case nn.Identity() | nn.Dropout() | nn.Dropout2d():
                return x
            case BinaryConv2d() | IntegerConv2d() | IntegerPointwise() | nn.Conv2d():
                return self._convolution(module, x, origin)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                return self._norm(module, x, origin)
            case nn.Linear():
                return self._scores(module, x, origin)
            case nn.Flatten():
                return self._flatten(x, origin)
            case DyPReLU():
                return self._dynamic_slopes(module, sources)
            case nn.ReLU() | nn.LeakyReLU() | nn.PReLU() | Maxout() | RPReLU():
                return self._slopes(module, x)
            case HyperFunction() | DySign() | FrameMean():
                return self._of_frame(module, sources)
            case _:
                return self._map(module, x, origin)

    def _convolution(self, conv: nn.Module, x: _Edge, origin: str) -> _Edge:
        match conv:
            case IntegerConv2d():
                self._expect(x, origin, _Kind.INPUT)
                node = self._become(conv, GridPixelConv, x.node)
            case BinaryConv2d() if x.kind is _Kind.ABOVE:
                quantiser = conv.activation_quantiser
                if x.mean and not isinstance(quantiser, Sign):
                    raise LoweringError(f"{origin} must binarise with Sign behind a FrameMean")
                node = self._become(conv, GridBinaryConv, *_with_bias(x))
            case BinaryConv2d():
                self._expect(x, origin, _Kind.STREAM, _Kind.SUMS)
                node = self._become(conv, GridBinaryConv, *_with_bias(self._stream(x)))
            case _:
                node = self._integer_convolution(conv, x, origin)
        weight: Any = conv.weight
        return _Edge(_Kind.SUMS, node, len(weight))

    def _integer_convolution(self, conv: Any, x: _Edge, origin: str) -> fx.Node:
        pixels = x.kind is _Kind.INPUT
        if isinstance(conv, IntegerPointwise):
            self._expect(x, origin, _Kind.STREAM, _Kind.SUMS)
            node = self._become(conv, GridPointwise, *_with_bias(self._stream(x)))
        else:
            self._expect(x, origin, _Kind.INPUT, _Kind.STREAM, _Kind.SUMS)
            square = len(set(conv.stride)) == 1 and conv.padding in ((0, 0), (conv.padding[0],) * 2)
            if not square or conv.groups != 1 or conv.padding_mode != "zeros":
                raise LoweringError(
                    f"{origin} must have one stride, one padding with zeros and one group"
                )
            if set(conv.dilation) != {1}:
                raise LoweringError(f"{origin} must not have dilation")
            arguments = (x.node,) if pixels else _with_bias(self._stream(x))
            node = self._become(conv, GridConv, *arguments)
        conv.pixels = pixels
        return node

    def _norm(self, norm: nn.Module, x: _Edge, origin: str) -> _Edge:
        self._expect(x, origin, _Kind.SUMS, _Kind.STREAM, _Kind.VECTOR)
        x = self._sums(x) if x.kind is _Kind.STREAM else x
        cls = GridNorm1d if isinstance(norm, nn.BatchNorm1d) else GridNorm2d
        return replace(x, node=self._become(norm, cls, x.node))

    def _scores(self, linear: nn.Linear, x: _Edge, origin: str) -> _Edge:
        self._expect(x, origin, _Kind.VECTOR)
        (user, *others) = self.node.users
        if others or user.op != "output":
            raise LoweringError(f"{origin} must be the last layer: on a grid, no other is a Linear")
        node = self._become(linear, GridScores, x.node)
        return _Edge(_Kind.SCORES, node, linear.out_features)

    def _flatten(self, x: _Edge, origin: str) -> _Edge:
        self._expect(x, origin, _Kind.STREAM, _Kind.SUMS, _Kind.VECTOR)
        if len(self.node.meta["shape"]) != 2:
            raise LoweringError(f"{origin} must flatten all values of a frame")
        if x.kind is _Kind.VECTOR:
            return x
        return self._vectors(x, average=False)

    def _vectors(self, x: _Edge, *, average: bool) -> _Edge:
        x = self._stream(x)
        name = "mean" if average else "values"
        module = VectorSums(self.grid, average=average)
        node = self._insert(name, module, *_with_bias(x))
        shape = self.node.meta["shape"]
        return _Edge(_Kind.VECTOR, node, shape[1])

    def _slopes(self, module: nn.Module, x: _Edge) -> _Edge:
        before = after = None
        if isinstance(module, RPReLU):
            before, after = (self._constant_of(f"{self.path}.{end}") for end in ("before", "after"))
        x = self._settled(x, before)
        match module:
            case Maxout():
                node = self._become(module, GridMaxout, x.node)
            case RPReLU():
                node = self._become(module, GridRPReLU, x.node)
            case nn.PReLU():
                node = self._become(module, GridPReLU, x.node)
            case _:
                negative = getattr(module, "negative_slope", 0.0)
                node = self._put(self.path, GridReLU(self.grid, negative), x.node)
        return _Edge(_Kind.STREAM, node, x.channels, after)

    def _dynamic_slopes(self, module: DyPReLU, sources: list[_Edge]) -> _Edge:
        x, *numbers = sources
        before, after = (self._constant_of(f"{self.path}.{end}") for end in ("before", "after"))
        x = self._settled(x, before)
        node = self._become(module, GridDyPReLU, x.node, *(each.node for each in numbers))
        return _Edge(_Kind.STREAM, node, x.channels, after)

    def _of_frame(self, module: nn.Module, sources: list[_Edge]) -> _Edge:
        x, *numbers = sources
        match module:
            case HyperFunction():
                x = self._stream(x)
                node = self._become(module, GridHyper, *_with_bias(x))
                return _Edge(_Kind.NUMBERS, node, module.excite.out_features)
            case DySign():
                x = self._stream(x)
                node = self._put(self.path, module, x.node, numbers[0].node)
                return replace(x, kind=_Kind.ABOVE, node=node, rounding=None)
            case _:
                x = self._settled(x, None)
                return replace(
                    x, kind=_Kind.ABOVE, node=self._put(self.path, module, x.node), mean=True
                )

    def _map(self, module: nn.Module, x: _Edge, origin: str) -> _Edge:
        """Layers without parameters, which only move values, or pool them."""
        if x.kind not in (_Kind.STREAM, _Kind.SUMS):
            raise self._refusal(x, origin)
        place: Callable[..., fx.Node] = self._put
        match module:
            case nn.Hardtanh() if (module.min_val, module.max_val) == (-1, 1):
                if not self.grid.fraction:
                    raise LoweringError(f"{origin} needs fractional bits, and the grid has none")
                x = self._settled(x, None)
                node = place(self.path, GridHardtanh(self.grid), x.node)
                return _Edge(_Kind.STREAM, node, x.channels)
            case nn.AdaptiveAvgPool2d() if _pair(module.output_size) == (1, 1):
                return self._vectors(x, average=True)
            case nn.AvgPool2d():
                return self._average(module, x, origin)
            case nn.MaxPool2d():
                windows = module.kernel_size, module.stride, module.padding, module.dilation
                halving = [_pair(each) for each in windows] == [(3, 3), (2, 2), (1, 1), (1, 1)]
                if not halving:
                    self._check_pool(module, origin)
                return self._moved(self._stream(x), module)
            case Subsample():
                return self._moved(self._stream(x), module)
            case PadChannels():
                x, sides = self._stream(x), (module.before, module.after)
                bias = None if x.bias is None else self._padded(x.bias, *sides)
                return replace(self._moved(x, module), bias=bias, channels=x.channels + sum(sides))
            case RepeatChannels():
                x = self._stream(x)
                bias = None if x.bias is None else self._constant(torch.Tensor.repeat, x.bias, 2)
                return replace(self._moved(x, module), bias=bias, channels=2 * x.channels)
            case _:
                raise self._refusal(x, origin)

    def _check_pool(self, pool: nn.MaxPool2d, origin: str) -> None:
        """Whether a pool of windows side by side is that of the bits behind it."""
        (size, width), stride = _pair(pool.kernel_size), _pair(pool.stride)
        plain = _pair(pool.padding) == (0, 0) and _pair(pool.dilation) == (1, 1)
        if size != width or stride != (size, size) or size < 2 or not plain or pool.ceil_mode:
            raise LoweringError(
                f"{origin} must be a MaxPool2d(3, 2, 1), or have square windows side by side"
            )
        users = [self.modules.get(str(user.target)) for user in self.node.users]
        if not all(isinstance(user, BinaryConv2d) for user in users):
            raise LoweringError(
                f"{origin} pools a stream: only a BinaryConv2d can read it, unless it is a "
                "MaxPool2d(3, 2, 1)"
            )

    def _average(self, pool: nn.AvgPool2d, x: _Edge, origin: str) -> _Edge:
        size, stride = _pair(pool.kernel_size), _pair(pool.stride)
        source = self.node.all_input_nodes[0].meta["shape"][2:]
        plain = _pair(pool.padding) == (0, 0) and not pool.ceil_mode and not pool.divisor_override
        power = size == stride and size[0] == size[1] and not size[0] & (size[0] - 1)
        if size == tuple(source) and plain and not power:
            return self._vectors(x, average=True)
        if not (plain and power):
            raise LoweringError(
                f"{origin} must average windows side by side, of 2, 4, 8 … rows and columns, or "
                "the whole map"
            )
        x = self._stream(x)
        node = self._put(self.path, GridAverage(self.grid, size[0]), x.node)
        return replace(x, node=node, rounding=None)

    # -- edges ------------------------------------------------------------------------------------

    def _stream(self, x: _Edge) -> _Edge:
        """The stream that an edge carries; sums are rounded."""
        if x.kind is _Kind.SUMS:
            path = self._free(f"{x.node.target if x.node.op == 'call_module' else self.path}_round")
            # Where the sums are, so that the rest of the graph keeps its order.
            with self.graph.inserting_after(x.node):
                node = self._put(path, Round(self.grid), x.node)
            edge = replace(x, kind=_Kind.STREAM, node=node)
            alone = all(len(each.users) == 1 for each, other in self.edges.items() if other is x)
            if not alone:
                self.edges |= {each: edge for each, other in self.edges.items() if other is x}
            return replace(edge, rounding=node if alone else None)
        if x.kind is not _Kind.STREAM:
            raise self._refusal(x, self.path)
        return x

    def _settled(self, x: _Edge, shift: fx.Node | None) -> _Edge:
        """The stream with its bias and another ``shift`` added to it."""
        x = self._stream(x)
        bias = self._sum(x.bias, shift)
        if bias is None:
            return replace(x, rounding=None)
        node = x.node
        if x.rounding is not None:
            x.rounding.args = (x.rounding.args[0], bias)
        else:
            node = self._insert("shift", GridShift(self.grid), node, bias)
        return replace(x, node=node, bias=None, rounding=None)

    def _sums(self, x: _Edge) -> _Edge:
        """The values of a stream as sums that can be scaled."""
        node = self._insert("sums", StreamSums(self.grid), *_with_bias(x))
        return _Edge(_Kind.SUMS, node, x.channels)

    def _moved(self, x: _Edge, module: nn.Module) -> _Edge:
        return replace(x, node=self._put(self.path, module, x.node), rounding=None)

    def _expect(self, x: _Edge, origin: str, *kinds: _Kind) -> None:
        if x.kind not in kinds:
            raise self._refusal(x, origin)

    def _refusal(self, x: _Edge, origin: str) -> LoweringError:
        what, accepted = x.kind.value
        return LoweringError(
            f"{origin} cannot be put on a grid where it gets {what}: accepted there are {accepted}"
        )

    # -- nodes of the new graph -------------------------------------------------------------------

    def _become(self, module: nn.Module, cls: type[nn.Module], *arguments: fx.Node) -> fx.Node:
        """Call of a layer of another class, with the parameters of ``module``."""
        module.__class__ = cls
        module.grid = self.grid  # type: ignore[assignment]
        return self.graph.call_module(self.path, arguments)

    def _insert(self, name: str, module: nn.Module, *arguments: fx.Node) -> fx.Node:
        """Call of a new ``module`` in that of this node."""
        within = self.path.rpartition(".")[0]
        if self.node.op != "call_module" and name == "add":
            return self._put(self.path, module, *arguments)
        return self._put(self._free(f"{within}.{name}" if within else name), module, *arguments)

    def _put(self, path: str, module: nn.Module, *arguments: fx.Node) -> fx.Node:
        """Call of a ``module`` without parameters of its own."""
        self.traced.add_submodule(path, module)
        return self.graph.call_module(path, arguments)

    def _constant(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call of a function of constants, which comes before everything else."""
        if not any(isinstance(each, fx.Node) for each in arguments):
            return function(*arguments)
        assert self.last_constant is not None
        with self.graph.inserting_after(self.last_constant):
            self.last_constant = self.graph.call_function(function, arguments)
        return self.last_constant

    def _constant_of(self, path: str) -> fx.Node:
        """A parameter, or a buffer."""
        assert self.last_constant is not None
        with self.graph.inserting_after(self.last_constant):
            self.last_constant = self.graph.get_attr(path)
        return self.last_constant

    def _vector(self, value: float, channels: int) -> fx.Node:
        """The same ``value`` for every channel."""
        path = self._free(f"{self.path}_constant")
        like = next(iter(self.traced.parameters()), torch.zeros(()))
        self.traced.add_submodule(path, Constant(like.new_full((channels,), value).detach()))
        assert self.last_constant is not None
        with self.graph.inserting_after(self.last_constant):
            self.last_constant = self.graph.call_module(path)
        return self.last_constant

    def _padded(self, bias: fx.Node | None, before: int, after: int) -> fx.Node | None:
        if bias is None:
            return None
        return self._constant(functional.pad, bias, (before, after))

    def _sum(self, *terms: fx.Node | None) -> fx.Node | None:
        known = [term for term in terms if term is not None]
        if len(known) < 2:
            return known[0] if known else None
        return self._constant(operator.add, *known)


def _with_bias(x: _Edge) -> tuple[fx.Node, ...]:
    return (x.node,) if x.bias is None else (x.node, x.bias)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _has(module: nn.Module, path: str) -> bool:
    try:
        operator.attrgetter(path)(module)
    except AttributeError:
        return False
    return True
