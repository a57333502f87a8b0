"""Graph of an ONNX model: a walk along its nodes, each of which is read by its operator."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from xnorflow.errors import LoweringError
from xnorflow.ir import INPUT, FeatureMap
from xnorflow.sw.frontend.graph import Binarise, Function, Graph, Operation, Quantise, Scale
from xnorflow.sw.frontend.naming import Names
from xnorflow.sw.frontend.qonnx.constants import Constants
from xnorflow.sw.frontend.qonnx.elementwise import ARITHMETIC, ELEMENTWISE
from xnorflow.sw.frontend.qonnx.ends import ENDS, end, look
from xnorflow.sw.frontend.qonnx.file import Model, Node, printable
from xnorflow.sw.frontend.qonnx.input_quantiser import (
    InputQuantiser,
    input_quantiser,
    is_input,
    scale_before,
)
from xnorflow.sw.frontend.qonnx.layers import LAYERS, Read, concat, pad, summed
from xnorflow.sw.frontend.qonnx.moves import MOVES
from xnorflow.sw.frontend.qonnx.pools import POOLS
from xnorflow.sw.frontend.qonnx.quantisers import (
    ACTIVATION_QUANTISERS,
    Grid,
    quantise,
    recoded,
    wide_grid,
)
from xnorflow.sw.frontend.qonnx.values import Call, Constant, Tensor, arrange, taken
from xnorflow.sw.lowering.roots import Root, RootSum


__all__ = ["Reading", "read"]

_OTHERS = ("Cast", "Concat", "Pad")
_ACCEPTED = sorted({*ACTIVATION_QUANTISERS, *ELEMENTWISE, *ENDS, *LAYERS, *MOVES, *POOLS, *_OTHERS})
_NHWC = (0, 3, 1, 2)
_FLOATS = (1, 10, 11, 16)
"""ONNX's numbers of float32, float16, float64 and bfloat16."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What a file holds.

    Attributes
    ----------
    graph : Graph
    notes : tuple of str
        Sentences on what was read in another way than it is written.
    input : InputQuantiser or None
        What frames are if the model quantises its input: the graph is then behind that.
    """

    graph: Graph
    notes: tuple[str, ...]
    input: InputQuantiser | None = None


def read(model: Model, frame: FeatureMap) -> Reading:
    """Graph of a ``model``, for frames that are what ``frame`` is.

    Raises
    ------
    LoweringError
        If a node cannot be read, with its name, its operator and its neighbours.
    """
    return _Walk(model, frame).reading()


class _Walk:
    """Operations so far, and what each tensor is."""

    def __init__(self, model: Model, frame: FeatureMap) -> None:
        self.model = model
        self.names = Names()
        self.constants = Constants(model.opset)
        self.operations: dict[str, Operation] = {}
        self.notes: list[str] = []
        self.quantised: tuple[str, InputQuantiser] | None = None
        self.tensors: dict[str, Tensor | Constant] = dict(model.constants)
        self.tensors[model.input] = _input(model, frame)

    def reading(self) -> Reading:
        """Operations that the output depends on."""
        for node in self.model.nodes:
            try:
                self._visit(node)
            except LoweringError as error:
                raise LoweringError(f"{error}; {self._around(node)}") from None
            except (ValueError, IndexError, TypeError, OverflowError) as error:
                text = printable(str(error).partition("\n")[0])
                raise LoweringError(
                    f"{node.origin} has inputs or attributes that do not fit: {text}; "
                    f"{self._around(node)}"
                ) from None
        results = self._results()
        used = self._used({source for _, source in results})
        if self.quantised is not None:
            others = [
                each for each in used if INPUT in each.sources and each.name != self.quantised[0]
            ]
            if others:
                raise LoweringError(f"{others[0].origin} gets the input before it is quantised")
        return Reading(
            Graph(used, results if len(results) > 1 else ()),
            tuple(dict.fromkeys(self.notes)),
            None if self.quantised is None else self.quantised[1],
        )

    def _visit(self, node: Node) -> None:
        for name in filter(None, node.inputs):
            if name not in self.tensors:
                raise LoweringError(f"{node.origin} reads {printable(name)!r} before it is there")
        inputs = tuple(self.tensors[name] if name else None for name in node.inputs)
        call = Call(node.origin, node.op, inputs, node.attributes, node.channels_last)
        varying = [each for each in inputs if isinstance(each, Tensor)]
        found: Tensor | Constant
        if node.op == "Shape" and varying:
            found = np.array(varying[0].order.shape, np.int64)
        elif varying:
            found = self._tensor(node, call, varying)
        else:
            found = self.constants.of(call)
        # Others than the first are masks, indices and statistics; either one of TopK ends a model.
        outputs = node.outputs if node.op in ENDS else node.outputs[:1]
        for name in filter(None, outputs):
            if name in self.tensors:
                raise LoweringError(f"{node.origin} delivers {printable(name)!r} once more")
            self.tensors[name] = found

    def _tensor(self, node: Node, call: Call, varying: list[Tensor]) -> Tensor:
        x = varying[0]
        for each in varying:
            if each.end and node.op not in (*MOVES, *ENDS, "Cast"):
                raise call.error(f"stands behind {each.end}, where nothing can change the scores")
        if node.op in ENDS:
            note, x = end(call)
            self.notes += note
            return x
        if node.op in MOVES or node.op == "Cast":
            call.tensor()
            return self._moved(node, call, x)
        if node.op == "Pad":
            return pad(call)
        if x.padding and node.op != "Conv":
            raise call.error("gets a map with zeros around it, which only a Conv takes")
        functions, result = self._functions(node, call, varying)
        if not functions:
            return result
        sources = tuple(each.source for each in varying)
        return replace(result, source=self._add(node, functions, sources))

    def _moved(self, node: Node, call: Call, x: Tensor) -> Tensor:
        if node.op in ("Identity", "Dropout") or x.end:
            return x
        if x.padding and node.op != "Transpose":
            raise call.error("gets a map with zeros around it, which only a Conv takes")
        if node.op == "Cast":
            if call.integer("to", 0) not in _FLOATS:
                raise call.error("must not round what the input decides")
            return x
        return replace(x, order=MOVES[node.op](call, x.order))

    def _functions(self, node: Node, call: Call, varying: list[Tensor]) -> Read:
        x = varying[0]
        if node.op in ACTIVATION_QUANTISERS:
            call.tensor()
            self.notes += look(call)
            grid = wide_grid(call) if is_input(self.operations, x.source) else None
            if grid is not None:
                return [], replace(x, source=self._quantised(node, grid, x))
            before = self.operations.get(x.source)
            if x.bits and before is not None and isinstance(before.function, Binarise | Quantise):
                return self._replaced(node, x, before, recoded(call, x, before.function))
            return quantise(call, x), replace(x, bits=True)
        if node.op == "Concat":
            return concat(call)
        if node.op == "Add" and len(varying) > 1:
            return summed(call)
        if node.op in ELEMENTWISE:
            if node.op not in ARITHMETIC:
                call.tensor()
            function = ELEMENTWISE[node.op](call)
            if x.bits and isinstance(function, Scale):
                return self._rescaled(node, call, x, function)
            return [("", function)], replace(x, bits=False)
        if node.op in LAYERS or node.op in POOLS:
            return _channels_first(call, (LAYERS | POOLS)[node.op])
        raise call.error(f"cannot be read: what can is {', '.join(_ACCEPTED)}")

    def _quantised(self, node: Node, grid: Grid, x: Tensor) -> str:
        """Values of the input behind its own quantiser."""
        gain, shift = scale_before(self.operations, x.source)
        found = input_quantiser(grid, gain, shift)
        values = Scale((Root(grid.scale),), (RootSum.rational(-grid.zero * grid.scale),))
        name = self._add(node, [("", values)], (INPUT,))
        if self.quantised is not None:
            raise LoweringError(f"{node.origin} is the second quantiser of the input")
        self.quantised = name, found
        self.notes.append(
            f"the input is {found.type.bits}-bit integers q, which stand for "
            f"{found.quantisation.scale:g}·(q {-found.quantisation.zero_point:+d}): the host "
            "quantises values to them"
        )
        return name

    def _rescaled(self, node: Node, call: Call, x: Tensor, scale: Scale) -> Read:
        """Bits, or codes, whose levels are scaled and shifted."""
        operation = self.operations[x.source]
        quantiser = operation.function
        of_channels = len(scale.gain) > 1 or isinstance(quantiser, Scale)
        if of_channels and not any(shift.sign for shift in scale.shift):
            return [("", scale)], x
        if (
            not isinstance(quantiser, Binarise | Quantise)
            or len(scale.gain) > 1
            or len(scale.shift) > 1
        ):
            raise call.error("must scale the bits of a quantiser right behind it, all alike")
        gain, shift = scale.gain[0].factor, scale.shift[0].as_rational()
        assert shift is not None
        if not gain:
            raise call.error("multiplies with 0")
        if isinstance(quantiser, Binarise):
            two = quantiser.levels
            scaled: Binarise | Quantise = Binarise(
                replace(two, low=two.low * gain + shift, step=two.step * gain)
            )
        else:
            steps = quantiser.steps
            unit = steps.unit * gain
            scaled = Quantise(replace(steps, low=steps.low + shift / unit, unit=unit))
        return self._replaced(node, x, operation, scaled)

    def _replaced(
        self, node: Node, x: Tensor, operation: Operation, function: Binarise | Quantise
    ) -> Read:
        """What a quantiser with other levels delivers, in place of an ``operation``."""
        (tensor,) = (each for each in node.inputs if isinstance(self.tensors[each], Tensor))
        alone = sum(tensor in each.inputs for each in self.model.nodes) == 1
        name = operation.name if alone else self.names.unique(operation.name)
        self.operations[name] = replace(operation, name=name, function=function)
        return [], replace(x, source=name)

    def _add(
        self, node: Node, functions: list[tuple[str, Function]], sources: tuple[str, ...]
    ) -> str:
        base = self.names.base(node.name)
        for ending, function in functions:
            name = self.names.unique(f"{base}{ending}")
            self.operations[name] = Operation(name, node.origin, function, sources)
            sources = (name,)
        return sources[0]

    def _results(self) -> tuple[tuple[str, str], ...]:
        """Names of the outputs, and the operations with their scores."""
        found: dict[str, str] = {}
        for name in self.model.output:
            result = self.tensors.get(name)
            if not isinstance(result, Tensor) or result.source == INPUT:
                raise LoweringError(f"the input does not decide the output {printable(name)!r}")
            order = result.order
            if not np.array_equal(order.reshape(-1), np.arange(order.size)):
                raise LoweringError("the model's output is not in the order of its last layer")
            # A label and its scores are one output.
            found.setdefault(result.source, printable(name))
        if not found:
            raise LoweringError("the model has no output")
        return tuple((name, source) for source, name in found.items())

    def _used(self, results: set[str]) -> tuple[Operation, ...]:
        needed = {*results}
        for operation in reversed(self.operations.values()):
            if operation.name in needed:
                needed |= {*operation.sources}
        return tuple(each for name, each in self.operations.items() if name in needed)

    def _around(self, node: Node) -> str:
        """The nodes before and behind a ``node``, in words."""
        before = [each.origin for each in self.model.nodes if {*each.outputs} & {*node.inputs}]
        behind = [each.origin for each in self.model.nodes if {*each.inputs} & {*node.outputs}]
        first, last = (", ".join(names[:3]) for names in (before, behind))
        return f"it stands behind {first or 'the input'} and before {last or 'the output'}"


def _channels_first(call: Call, layer: Callable[[Call], Read]) -> Read:
    """What a ``layer`` makes of a map, which may have its channels last."""
    if not call.channels_last:
        return layer(call)
    x = call.tensor()
    inputs = [replace(x, order=x.order.transpose(_NHWC)), *call.inputs[1:]]
    if call.op == "Conv":
        inputs[1] = taken(call.needed(1), lambda weights: weights.transpose(_NHWC))
    functions, result = layer(replace(call, inputs=tuple(inputs)))
    return functions, replace(result, order=result.order.transpose(0, 2, 3, 1))


def _input(model: Model, frame: FeatureMap) -> Tensor:
    """The input, whose values are those of a frame in one of two orders."""
    whole = frame.channels, frame.height, frame.width
    if len(model.shape) == 4 and model.shape[1:] == (*frame.shape,) != whole:
        return Tensor(INPUT, whole, arrange(1, *whole).transpose(0, 2, 3, 1))
    if frame.size != np.prod(model.shape) or (len(model.shape) == 4 and model.shape[1:] != whole):
        raise LoweringError(
            f"the model takes a tensor {model.shape}, but a frame is said to have {frame.channels} "
            f"channels and {frame.height}×{frame.width} pixels"
        )
    return Tensor(INPUT, whole, arrange(*model.shape))
