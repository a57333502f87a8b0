"""The .xnf file format: one network in one safetensors file, without pickle.

The file's metadata has the single key ``xnf``, whose value is the graph as JSON. The arrays are
tensors named ``<node>.<field>``:

======================================  ============  ===========================================
field                                   type, shape   content
======================================  ============  ===========================================
``weights`` of a binary_conv            U8, (f, b)    the bits of filter f, packed
``weights`` of an integer_conv          I16, (f, t)   the integers of filter f
``inverted`` (optional)                 U8, (c, 1)    the bit of channel c, packed
``thresholds``                          I64, (c,)     one integer a channel
``thresholds`` with ``classes``         I64, (n, c)   one for each border class and channel
``classes`` (optional)                  I64, (h, w)   the border class of each pixel
``scale``, ``offset``, ``positive``,    I64, (c,)     one integer a channel
``negative``
``offset`` with ``classes``             I64, (n, c)   one for each border class and channel
``popcount_weights``,                   I64, (c,)     one integer a channel
``popcount_scale`` (both optional)
======================================  ============  ===========================================

Weights are in the order (row, column, channel) with the channel fastest. Packed bits fill bytes
from the least significant bit on; the rest of a row's last byte is 0. The graph's field ``sha256``
is the digest of the whole file with 64 zeros in that place. Equal networks give equal bytes.
"""

import hashlib
import json
import math
import re
from dataclasses import MISSING, asdict, fields
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from xnorflow.errors import FormatError, NetworkError
from xnorflow.files import read_file, write_atomically
from xnorflow.ir import (
    Bit,
    FeatureMap,
    Head,
    Int,
    Network,
    Node,
    Provenance,
    Quantisation,
    Rounding,
    UInt,
    ValueType,
    clip_thresholds,
)
from xnorflow.ir.strict_json import check_fields, parse_object, quote


__all__ = ["VERSION", "decode_type", "dumps", "encode_type", "load", "loads", "save"]

VERSION = 1
"""Version of the format that is written, and the newest one that is read."""

_KEY = "xnf"
_NO_DIGEST = "0" * 64
_SHA256 = re.compile(r"[0-9a-f]{64}")
_INTEGER = re.compile(r"(u?int)([1-9][0-9]?)")


def save(network: Network, path: Path | str) -> None:
    """Write ``network`` to the file ``path``, whole or not at all.

    Raises
    ------
    FormatError
        If the file cannot be written.
    """
    write_atomically(path, dumps(network))


def load(path: Path | str) -> Network:
    """Read a network from the file ``path``.

    Raises
    ------
    FormatError
        If the file cannot be read, is damaged or foreign, or is of a newer version.
    """
    data = read_file(path)
    try:
        return loads(data)
    except FormatError as error:
        raise FormatError(f"{path} {error}") from None


def dumps(network: Network) -> bytes:
    """Return ``network`` as the bytes of an .xnf file."""
    nodes = [_encode(node) for node in network.nodes]
    graph = {
        "version": VERSION,
        "sha256": _NO_DIGEST,
        "name": network.name,
        "input": {
            "height": network.input.height,
            "width": network.input.width,
            "channels": network.input.channels,
            "type": encode_type(network.input.type),
        },
        "nodes": [header for header, _ in nodes],
        "labels": list(network.labels),
        "provenance": asdict(network.provenance),
    }
    if network.quantisation is not None:
        graph["quantisation"] = asdict(network.quantisation)
    if network.heads:
        graph["heads"] = [asdict(head) for head in network.heads]
    tensors = {
        f"{header['name']}.{field}": array
        for header, arrays in nodes
        for field, array in arrays.items()
    }
    data = safetensors.numpy.save(tensors, {_KEY: json.dumps(graph, allow_nan=False)})
    return data.replace(_NO_DIGEST.encode(), _digest(data, _NO_DIGEST).encode(), 1)


def loads(data: bytes) -> Network:
    """Return the network in the bytes of an .xnf file.

    Raises
    ------
    FormatError
        As `load`; the text continues a sentence that starts with the file's name.
    """
    try:
        return _decode(data)
    except (FormatError, NetworkError) as error:
        raise FormatError(f"is not a valid .xnf file: {error}") from None


# -- writing --------------------------------------------------------------------------------------


def _encode(node: Node) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a node."""
    header = {"name": node.name, "source": node.source, "kind": node.kind}
    header |= {field: _encode_value(getattr(node, field)) for field in node.header}
    defaults = {field.name: field.default for field in fields(node)}
    header |= {
        field: _encode_value(getattr(node, field))
        for field in node.optional
        if getattr(node, field) != defaults[field]
    }
    arrays = {field: getattr(node, field) for field in _array_fields(type(node))}
    return header, {
        field: _encode_array(field, array) for field, array in arrays.items() if array is not None
    }


def _encode_value(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case Rounding():
            return {what: each for what, each in asdict(value).items() if what != "narrow" or each}
        case _:
            return value


def _encode_array(field: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.bool_:
        return _pack(array)
    return array.reshape(len(array), -1).astype(np.int16) if field == "weights" else array


def _array_fields(kind: type[Node]) -> list[str]:
    """Fields of a kind of node that are tensors."""
    attributes = {*kind.header, *kind.optional, *_COMMON}
    return [field.name for field in fields(kind) if field.name not in attributes]


def encode_type(value_type: ValueType) -> str:
    """Type of an input as text: ``uint8``, ``int8``, ``bit``."""
    match value_type:
        case UInt():
            return f"uint{value_type.bits}"
        case Int():
            return f"int{value_type.bits}"
        case _:
            return "bit"


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack each row (the axes after the first) into bytes."""
    return np.packbits(bits.reshape(len(bits), -1), axis=1, bitorder="little")


# -- reading --------------------------------------------------------------------------------------

_Tensors = dict[str, dict[str, Any]]
"""Arrays of the file that no node has taken yet: name to dtype, shape and data."""

_GRAPH_FIELDS = {
    "version": int, "sha256": str, "name": str, "input": dict, "nodes": list, "labels": list,
    "provenance": dict,
}  # fmt: skip
_INPUT_FIELDS = {"height": int, "width": int, "channels": int, "type": str}
_OPTIONAL_FIELDS = {"quantisation": dict, "heads": list}
_HEAD_FIELDS = {"name": str, "classes": int, "labels": list}
_PROVENANCE_FIELDS = {field.name: object for field in fields(Provenance)}
_QUANTISATION_FIELDS = {field.name: object for field in fields(Quantisation)}
_COMMON = {"kind": str, "name": str, "source": str}
"""Fields that nodes of all kinds have."""


def _decode(data: bytes) -> Network:
    """As `loads`, with errors that do not name the format."""
    try:
        tensors: _Tensors = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError:
        raise FormatError("it is damaged, or not a safetensors file at all") from None
    graph = _graph_of(data)
    quantisation = None
    if "quantisation" in graph:
        check_fields("the quantisation", graph["quantisation"], _QUANTISATION_FIELDS)
        quantisation = Quantisation(**graph["quantisation"])
    frame = FeatureMap(**graph["input"] | {"type": decode_type(graph["input"]["type"])})
    nodes = [_decode_node(header, tensors) for header in graph["nodes"]]
    network = Network(
        name=graph["name"],
        input=frame,
        nodes=clip_thresholds(frame, nodes),
        labels=tuple(graph["labels"]),
        provenance=Provenance(**graph["provenance"]),
        quantisation=quantisation,
        heads=tuple(_decode_head(head) for head in graph.get("heads", [])),
    )
    if tensors:
        raise FormatError(f"no node owns the tensor {quote(min(tensors))}")
    return network


def _graph_of(data: bytes) -> dict[str, Any]:
    """Graph in a file, of a version that is known, and whose checksum is right."""
    metadata = parse_object(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    if not isinstance(metadata, dict) or metadata.keys() != {_KEY}:
        raise FormatError("it is a safetensors file with other content")
    graph = parse_object(metadata[_KEY])
    version = graph.get("version")
    if type(version) is not int or version < 1:
        raise FormatError("it does not say its version")
    if version > VERSION:
        raise FormatError(f"its version is {version}, and only versions up to {VERSION} are known")
    optional = {what: kind for what, kind in _OPTIONAL_FIELDS.items() if what in graph}
    check_fields("the graph", graph, _GRAPH_FIELDS | optional)
    digest = graph["sha256"]
    if not _SHA256.fullmatch(digest) or digest != _digest(data, digest):
        raise FormatError("it is damaged: its checksum is wrong")
    check_fields("the input", graph["input"], _INPUT_FIELDS)
    check_fields("the provenance", graph["provenance"], _PROVENANCE_FIELDS)
    return graph


def _decode_node(header: Any, tensors: _Tensors) -> Node:
    """Node of a header; it takes its arrays out of ``tensors``."""
    name = header.get("kind") if isinstance(header, dict) else None
    kind = Node.kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise FormatError(f"there is no kind of node {quote(name)}")
    hints = get_type_hints(kind)
    given = [what for what in kind.optional if what in header]
    types = {what: _json_type(hints.get(what)) for what in (*kind.header, *given)}
    check_fields(f"a node of kind {name}", header, _COMMON | types)
    values = {what: _decode_value(what, header[what], hints.get(what)) for what in header}
    kernel = values.pop("kernel", None)
    defaults = {field.name: field.default for field in fields(kind)}
    for what in _array_fields(kind):
        tensor = f"{header['name']}.{what}"
        # What need not be given need not be in the file.
        if defaults[what] is MISSING or tensor in tensors:
            values[what] = _decode_array(tensors, tensor, hints[what], kernel)
    del values["kind"]
    return kind(**values)


def _json_type(hint: Any) -> type:
    """Type in JSON of what is annotated like that, or object if it needs a closer look."""
    return hint if hint in (str, int, bool) else object


def _decode_value(what: str, value: Any, hint: Any) -> Any:
    """Value of a node's attribute, whose annotation is ``hint``."""
    if what == "kernel":
        return _decode_kernel(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decode_enum(hint, what, value)
    if hint is Rounding or (hint == Rounding | None and value is not None):
        return _decode_rounding(value)
    return value


def _decode_array(
    tensors: _Tensors, name: str, hint: Any, kernel: tuple[int, ...] | None
) -> NDArray[Any]:
    """Array of a node; ``kernel`` is that of weights, and None for nodes without any."""
    if hint in (NDArray[np.bool_], NDArray[np.bool_] | None):
        return _bits(tensors, name, kernel or ())
    return _integers(tensors, name) if kernel is None else _weights(tensors, name, kernel)


def decode_type(text: str) -> UInt | Int | Bit:
    """Undo `encode_type`.

    Raises
    ------
    FormatError
        If there is no such type.
    NetworkError
        If it has too many bits.
    """
    if text == "bit":
        return Bit()
    if match := _INTEGER.fullmatch(text):
        return (UInt if match[1] == "uint" else Int)(int(match[2]))
    raise FormatError(f"there is no type {quote(text)}")


def _decode_head(value: Any) -> Head:
    if not isinstance(value, dict):
        raise FormatError(f"a head must be an object, not {quote(value)}")
    check_fields("a head", value, _HEAD_FIELDS)
    return Head(**value)


def _decode_rounding(value: Any) -> Rounding:
    if not isinstance(value, dict):
        raise FormatError(f"a rounding must be an object, not {quote(value)}")
    optional: dict[str, type] = {"narrow": bool} if "narrow" in value else {}
    check_fields("a rounding", value, {"shift": int, "bits": int, "fraction": int} | optional)
    return Rounding(**value)


def _decode_enum(kind: type[Enum], what: str, value: Any) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise FormatError(f"there is no {what} {quote(value)}") from None


def _decode_kernel(sides: Any) -> tuple[int, ...]:
    whole = isinstance(sides, list) and all(type(side) is int and side > 0 for side in sides)
    if not whole or len(sides) != 3:
        raise FormatError(f"a kernel must be three positive integers, not {quote(sides)}")
    return tuple(sides)


def _integers(tensors: _Tensors, name: str) -> NDArray[np.int64]:
    """Take integers."""
    tensor = _take(tensors, name, "I64", 1, 2, 3)
    return np.frombuffer(tensor["data"], "<i8").reshape(tensor["shape"])


def _weights(tensors: _Tensors, name: str, kernel: tuple[int, ...]) -> NDArray[np.int64]:
    """Take integer weights, of each filter as many as ``kernel`` has."""
    tensor = _take(tensors, name, "I16", 2)
    filters, taps = tensor["shape"]
    if taps != math.prod(kernel):
        raise FormatError(f"the tensor {quote(name)} has {taps} integers a row, not as the kernel")
    return np.frombuffer(tensor["data"], "<i2").reshape(filters, *kernel).astype(np.int64)


def _bits(tensors: _Tensors, name: str, row: tuple[int, ...] = ()) -> NDArray[np.bool_]:
    """Take bits of which each packed row has the shape ``row``."""
    tensor = _take(tensors, name, "U8", 2)
    rows, stride = tensor["shape"]
    taps = math.prod(row)
    if stride != -(-taps // 8):
        raise FormatError(f"the tensor {quote(name)} has {stride} bytes a row for {taps} bits")
    packed = np.frombuffer(tensor["data"], np.uint8).reshape(rows, stride)
    bits = np.unpackbits(packed, axis=1, bitorder="little").view(np.bool_)
    if np.any(bits[:, taps:]):
        raise FormatError(f"the tensor {quote(name)} has bits beyond the end of a row")
    return bits[:, :taps].reshape(rows, *row)


def _digest(data: bytes, field: str) -> str:
    """SHA-256 of a file whose field of that name holds ``field``."""
    return hashlib.sha256(data.replace(field.encode(), _NO_DIGEST.encode(), 1)).hexdigest()


def _take(tensors: _Tensors, name: str, dtype: str, *axes: int) -> dict[str, Any]:
    if name not in tensors:
        raise FormatError(f"the tensor {quote(name)} is missing")
    tensor = tensors.pop(name)
    if tensor["dtype"] != dtype or len(tensor["shape"]) not in axes:
        count = " or ".join(map(str, axes))
        raise FormatError(f"the tensor {quote(name)} must be of type {dtype} and have {count} axes")
    if 0 in tensor["shape"]:
        raise FormatError(f"the tensor {quote(name)} is empty")
    return tensor
