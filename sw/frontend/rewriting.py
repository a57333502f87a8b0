"""A graph that is rewritten for a fixed-point grid: its edges, and the nodes on them."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.grid_layers import Constant, GridAdd, GridShift
from xnorflow.sw.nn.sums import Round, StreamSums, VectorSums, scale_sums


__all__ = ["Edge", "Kind", "Rewriting", "with_bias"]

_OWNERS = "call_module", "get_attr"


class Kind(Enum):
    """Kind of value on an edge, in the words of errors; and the layers that take it."""

    INPUT = "the input of the model", "IntegerConv2d and Conv2d"
    SUMS = "sums of a layer", "what takes a stream, and BatchNorm2d"
    STREAM = (
        "a stream",
        "convolutions, BatchNorm2d, activation functions of two slopes, Hardtanh, averages of "
        "2 × 2 or all pixels, MaxPool2d, Upsample, Subsample, PadChannels, RepeatChannels, "
        "Flatten, + and torch.cat, constants that scale or shift, HyperFunction, DySign and "
        "FrameMean",
    )
    VECTOR = "a vector", "Flatten, BatchNorm1d, and Linear as the last layer"
    NUMBERS = "dynamic thresholds and shifts", "DySign and DyPReLU"
    ABOVE = "what is above dynamic thresholds", "BinaryConv2d"
    SCORES = "scores", "nothing"


@dataclass(frozen=True)
class Edge:
    """Output of a node of the new graph.

    Attributes
    ----------
    kind : Kind
    node : Node
    channels : int
    bias : Node, optional
        A shift (channels,) that is still to be added.
    rounding : Node, optional
        A `Round` whose offset can take that shift along: nothing but this edge depends on it.
    mean : bool
        Whether it is above the frame's mean.
    """

    kind: Kind
    node: fx.Node
    channels: int
    bias: fx.Node | None = None
    rounding: fx.Node | None = None
    mean: bool = False


class Rewriting:
    """The new graph of a traced model, as far as it is known.

    Attributes
    ----------
    model : Module
        What is traced; its layers become those of the grid.
    edges : dict of Node to Edge
        What the nodes of the traced graph deliver in the new one.
    node : Node
        Of the traced graph, the one whose turn it is.
    path : str
        Where it stands: its module, or one in the module that calls the function.
    """

    def __init__(self, model: nn.Module, grid: Grid) -> None:
        self.model = model
        self.grid = grid
        self.modules = dict(model.named_modules())
        self.graph = fx.Graph()
        self.edges: dict[fx.Node, Edge] = {}
        self.constants: dict[fx.Node, fx.Node] = {}
        self.last_constant: fx.Node | None = None
        self.node: fx.Node
        self.path = ""

    def path_of(self, node: fx.Node) -> str:
        """Where a node stands: its module, or one in the module that calls the function."""
        if node.op in ("call_module", "get_attr"):
            return str(node.target)
        within = list(node.meta.get("nn_module_stack") or {})
        base = f"{within[-1]}." if within and within[-1] else ""
        name = node.name.lstrip("_").rstrip("0123456789").rstrip("_") or node.op
        return self.free(f"{base}{name}")

    def free(self, path: str) -> str:
        """The ``path``, or with a number behind it if there is something of this name."""
        number, free = 1, path
        while free in self.modules or _has(self.model, free):
            number += 1
            free = f"{path}_{number}"
        return free

    def origin(self, what: str) -> str:
        """Name of this node in errors."""
        return f"{self.path} ({what})"

    # -- edges ------------------------------------------------------------------------------------

    def stream(self, x: Edge) -> Edge:
        """The stream that an edge carries; sums are rounded."""
        if x.kind is Kind.SUMS:
            path = self.free(f"{x.node.target if x.node.op == 'call_module' else self.path}_round")
            # Where the sums are, so that the rest of the graph keeps its order.
            with self.graph.inserting_after(x.node):
                node = self.put(path, Round(self.grid), x.node)
            edge = replace(x, kind=Kind.STREAM, node=node)
            alone = all(len(each.users) == 1 for each, other in self.edges.items() if other is x)
            if not alone:
                self.edges |= {each: edge for each, other in self.edges.items() if other is x}
            return replace(edge, rounding=node if alone else None)
        if x.kind is not Kind.STREAM:
            raise self.refusal(x, self.path)
        return x

    def absorbed(self, x: Edge, shift: fx.Node | None) -> Edge:
        """The stream with its bias and another ``shift`` added to it."""
        x = self.stream(x)
        bias = self.total(x.bias, shift)
        if bias is None:
            return replace(x, rounding=None)
        node = x.node
        if x.rounding is not None:
            x.rounding.args = (x.rounding.args[0], bias)
        else:
            node = self.insert("shift", GridShift(self.grid), node, bias)
        return replace(x, node=node, bias=None, rounding=None)

    def sums_of(self, x: Edge) -> Edge:
        """The values of a stream as sums that can be scaled."""
        node = self.insert("sums", StreamSums(self.grid), *with_bias(x))
        return Edge(Kind.SUMS, node, x.channels)

    def moved(self, x: Edge, module: nn.Module) -> Edge:
        """A stream whose values a ``module`` moves."""
        return replace(x, node=self.put(self.path, module, x.node), rounding=None)

    def expect(self, x: Edge, origin: str, *kinds: Kind) -> None:
        """Refuse an edge that is none of these ``kinds``."""
        if x.kind not in kinds:
            raise self.refusal(x, origin)

    def refusal(self, x: Edge, origin: str) -> LoweringError:
        """Error that says what an edge carries, and what is accepted there."""
        what, accepted = x.kind.value
        return LoweringError(
            f"{origin} cannot be put on a grid where it gets {what}: accepted there are {accepted}"
        )

    def added(self, x: Edge, other: Edge) -> Edge:
        """Sum of two streams."""
        x, other = self.stream(x), self.stream(other)
        rounding = None if x.node is other.node else x.rounding or other.rounding
        node = self.insert("add", GridAdd(self.grid), x.node, other.node)
        alone = len(self.node.users) == 1
        bias = self.total(x.bias, other.bias)
        return replace(x, node=node, bias=bias, rounding=rounding if alone else None)

    def scaled(self, x: Edge, factor: Any) -> Edge:
        """``x`` times a number, or one for each channel."""
        if x.kind is Kind.STREAM:
            x = self.sums_of(x)
        if x.kind not in (Kind.SUMS, Kind.VECTOR):
            raise self.refusal(x, "a factor")
        node = self.graph.call_function(scale_sums, (x.node, factor))
        return replace(x, node=node)

    def vectors(self, x: Edge, *, average: bool) -> Edge:
        """Values of a stream, or their averages, as a vector."""
        x = self.stream(x)
        name = "mean" if average else "values"
        module = VectorSums(self.grid, average=average)
        node = self.insert(name, module, *with_bias(x))
        shape = self.node.meta["shape"]
        return Edge(Kind.VECTOR, node, shape[1])

    # -- nodes of the new graph -------------------------------------------------------------------

    def become(self, module: nn.Module, cls: type[nn.Module], *arguments: fx.Node) -> fx.Node:
        """Call of a layer of another class, with the parameters of ``module``."""
        module.__class__ = cls
        module.grid = self.grid  # type: ignore[assignment]
        return self.graph.call_module(self.path, arguments)

    def insert(self, name: str, module: nn.Module, *arguments: fx.Node) -> fx.Node:
        """Call of a new ``module`` in that of this node."""
        within = self.path.rpartition(".")[0]
        if self.node.op != "call_module" and name == "add":
            return self.put(self.path, module, *arguments)
        return self.put(self.free(f"{within}.{name}" if within else name), module, *arguments)

    def put(self, path: str, module: nn.Module, *arguments: fx.Node) -> fx.Node:
        """Call of a ``module`` without parameters of its own."""
        parent, _, name = path.rpartition(".")
        self.model.get_submodule(parent).add_module(name, module)
        return self.graph.call_module(path, arguments)

    def fold(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call of a function of constants, which comes before everything else."""
        if not any(isinstance(each, fx.Node) for each in arguments):
            return function(*arguments)
        assert self.last_constant is not None
        with self.graph.inserting_after(self.last_constant):
            self.last_constant = self.graph.call_function(function, arguments)
        return self.last_constant

    def parameter(self, path: str) -> fx.Node:
        """A parameter, or a buffer."""
        assert self.last_constant is not None
        with self.graph.inserting_after(self.last_constant):
            self.last_constant = self.graph.get_attr(path)
        return self.last_constant

    def vector(self, value: float, channels: int) -> fx.Node:
        """The same ``value`` for every channel."""
        path = self.free(f"{self.path}_constant")
        like = next(iter(self.model.parameters()), torch.zeros(()))
        constant = Constant(like.new_full((channels,), value).detach())
        assert self.last_constant is not None
        with self.graph.inserting_after(self.last_constant):
            self.last_constant = self.put(path, constant)
        return self.last_constant

    def per_channel(self, constant: Any, value: fx.Node, channels: int, origin: str) -> fx.Node:
        """A parameter, one for each channel."""
        shape = tuple(operator.attrgetter(str(constant.target))(self.model).shape)
        trimmed = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
        if shape not in ((), (1,)) and trimmed != (channels, 1, 1) and set(trimmed) != {1}:
            raise LoweringError(
                f"{origin} has a constant that is neither a number nor one for each channel"
            )
        flat = self.fold(torch.reshape, value, (-1,))
        return self.fold(torch.Tensor.expand, flat, channels)

    def padded(self, bias: fx.Node | None, before: int, after: int) -> fx.Node | None:
        """A shift of more channels, those before and after having none."""
        if bias is None:
            return None
        return self.fold(functional.pad, bias, (before, after))

    def keep_state(self) -> None:
        """Read parameters that nothing reads, so that they stay in the model's state."""
        targets = {str(node.target) for node in self.graph.nodes if node.op in _OWNERS}
        for name in self.model.state_dict():
            parts = name.split(".")
            if not any(".".join(parts[:n]) in targets for n in range(1, len(parts) + 1)):
                self.parameter(name)

    def total(self, *terms: fx.Node | None) -> fx.Node | None:
        """Sum of the shifts that there are."""
        known = [term for term in terms if term is not None]
        if len(known) < 2:
            return known[0] if known else None
        return self.fold(operator.add, *known)


def with_bias(x: Edge) -> tuple[fx.Node, ...]:
    """Arguments of a layer that takes the shift of a stream along."""
    return (x.node,) if x.bias is None else (x.node, x.bias)


def _has(module: nn.Module, path: str) -> bool:
    try:
        operator.attrgetter(path)(module)
    except AttributeError:
        return False
    return True
