"""ONNX files: opened, checked, and as plain tuples of nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import FormatError, LoweringError, ToolError
from xnorflow.files import read_file


if TYPE_CHECKING:
    import onnx


__all__ = ["MOST_VALUES", "Model", "Node", "open_model", "printable"]

MOST_VALUES = 1 << 26
"""Of a tensor, and of all constants that a file computes."""

_MOST_NODES = 20_000
_MOST_BYTES = (1 << 31) - 1
_FIRST_OPSET = 7
_STANDARD = frozenset({"", "ai.onnx"})
_CHANNELS_LAST = "qonnx.custom_op.channels_last"
_DOMAINS = _STANDARD | {
    "qonnx.custom_op.general",
    "onnx.brevitas",
    "finn",
    "finn.custom_op.general",
    _CHANNELS_LAST,
}
_NEEDED = "reading ONNX files needs more packages: pip install 'xnorflow[qonnx]'"


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a file.

    Attributes
    ----------
    name, op : str
    inputs, outputs : tuple of str
        Names of tensors; an optional one that is left out is called ``""``.
    attributes : mapping of str to value
        Numbers, texts, lists of them, and arrays.
    channels_last : bool
        Whether the operator has its channels in the last axis.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    channels_last: bool = False

    @property
    def origin(self) -> str:
        """What a user calls it, for errors."""
        return f"{self.name} ({self.op})"


@dataclass(frozen=True, eq=False)
class Model:
    """Content of a file.

    Attributes
    ----------
    nodes : tuple of Node
    constants : mapping of str to array
    input : str
    shape : tuple of int
        Of the input, for a batch of 1.
    integers : (bool, int), optional
        Whether the input's values are signed integers, and of how many bits, if the file says so.
    output : tuple of str
    opset : int
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    input: str
    shape: tuple[int, ...]
    integers: tuple[bool, int] | None
    output: tuple[str, ...]
    opset: int


def open_model(path: Path | str) -> Model:
    """Open the ONNX file ``path``.

    Raises
    ------
    FormatError
        If it cannot be read, is no ONNX file, or is of a kind that is not accepted.
    ToolError
        If the package onnx is missing.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError:
        raise ToolError(_NEEDED) from None

    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None
    if size > _MOST_BYTES:
        raise FormatError(f"{path} has {size:,} bytes: an ONNX file must have less than 2 GB")
    try:
        proto = onnx.ModelProto.FromString(read_file(path))
    except DecodeError:
        raise FormatError(f"{path} is no ONNX file, or one that is cut off or damaged") from None
    try:
        return _read(proto)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        text = str(error).partition("\n")[0]
        raise FormatError(f"{path} is damaged: {printable(text)}") from None
    except FormatError as error:
        raise FormatError(f"{path} {error}") from None


def printable(text: str, most: int = 80) -> str:
    """A ``text`` of a file, of one line and not longer than ``most``."""
    text = _text(text)
    text = "".join(each if each.isprintable() else "?" for each in text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(value: str | bytes) -> str:
    """A text of a file; what is no UTF-8 arrives as bytes."""
    return value if isinstance(value, str) else bytes(value).decode(errors="replace")


def _read(proto: "onnx.ModelProto") -> Model:
    graph = proto.graph
    opset = _opset(proto)
    if not graph.node:
        raise FormatError("is no ONNX file, or one without nodes")
    if len(graph.node) > _MOST_NODES:
        raise FormatError(f"has {len(graph.node):,} nodes: accepted are {_MOST_NODES:,}")
    if proto.functions or graph.sparse_initializer:
        raise FormatError("has functions or sparse tensors, which are not accepted")
    constants = {_text(each.name): _array(each) for each in graph.initializer}
    nodes = tuple(_node(n, each) for n, each in enumerate(graph.node))
    inputs = [each for each in graph.input if _text(each.name) not in constants]
    if len(inputs) != 1:
        raise FormatError(f"has {len(inputs)} inputs: a network has one")
    (value,) = inputs
    kinds = {
        entry.value
        for each in graph.quantization_annotation
        if each.tensor_name == value.name
        for entry in each.quant_parameter_tensor_names
        if entry.key == "finn_datatype"
    }
    return Model(
        nodes,
        constants,
        _text(value.name),
        _shape(value),
        _integers(value.type.tensor_type.elem_type, kinds),
        tuple(_text(each.name) for each in graph.output),
        opset,
    )


def _opset(proto: "onnx.ModelProto") -> int:
    from onnx.defs import onnx_opset_version

    versions = [each.version for each in proto.opset_import if each.domain in _STANDARD]
    newest = onnx_opset_version()
    if len(versions) != 1:
        raise FormatError("is no ONNX file, or one that does not say which opset it has")
    if not _FIRST_OPSET <= versions[0] <= newest:
        raise FormatError(f"has opset {versions[0]}: accepted are {_FIRST_OPSET} to {newest}")
    return int(versions[0])


def _shape(value: "onnx.ValueInfoProto") -> tuple[int, ...]:
    """Shape of the input; a batch that is open becomes 1."""
    name = printable(value.name)
    first, *rest = value.type.tensor_type.shape.dim or [None]
    if first is None or not rest:
        raise FormatError(f"has an input {name} that is no batch of frames")
    if first.dim_value > 1:
        raise FormatError(
            f"takes batches of {first.dim_value} frames: export it with one, or an open batch"
        )
    sizes = [int(each.dim_value) for each in rest]
    if min(sizes) < 1:
        raise FormatError(f"has an input {name} whose frames have no fixed size")
    if len(sizes) > 3 or np.prod(np.array(sizes, object)) > MOST_VALUES:
        raise FormatError(f"has an input {name} of the shape {sizes}, which is not accepted")
    return (1, *sizes)


def _integers(kind: int, names: set[str]) -> tuple[bool, int] | None:
    from onnx import TensorProto

    known: dict[int, str] = {
        TensorProto.UINT8: "UINT8",
        TensorProto.INT8: "INT8",
        TensorProto.INT16: "INT16",
    }
    for name in (known.get(kind, ""), *names):
        base, bits = name.rstrip("0123456789"), name.lstrip("UINT")
        if base in ("INT", "UINT") and bits.isdigit() and 0 < int(bits) <= 16:
            return base == "INT", int(bits)
    return None


def _array(tensor: "onnx.TensorProto") -> NDArray[Any]:
    from onnx import TensorProto, numpy_helper

    name = printable(tensor.name)
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise FormatError(
            f"has its tensor {name} in another file: save the model with its data inside"
        )
    if min(tensor.dims, default=1) < 0 or np.prod(np.array(tensor.dims, object)) > MOST_VALUES:
        raise FormatError(f"has a tensor {name} of the shape {list(tensor.dims)}, which is too big")
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise FormatError(f"has a tensor {name} with values that are no numbers")
    # Such values are exactly those of the file.
    return array.astype(np.float64) if array.dtype.kind == "f" and array.itemsize < 4 else array


def _node(number: int, proto: "onnx.NodeProto") -> Node:
    op = printable(proto.op_type, 40)
    name = printable(proto.name or f"{proto.op_type}_{number}")
    if proto.domain not in _DOMAINS:
        raise LoweringError(
            f"{name} ({op}) is of the domain {printable(proto.domain)!r}, which is not known: "
            "accepted are ONNX's own, qonnx.custom_op.general, onnx.brevitas and FINN's older names"
        )
    attributes = {each.name: _attribute(each, f"{name} ({op})") for each in proto.attribute}
    last = proto.domain == _CHANNELS_LAST
    inputs, outputs = (tuple(map(_text, names)) for names in (proto.input, proto.output))
    return Node(name, op, inputs, outputs, attributes, last)


def _attribute(proto: "onnx.AttributeProto", origin: str) -> Any:
    from onnx import AttributeProto, helper

    if proto.type == AttributeProto.TENSOR:
        return _array(proto.t)
    accepted = (
        AttributeProto.FLOAT,
        AttributeProto.INT,
        AttributeProto.STRING,
        AttributeProto.FLOATS,
        AttributeProto.INTS,
        AttributeProto.STRINGS,
    )
    if proto.type not in accepted:
        raise LoweringError(
            f"{origin} has an attribute {printable(proto.name)} that is a graph or the like: "
            "accepted are numbers, texts and tensors"
        )
    value = helper.get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value
