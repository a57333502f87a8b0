"""Graph of a PyTorch module, and the distances to its thresholds."""

import operator
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx, nn

from xnorflow.errors import LoweringError
from xnorflow.ir import INPUT, FeatureMap
from xnorflow.sw.frontend.functions import ARITHMETIC, SUMS, read_arithmetic, read_function
from xnorflow.sw.frontend.graph import (
    Binarise,
    Concat,
    Graph,
    Operation,
    Quantise,
    Scale,
    Sum,
)
from xnorflow.sw.frontend.modules import ACCEPTED, Functions, read_module
from xnorflow.sw.frontend.naming import Names
from xnorflow.sw.frontend.trace import results_of, trace
from xnorflow.sw.lowering.roots import ZERO, Root
from xnorflow.sw.nn.quantiser import ActivationQuantiser


__all__ = ["graph_of", "observe"]


@torch.no_grad()
def graph_of(model: nn.Module, frame: FeatureMap) -> Graph:
    """Graph of a ``model`` in float64 and evaluation mode, which is not changed.

    Raises
    ------
    LoweringError
        If it cannot be traced, or calls what cannot be lowered.
    """
    return _Walk(trace(model, frame)).graph()


@torch.no_grad()
def observe(model: nn.Module, frame: FeatureMap, x: Tensor) -> tuple[dict[str, Tensor], Any]:
    """Execute a ``model`` on a batch ``x`` (N, channels, height, width).

    Returns
    -------
    (dict of str to tensor, tensor)
        How far the input of each operation that binarises is above its threshold, or the codes of
        one that quantises to several levels, by the operation's name: (N, channels, height, width)
        or (N, features); and what the model returns.
    """
    walk = _Walk(trace(model, frame))
    walk.graph()
    observer = _Observer(walk)
    return observer.distances, observer.run(x)


class _Observer(fx.Interpreter):
    """Executes a traced model, and notes distances to thresholds on the way."""

    def __init__(self, walk: "_Walk") -> None:
        super().__init__(walk.traced)
        self.walk = walk
        self.distances: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Result of a node."""
        name = self.walk.binarisers.get(n)
        if name is not None:
            module = self.walk.modules[str(n.target)]
            quantiser = getattr(module, "activation_quantiser", module)
            assert isinstance(quantiser, ActivationQuantiser)
            (x,), _ = self.fetch_args_kwargs_from_env(n)
            self.distances[name] = quantiser.observed(x.movedim(1, -1)).movedim(-1, 1)
        return super().run_node(n)


class _Walk:
    """Operations of a traced model; each of its nodes is one, or a constant."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.operations: list[Operation] = []
        self.names = Names()
        self.sources: dict[fx.Node, str] = {}
        self.constants: dict[fx.Node, Any] = {}
        self.binarisers: dict[fx.Node, str] = {}

    def graph(self) -> Graph:
        """The whole graph."""
        for node in self.traced.graph.nodes:
            if node.op == "output":
                results = results_of(node)
            else:
                self._visit(node)
        if not {*results.values()} <= self.sources.keys():
            raise LoweringError("the model must return one tensor that its input decides")
        heads = tuple((name, self.sources[result]) for name, result in results.items())
        if not self.operations or self.operations[-1].name not in dict(heads).values():
            raise LoweringError("the last operation of the model must be what it returns")
        return Graph(tuple(self.operations), heads if len(heads) > 1 else ())

    def _visit(self, node: fx.Node) -> None:
        inputs = [each for each in node.all_input_nodes if each in self.sources]
        if node.op == "placeholder":
            if self.sources:
                raise LoweringError("the model must take one tensor, not several")
            self.sources[node] = INPUT
        elif not inputs or "shape" not in node.meta:
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
        base = self.names.base(str(node.target) if node.op == "call_module" else node.name)
        joins = any(isinstance(function, Concat) for _, function in functions)
        joined: Any = node.args[0] if joins else inputs
        sources = tuple(self.sources[each] for each in joined)
        for ending, function in functions:
            name = self.names.unique(f"{base}{ending}")
            self.operations.append(Operation(name, origin, function, sources))
            if isinstance(function, Binarise | Quantise):
                self.binarisers[node] = name
            sources = (name,)
        if len(sources) != 1:
            raise LoweringError(f"{origin} must have one input")
        self.sources[node] = sources[0]

    def _functions(self, node: fx.Node, inputs: list[fx.Node]) -> tuple[str, Functions]:
        shape = _shape(inputs[0])
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            origin = f"{node.target} ({type(module).__name__})"
            return origin, read_module(module, origin, shape)
        target: Any = node.target
        origin = f"{node.name} ({target if isinstance(target, str) else target.__name__})"
        if target in (torch.cat, torch.concat):
            return origin, self._concat(node, inputs, origin)
        if target in ARITHMETIC and len(inputs) == 1 and len(node.args) == 2 and not node.kwargs:
            first, second = (
                self.constants.get(each) if isinstance(each, fx.Node) else each
                for each in node.args
            )
            leads = node.args[0] is not inputs[0]
            constant = first if leads else second
            scale = read_arithmetic(target, constant, first=leads, channels=shape[1], origin=origin)
            return origin, [("", scale)]
        if target in (operator.neg, torch.neg):
            return origin, [("", Scale((Root(Fraction(-1)),), (ZERO,)))]
        if target in SUMS and not node.kwargs:
            return origin, [("", Sum())]
        known = {
            each: value for each, value in self.constants.items() if each in node.all_input_nodes
        }
        if len(inputs) != 1 or node.args[:1] != (inputs[0],):
            raise LoweringError(f"{origin} cannot be lowered: what can is {ACCEPTED}")
        arguments = fx.map_arg(node.args[1:], known.__getitem__)
        keywords = fx.map_arg(node.kwargs, known.__getitem__)
        shapes = shape, _shape(node)
        return origin, read_function(target, arguments, keywords, origin, shapes)

    def _concat(self, node: fx.Node, inputs: list[fx.Node], origin: str) -> Functions:
        tensors = node.args[0]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if not isinstance(tensors, tuple | list) or {*tensors} != {*inputs} or axis not in (1, -3):
            raise LoweringError(f"{origin} must join the channels of maps, dimension 1")
        return [("", Concat())]


def _shape(node: fx.Node) -> tuple[int, ...]:
    shape: tuple[int, ...] = node.meta["shape"]
    return shape
