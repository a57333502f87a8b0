"""Rewriting of a float model for a fixed-point grid, as PyTorch's own FX graph mode does it.

The graph of the model is read once. On each of its edges stands what kind of values it carries, and
which shift of each channel is still to be added to them: by the sums of a layer in front, if these
are not rounded yet, otherwise by whatever reads the edge. So a batch norm, the shifts around it and
a shortcut's shift become one rounding.
"""

import copy
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from torch import fx, nn

from xnorflow.errors import LoweringError
from xnorflow.ir import FeatureMap
from xnorflow.sw.frontend.functions import (
    ARITHMETIC,
    DIFFERENCES,
    KNOWN,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    module_of,
)
from xnorflow.sw.frontend.modules import pair
from xnorflow.sw.frontend.pools import max_pool, upsampling
from xnorflow.sw.frontend.rewriting import Edge, Kind, Rewriting, with_bias
from xnorflow.sw.frontend.trace import results_of, trace
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.dynamic import FrameMean, HyperFunction
from xnorflow.sw.nn.frame import DyPReLU, DySign
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.grid_convs import (
    GridBinaryConv,
    GridConv,
    GridPixelConv,
    GridPointwise,
    off_grid,
)
from xnorflow.sw.nn.grid_layers import (
    GridAverage,
    GridDyPReLU,
    GridHardtanh,
    GridHyper,
    GridMaxout,
    GridPReLU,
    GridReLU,
    GridRPReLU,
)
from xnorflow.sw.nn.prelu import Maxout, RPReLU
from xnorflow.sw.nn.shortcuts import IntegerPointwise, PadChannels, RepeatChannels, Subsample
from xnorflow.sw.nn.sign import Sign
from xnorflow.sw.nn.sums import GridNorm1d, GridNorm2d, GridScores


__all__ = ["is_prepared", "prepare"]


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

    Examples
    --------
    >>> model = torch.nn.Sequential(
    ...     nn.IntegerConv2d(3, 4, 3, mean=(0.5,) * 3, deviation=(0.25,) * 3),
    ...     torch.nn.BatchNorm2d(4),
    ...     torch.nn.AdaptiveAvgPool2d(1),
    ...     torch.nn.Flatten(),
    ...     torch.nn.Linear(4, 2),
    ... )
    >>> frame = xnorflow.FeatureMap(18, 18, 3, xnorflow.UInt(8))
    >>> model = xnorflow.prepare(model, xnorflow.Grid(bits=16, fraction=8), frame)
    >>> xnorflow.lower(model.eval()).input.shape
    (18, 18, 3)
    """
    training, model = model.training, copy.deepcopy(model).eval()
    prepared = _Rewrite(model, grid).result(trace(model, frame).graph)
    prepared.meta |= {"grid": grid, "frame": frame}
    return prepared.train(training)


def is_prepared(model: nn.Module) -> TypeGuard[fx.GraphModule]:
    """Whether `prepare` made a ``model``."""
    return isinstance(model, fx.GraphModule) and "grid" in model.meta


class _Rewrite(Rewriting):
    """A traced model on its way to a grid."""

    def result(self, graph: fx.Graph) -> fx.GraphModule:
        """The new module, from the traced graph of the former."""
        for node in graph.nodes:
            self.node = node
            self.path = self.path_of(node)
            match node.op:
                case "placeholder":
                    self._input()
                case "get_attr":
                    self.constants[node] = self.parameter(str(node.target))
                case "output":
                    self._output()
                case "call_module":
                    module = self.modules[self.path]
                    self.edges[node] = self._module(module, self.path)
                # What is not a tensor is a shape, which the graph has as numbers.
                case _ if "shape" in node.meta:
                    self.edges[node] = self._call()
        self.keep_state()
        self.graph.lint()
        return fx.GraphModule(self.model, self.graph, type(self.model).__name__)

    # -- the nodes of the traced graph ------------------------------------------------------------

    def _input(self) -> None:
        if self.edges:
            raise LoweringError("the model must take one tensor, not several")
        node = self.graph.placeholder(str(self.node.target))
        self.last_constant = node
        self.edges[self.node] = Edge(Kind.INPUT, node, self.node.meta["shape"][1])

    def _output(self) -> None:
        for result in results_of(self.node).values():
            if result not in self.edges:
                raise LoweringError("the model must return one tensor that its input decides")
            if self.edges[result].kind is not Kind.SCORES:
                raise LoweringError(
                    f"a model on a grid must end with a Linear behind a global average or Flatten, "
                    f"not with {self.edges[result].kind.value[0]}"
                )
        self.graph.output(fx.map_arg(self.node.args[0], lambda each: self.edges[each].node))

    # -- functions and operators ------------------------------------------------------------------

    def _call(self) -> Edge:
        node, target = self.node, self.node.target
        origin = self.origin(target if isinstance(target, str) else target.__name__)
        inputs = [each for each in node.all_input_nodes if each in self.edges]
        if target in (torch.cat, torch.concat):
            return self._concat(origin)
        if target in SUMS and len(inputs) == 2:
            return self.added(self.edges[inputs[0]], self.edges[inputs[1]])
        if target in SUMS and node.args[0] is node.args[1]:
            return self.added(self.edges[inputs[0]], self.edges[inputs[0]])
        if target in ARITHMETIC and len(inputs) == 1 and len(node.args) == 2:
            return self._arithmetic(inputs[0], origin)
        if not inputs or node.args[0] is not inputs[0]:
            raise LoweringError(f"{origin} has no place on a grid")
        if target in (torch.clamp, "clamp"):
            low, high = (*node.args[1:], None, None)[:2]
            ends = node.kwargs.get("min", low), node.kwargs.get("max", high)
            return self._module(nn.Hardtanh(*ends), origin)  # type: ignore[arg-type]
        if target not in KNOWN:
            raise self.refusal(self.edges[inputs[0]], origin)
        shapes = inputs[0].meta["shape"], node.meta["shape"]
        module = module_of(target, node.args[1:], node.kwargs, origin, shapes)
        return self._module(module, origin)

    def _concat(self, origin: str) -> Edge:
        tensors, *axes = (*self.node.args, *self.node.kwargs.values())
        if not isinstance(tensors, tuple | list) or axes not in ([1], [-3]) or len(tensors) < 2:
            raise LoweringError(f"{origin} must join the channels of several maps, dimension 1")
        parts = [self.stream(self.edges[each]) for each in tensors]  # type: ignore[index]
        channels, start, bias = sum(part.channels for part in parts), 0, None
        for part in parts:
            after = channels - start - part.channels
            bias = self.total(bias, self.padded(part.bias, start, after))
            start += part.channels
        node = self.graph.call_function(torch.cat, (tuple(part.node for part in parts), 1))
        return Edge(Kind.STREAM, node, channels, bias)

    def _arithmetic(self, source: fx.Node, origin: str) -> Edge:
        """A constant that scales or shifts."""
        node, x = self.node, self.edges[source]
        leads = node.args[0] is not source
        constant: Any = node.args[0] if leads else node.args[1]
        value = self.constants.get(constant) if isinstance(constant, fx.Node) else constant
        if value is None or (leads and node.target in DIFFERENCES | QUOTIENTS):
            raise LoweringError(f"{origin} has no place on a grid")
        if isinstance(value, fx.Node):
            value = self.per_channel(constant, value, x.channels, origin)
        if node.target in PRODUCTS | QUOTIENTS:
            if node.target in QUOTIENTS:
                value = self.fold(operator.truediv, 1.0, value)
            return self.scaled(x, value)
        if node.target in DIFFERENCES:
            value = self.fold(operator.neg, value)
        if not isinstance(value, fx.Node):
            value = self.vector(float(value), x.channels)
        x = self.stream(x)
        return replace(x, bias=self.total(x.bias, value))

    # -- modules ----------------------------------------------------------------------------------

    def _module(self, module: nn.Module, origin: str) -> Edge:
        """Replacement of a layer, or of a function like it."""
        if self.node.op == "call_module":
            origin = self.origin(type(module).__name__)
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

    def _convolution(self, conv: nn.Module, x: Edge, origin: str) -> Edge:
        match conv:
            case IntegerConv2d():
                self.expect(x, origin, Kind.INPUT)
                node = self.become(conv, GridPixelConv, x.node)
            case BinaryConv2d() if (why := off_grid(conv)) is not None:
                raise LoweringError(f"{origin} {why}")
            case BinaryConv2d() if x.kind is Kind.ABOVE:
                quantiser = conv.activation_quantiser
                if x.mean and not isinstance(quantiser, Sign):
                    raise LoweringError(f"{origin} must binarise with Sign behind a FrameMean")
                node = self.become(conv, GridBinaryConv, *with_bias(x))
            case BinaryConv2d():
                self.expect(x, origin, Kind.STREAM, Kind.SUMS)
                node = self.become(conv, GridBinaryConv, *with_bias(self.stream(x)))
            case _:
                node = self._integer_convolution(conv, x, origin)
        return Edge(Kind.SUMS, node, self.node.meta["shape"][1])

    def _integer_convolution(self, conv: Any, x: Edge, origin: str) -> fx.Node:
        pixels = x.kind is Kind.INPUT
        if isinstance(conv, IntegerPointwise):
            self.expect(x, origin, Kind.STREAM, Kind.SUMS)
            node = self.become(conv, GridPointwise, *with_bias(self.stream(x)))
        else:
            self.expect(x, origin, Kind.INPUT, Kind.STREAM, Kind.SUMS)
            if conv.padding_mode != "zeros":
                raise LoweringError(f"{origin} must be padded with zeros")
            arguments = (x.node,) if pixels else with_bias(self.stream(x))
            node = self.become(conv, GridConv, *arguments)
        conv.pixels = pixels
        return node

    def _norm(self, norm: nn.Module, x: Edge, origin: str) -> Edge:
        self.expect(x, origin, Kind.SUMS, Kind.STREAM, Kind.VECTOR)
        x = self.sums_of(x) if x.kind is Kind.STREAM else x
        cls = GridNorm1d if isinstance(norm, nn.BatchNorm1d) else GridNorm2d
        return replace(x, node=self.become(norm, cls, x.node))

    def _scores(self, linear: nn.Linear, x: Edge, origin: str) -> Edge:
        self.expect(x, origin, Kind.VECTOR)
        (user, *others) = self.node.users
        if others or user.op != "output":
            raise LoweringError(f"{origin} must be the last layer: on a grid, no other is a Linear")
        node = self.become(linear, GridScores, x.node)
        return Edge(Kind.SCORES, node, linear.out_features)

    def _flatten(self, x: Edge, origin: str) -> Edge:
        self.expect(x, origin, Kind.STREAM, Kind.SUMS, Kind.VECTOR)
        if len(self.node.meta["shape"]) != 2:
            raise LoweringError(f"{origin} must flatten all values of a frame")
        if x.kind is Kind.VECTOR:
            return x
        return self.vectors(x, average=False)

    def _slopes(self, module: nn.Module, x: Edge) -> Edge:
        before = after = None
        if isinstance(module, RPReLU):
            before, after = (self.parameter(f"{self.path}.{end}") for end in ("before", "after"))
        x = self.absorbed(x, before)
        match module:
            case Maxout():
                node = self.become(module, GridMaxout, x.node)
            case RPReLU():
                node = self.become(module, GridRPReLU, x.node)
            case nn.PReLU():
                node = self.become(module, GridPReLU, x.node)
            case _:
                negative = getattr(module, "negative_slope", 0.0)
                node = self.put(self.path, GridReLU(self.grid, negative), x.node)
        return Edge(Kind.STREAM, node, x.channels, after)

    def _dynamic_slopes(self, module: DyPReLU, sources: list[Edge]) -> Edge:
        x, *numbers = sources
        before, after = (self.parameter(f"{self.path}.{end}") for end in ("before", "after"))
        x = self.absorbed(x, before)
        node = self.become(module, GridDyPReLU, x.node, *(each.node for each in numbers))
        return Edge(Kind.STREAM, node, x.channels, after)

    def _of_frame(self, module: nn.Module, sources: list[Edge]) -> Edge:
        x, *numbers = sources
        match module:
            case HyperFunction():
                x = self.stream(x)
                node = self.become(module, GridHyper, *with_bias(x))
                return Edge(Kind.NUMBERS, node, module.excite.out_features)
            case DySign():
                x = self.stream(x)
                node = self.put(self.path, module, x.node, numbers[0].node)
                return replace(x, kind=Kind.ABOVE, node=node, rounding=None)
            case _:
                x = self.absorbed(x, None)
                return replace(
                    x, kind=Kind.ABOVE, node=self.put(self.path, module, x.node), mean=True
                )

    def _map(self, module: nn.Module, x: Edge, origin: str) -> Edge:
        """Layers without parameters, which only move values, or pool them."""
        if x.kind not in (Kind.STREAM, Kind.SUMS):
            raise self.refusal(x, origin)
        place: Callable[..., fx.Node] = self.put
        match module:
            case nn.Hardtanh() if (module.min_val, module.max_val) == (-1, 1):
                if not self.grid.fraction:
                    raise LoweringError(f"{origin} needs fractional bits, and the grid has none")
                x = self.absorbed(x, None)
                node = place(self.path, GridHardtanh(self.grid), x.node)
                return Edge(Kind.STREAM, node, x.channels)
            case nn.AdaptiveAvgPool2d() if pair(module.output_size) == (1, 1):
                return self.vectors(x, average=True)
            case nn.AvgPool2d():
                return self._average(module, x, origin)
            case nn.MaxPool2d():
                max_pool(module, origin, self._sides())
                return self.moved(self.stream(x), module)
            case nn.Upsample():
                upsampling(module, origin, self._sides())
                return self.moved(self.stream(x), module)
            case Subsample():
                return self.moved(self.stream(x), module)
            case PadChannels():
                x, sides = self.stream(x), (module.before, module.after)
                bias = None if x.bias is None else self.padded(x.bias, *sides)
                return replace(self.moved(x, module), bias=bias, channels=x.channels + sum(sides))
            case RepeatChannels():
                x = self.stream(x)
                bias = None if x.bias is None else self.fold(torch.Tensor.repeat, x.bias, 2)
                return replace(self.moved(x, module), bias=bias, channels=2 * x.channels)
            case _:
                raise self.refusal(x, origin)

    def _sides(self) -> tuple[int, ...]:
        """Rows and columns of the map that the node gets."""
        return tuple(self.node.all_input_nodes[0].meta["shape"][2:])

    def _average(self, pool: nn.AvgPool2d, x: Edge, origin: str) -> Edge:
        size, stride = pair(pool.kernel_size), pair(pool.stride)
        plain = pair(pool.padding) == (0, 0) and not pool.ceil_mode and not pool.divisor_override
        power = size == stride and size[0] == size[1] and not size[0] & (size[0] - 1)
        if size == self._sides() and plain and not power:
            return self.vectors(x, average=True)
        if not (plain and power):
            raise LoweringError(
                f"{origin} must average windows side by side, of 2, 4, 8 … rows and columns, or "
                "the whole map"
            )
        x = self.stream(x)
        node = self.put(self.path, GridAverage(self.grid, size[0]), x.node)
        return replace(x, node=node, rounding=None)
