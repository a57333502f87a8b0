"""What the integers of a network's input are to an ONNX model."""

from dataclasses import replace
from fractions import Fraction

from xnorflow.errors import LoweringError
from xnorflow.ir import INPUT, FeatureMap, Int, UInt
from xnorflow.sw.frontend.graph import Graph, Operation, Scale
from xnorflow.sw.frontend.naming import Names
from xnorflow.sw.frontend.qonnx.elementwise import ELEMENTWISE
from xnorflow.sw.frontend.qonnx.file import Model, Node, printable
from xnorflow.sw.frontend.qonnx.quantisers import ACTIVATION_QUANTISERS
from xnorflow.sw.lowering.roots import ZERO, Root


__all__ = ["frame_of", "with_scale"]

_SMALLEST, _LARGEST = Fraction(1, 300), Fraction(1, 60)
"""Scales that bring 0 … 255 to about 1."""

_WINDOWED = frozenset({"AveragePool", "Conv", "MaxPool", "Pad"})


def frame_of(model: Model) -> FeatureMap:
    """Frames that a ``model`` takes, of pixels 0 … 255 unless the file says otherwise."""
    signed, bits = model.integers or (False, 8)
    kind = Int(bits) if signed else UInt(bits)
    match model.shape[1:]:
        case (values,):
            return FeatureMap(1, 1, values, kind)
        case (channels, columns) if _is_sequence(model):
            return FeatureMap(1, columns, channels, kind)
        case (height, width):
            return FeatureMap(height, width, 1, kind)
        case (first, second, third) if _channels_last(model):
            return FeatureMap(first, second, third, kind)
        case (first, second, third):
            return FeatureMap(second, third, first, kind)
    raise LoweringError(f"the model takes a tensor {model.shape}, which is no batch of frames")


def with_scale(graph: Graph, model: Model, scale: Fraction | None, *, told: bool) -> Graph:
    """The ``graph`` behind ``scale``; without one, behind that which its own beginning tells.

    Raises
    ------
    LoweringError
        If there is no scale, and neither the caller has ``told`` what frames are nor the file.
    """
    if scale is None:
        scale = Fraction(1) if told or model.integers else _guess(graph)
    if scale is None:
        raise LoweringError(
            f"the model does not say what values its input {printable(model.input)} has: give the "
            "scale 1 if they are integers such as 0 … 255, or 1/255 for pixels from 0 to 1"
        )
    if scale == 1:
        return graph
    names = Names()
    names.used |= {each.name for each in graph.operations}
    name = names.unique("input_scale")
    first = Operation(name, "the input's scale", Scale((Root(scale),), (ZERO,)), (INPUT,))
    others = (
        Operation(
            each.name,
            each.origin,
            each.function,
            tuple(name if source == INPUT else source for source in each.sources),
        )
        for each in graph.operations
    )
    return replace(graph, operations=(first, *others))


def _guess(graph: Graph) -> Fraction | None:
    """Scale of the input, if what stands behind it tells."""
    gain, shift, source = Fraction(1), Fraction(0), INPUT
    while True:
        readers = [each for each in graph.operations if source in each.sources]
        if len(readers) != 1 or not isinstance(readers[0].function, Scale):
            return None
        function = readers[0].function
        if len(function.gain) > 1 or len(function.shift) > 1:
            return None
        offset = function.shift[0].as_rational()
        if offset is None or function.gain[0].radicand != 1:
            return None
        gain, shift = gain * function.gain[0].factor, shift * function.gain[0].factor + offset
        if _SMALLEST < abs(gain) < _LARGEST:
            return Fraction(1)
        if (gain, shift) == (Fraction(2), Fraction(-1)):
            return Fraction(1, 255)
        source = readers[0].name


def _channels_last(model: Model) -> bool:
    """Whether the first nodes that move or weigh what comes from the input have channels last."""
    first = _first(model)
    return bool(first) and all(
        each.channels_last
        or (each.op == "Transpose" and each.attributes.get("perm") == [0, 3, 1, 2])
        for each in first
    )


def _is_sequence(model: Model) -> bool:
    """Whether the first nodes that move or weigh an input of three axes have windows on it."""
    return any(each.op in _WINDOWED for each in _first(model))


def _first(model: Model) -> list[Node]:
    """First nodes that do more to what comes from the input than change its values."""
    reached, first = {model.input}, []
    for node in model.nodes:
        if not reached & {*node.inputs}:
            continue
        if node.op in ELEMENTWISE or node.op in ACTIVATION_QUANTISERS or node.op == "Cast":
            reached |= {*node.outputs}
        else:
            first.append(node)
    return first
