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
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from xnorflow.errors import FormatError, NetworkError
from xnorflow.files import read_file, write_atomically
from xnorflow.ir import (
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Bit,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    GlobalSum,
    HalvingMaxPool,
    Int,
    IntegerConv,
    MaxPool,
    Network,
    Node,
    PadChannels,
    Provenance,
    Rounding,
    Subsample,
    Threshold,
    TwoSlope,
    UInt,
    ValueType,
    clip_thresholds,
)


__all__ = ["VERSION", "decode_type", "dumps", "encode_type", "load", "loads", "save"]

VERSION = 1
"""Version of the format that is written, and the newest one that is read."""

_KEY = "xnf"
_NO_DIGEST = "0" * 64
_SHA256 = re.compile(r"[0-9a-f]{64}")
_INTEGER = re.compile(r"(u?int)([1-9][0-9]?)")

_QUOTE = 60
_T = TypeVar("_T")


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
    tensors = {
        f"{header['name']}.{field}": array
        for header, arrays in nodes
        for field, array in arrays.items()
        if array is not None
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


def _encode(node: Node) -> tuple[dict[str, Any], dict[str, NDArray[Any] | None]]:
    """Header and arrays of a node."""
    header: dict[str, Any] = {"name": node.name, "source": node.source}
    match node:
        case BinaryConv():
            header |= {"kind": "binary_conv", "gate": node.gate.value, "popcount": node.popcount}
            return header | _encode_windows(node), {"weights": _pack(node.weights)}
        case IntegerConv():
            weights = node.weights.reshape(node.filters, -1).astype(np.int16)
            return header | {"kind": "integer_conv"} | _encode_windows(node), {"weights": weights}
        case MaxPool():
            header |= {"kind": "max_pool", "size": node.size}
            return header, {"inverted": None if node.inverted is None else _pack(node.inverted)}
        case Threshold():
            header |= {"kind": "threshold", "fraction": node.fraction}
            return header, {
                "thresholds": node.thresholds,
                "popcount_weights": node.popcount_weights,
                "inverted": None if node.inverted is None else _pack(node.inverted),
                "classes": node.classes,
            }
        case Affine():
            rounding = None if node.rounding is None else asdict(node.rounding)
            header |= {"kind": "affine", "rounding": rounding}
            return header, {
                "scale": node.scale,
                "popcount_scale": node.popcount_scale,
                "offset": node.offset,
                "classes": node.classes,
            }
        case TwoSlope():
            header |= {"kind": "two_slope", "rounding": asdict(node.rounding)}
            return header, {"positive": node.positive, "negative": node.negative}
        case DynamicThreshold():
            header |= {"kind": "dynamic_threshold", "parameters": node.parameters}
            return header | {"first": node.first, "scale": node.scale}, {}
        case DynamicTwoSlope():
            header |= {"kind": "dynamic_two_slope", "parameters": node.parameters}
            header |= {"first": node.first, "rounding": asdict(node.rounding)}
            return header, {"positive": node.positive, "negative": node.negative}
        case Add():
            return header | {"kind": "add", "other": node.other, "bits": node.bits}, {}
        case Concat():
            return header | {"kind": "concat", "other": node.other}, {}
        case Subsample():
            return header | {"kind": "subsample", "stride": node.stride}, {}
        case PadChannels():
            header |= {"kind": "pad_channels", "before": node.before, "after": node.after}
            return header, {}
        case AveragePool():
            return header | {"kind": "average_pool", "size": node.size}, {}
        case HalvingMaxPool():
            return header | {"kind": "halving_max_pool"}, {}
        case GlobalSum():
            return header | {"kind": "global_sum"}, {}
        case ArgMax():
            return header | {"kind": "argmax"}, {}


def _encode_windows(node: BinaryConv | IntegerConv) -> dict[str, Any]:
    kernel = list(node.weights.shape[1:])
    return {"kernel": kernel, "stride": node.stride, "padding": node.padding}


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
"""What the file holds and no node has taken yet: name to dtype, shape and data."""

_GRAPH_FIELDS = {
    "version": int, "sha256": str, "name": str, "input": dict, "nodes": list, "labels": list,
    "provenance": dict,
}  # fmt: skip
_INPUT_FIELDS = {"height": int, "width": int, "channels": int, "type": str}
_PROVENANCE_FIELDS = {field.name: object for field in fields(Provenance)}
_NODE_FIELDS: dict[str, dict[str, type]] = {
    "binary_conv": {"kernel": list, "stride": int, "padding": int, "gate": str, "popcount": bool},
    "integer_conv": {"kernel": list, "stride": int, "padding": int},
    "max_pool": {"size": int},
    "threshold": {"fraction": int},
    "affine": {"rounding": object},
    "two_slope": {"rounding": object},
    "dynamic_threshold": {"parameters": str, "first": int, "scale": int},
    "dynamic_two_slope": {"parameters": str, "first": int, "rounding": object},
    "add": {"other": str, "bits": int},
    "concat": {"other": str},
    "subsample": {"stride": int},
    "pad_channels": {"before": int, "after": int},
    "average_pool": {"size": int},
    "halving_max_pool": {},
    "global_sum": {},
    "argmax": {},
}
"""What a node of each kind has besides ``kind``, ``name`` and ``source``."""


def _decode(data: bytes) -> Network:
    """As `loads`, with errors that do not name the format."""
    try:
        tensors: _Tensors = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError:
        raise FormatError("it is damaged, or not a safetensors file at all") from None
    metadata = _parse(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    if not isinstance(metadata, dict) or metadata.keys() != {_KEY}:
        raise FormatError("it is a safetensors file with other content")

    graph = _parse(metadata[_KEY])
    version = graph.get("version")
    if type(version) is not int or version < 1:
        raise FormatError("it does not say its version")
    if version > VERSION:
        raise FormatError(f"its version is {version}, and only versions up to {VERSION} are known")
    _check("the graph", graph, _GRAPH_FIELDS)
    digest = graph["sha256"]
    if not _SHA256.fullmatch(digest) or digest != _digest(data, digest):
        raise FormatError("it is damaged: its checksum is wrong")
    _check("the input", graph["input"], _INPUT_FIELDS)
    _check("the provenance", graph["provenance"], _PROVENANCE_FIELDS)
    frame = FeatureMap(**graph["input"] | {"type": decode_type(graph["input"]["type"])})
    nodes = [_decode_node(header, tensors) for header in graph["nodes"]]
    network = Network(
        name=graph["name"],
        input=frame,
        nodes=clip_thresholds(frame, nodes),
        labels=tuple(graph["labels"]),
        provenance=Provenance(**graph["provenance"]),
    )
    if tensors:
        raise FormatError(f"no node owns the tensor {_quote(min(tensors))}")
    return network


def _decode_node(header: Any, tensors: _Tensors) -> Node:
    """Node of a header; it takes its arrays out of ``tensors``."""
    kind = header.get("kind") if isinstance(header, dict) else None
    if not isinstance(kind, str) or kind not in _NODE_FIELDS:
        raise FormatError(f"there is no kind of node {_quote(kind)}")
    common = {"kind": str, "name": str, "source": str}
    _check(f"a node of kind {kind}", header, common | _NODE_FIELDS[kind])
    name, source = header["name"], header["source"]
    match kind:
        case "binary_conv":
            weights = _bits(tensors, f"{name}.weights", _decode_kernel(header["kernel"]))
            gate = _decode_gate(header["gate"])
            return BinaryConv(
                name,
                source,
                weights,
                gate,
                header["popcount"],
                stride=header["stride"],
                padding=header["padding"],
            )
        case "integer_conv":
            return IntegerConv(
                name,
                source,
                _weights(tensors, f"{name}.weights", _decode_kernel(header["kernel"])),
                stride=header["stride"],
                padding=header["padding"],
            )
        case "max_pool":
            inverted = _optional(_bits, tensors, f"{name}.inverted")
            return MaxPool(name, source, header["size"], inverted)
        case "threshold":
            classes = _optional(_table, tensors, f"{name}.classes")
            read = _integers if classes is None else _table
            return Threshold(
                name,
                source,
                thresholds=read(tensors, f"{name}.thresholds"),
                classes=classes,
                popcount_weights=_optional(_integers, tensors, f"{name}.popcount_weights"),
                fraction=header["fraction"],
                inverted=_optional(_bits, tensors, f"{name}.inverted"),
            )
        case "affine":
            classes = _optional(_table, tensors, f"{name}.classes")
            read = _integers if classes is None else _table
            rounding = header["rounding"]
            return Affine(
                name,
                source,
                scale=_integers(tensors, f"{name}.scale"),
                offset=read(tensors, f"{name}.offset"),
                popcount_scale=_optional(_integers, tensors, f"{name}.popcount_scale"),
                classes=classes,
                rounding=None if rounding is None else _decode_rounding(rounding),
            )
        case "two_slope":
            return TwoSlope(
                name,
                source,
                positive=_integers(tensors, f"{name}.positive"),
                negative=_integers(tensors, f"{name}.negative"),
                rounding=_decode_rounding(header["rounding"]),
            )
        case "dynamic_threshold":
            return DynamicThreshold(
                name, source, header["parameters"], header["first"], header["scale"]
            )
        case "dynamic_two_slope":
            return DynamicTwoSlope(
                name,
                source,
                header["parameters"],
                positive=_integers(tensors, f"{name}.positive"),
                negative=_integers(tensors, f"{name}.negative"),
                rounding=_decode_rounding(header["rounding"]),
                first=header["first"],
            )
        case "add":
            return Add(name, source, header["other"], header["bits"])
        case "concat":
            return Concat(name, source, header["other"])
        case "subsample":
            return Subsample(name, source, header["stride"])
        case "pad_channels":
            return PadChannels(name, source, header["before"], header["after"])
        case "average_pool":
            return AveragePool(name, source, header["size"])
        case "halving_max_pool":
            return HalvingMaxPool(name, source)
        case "global_sum":
            return GlobalSum(name, source)
        case _:
            return ArgMax(name, source)


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
    raise FormatError(f"there is no type {_quote(text)}")


def _decode_rounding(value: Any) -> Rounding:
    fields_ = {field.name: int for field in fields(Rounding)}
    if not isinstance(value, dict):
        raise FormatError(f"a rounding must be an object, not {_quote(value)}")
    _check("a rounding", value, fields_)
    return Rounding(**value)


def _decode_gate(text: str) -> Gate:
    try:
        return Gate(text)
    except ValueError:
        raise FormatError(f"there is no gate {_quote(text)}") from None


def _decode_kernel(sides: list[Any]) -> tuple[int, ...]:
    if len(sides) != 3 or not all(type(side) is int and side > 0 for side in sides):
        raise FormatError(f"a kernel must be three positive integers, not {_quote(sides)}")
    return tuple(sides)


def _integers(tensors: _Tensors, name: str) -> NDArray[np.int64]:
    """Take a vector of integers."""
    tensor = _take(tensors, name, "I64", 1)
    return np.frombuffer(tensor["data"], "<i8")


def _table(tensors: _Tensors, name: str) -> NDArray[np.int64]:
    """Take a matrix of integers."""
    tensor = _take(tensors, name, "I64", 2)
    return np.frombuffer(tensor["data"], "<i8").reshape(tensor["shape"])


def _weights(tensors: _Tensors, name: str, kernel: tuple[int, ...]) -> NDArray[np.int64]:
    """Take integer weights, of each filter as many as ``kernel`` has."""
    tensor = _take(tensors, name, "I16", 2)
    filters, taps = tensor["shape"]
    if taps != math.prod(kernel):
        raise FormatError(f"the tensor {_quote(name)} has {taps} integers a row, not as the kernel")
    return np.frombuffer(tensor["data"], "<i2").reshape(filters, *kernel).astype(np.int64)


def _bits(tensors: _Tensors, name: str, row: tuple[int, ...] = ()) -> NDArray[np.bool_]:
    """Take bits of which each packed row has the shape ``row``."""
    tensor = _take(tensors, name, "U8", 2)
    rows, stride = tensor["shape"]
    taps = math.prod(row)
    if stride != -(-taps // 8):
        raise FormatError(f"the tensor {_quote(name)} has {stride} bytes a row for {taps} bits")
    packed = np.frombuffer(tensor["data"], np.uint8).reshape(rows, stride)
    bits = np.unpackbits(packed, axis=1, bitorder="little").view(np.bool_)
    if np.any(bits[:, taps:]):
        raise FormatError(f"the tensor {_quote(name)} has bits beyond the end of a row")
    return bits[:, :taps].reshape(rows, *row)


def _digest(data: bytes, field: str) -> str:
    """SHA-256 of a file whose field of that name holds ``field``."""
    return hashlib.sha256(data.replace(field.encode(), _NO_DIGEST.encode(), 1)).hexdigest()


def _optional(read: Callable[[_Tensors, str], _T], tensors: _Tensors, name: str) -> _T | None:
    return read(tensors, name) if name in tensors else None


def _take(tensors: _Tensors, name: str, dtype: str, axes: int) -> dict[str, Any]:
    if name not in tensors:
        raise FormatError(f"the tensor {_quote(name)} is missing")
    tensor = tensors.pop(name)
    if tensor["dtype"] != dtype or len(tensor["shape"]) != axes:
        raise FormatError(f"the tensor {_quote(name)} must be of type {dtype} and have {axes} axes")
    if 0 in tensor["shape"]:
        raise FormatError(f"the tensor {_quote(name)} is empty")
    return tensor


def _parse(text: bytes | str) -> dict[str, Any]:
    """Parse a JSON object, without the liberties that Python takes."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise FormatError("its header is not valid JSON") from None
    if not isinstance(value, dict):
        raise FormatError("its header is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key repeats")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check(what: str, value: dict[str, Any], types: Mapping[str, type]) -> None:
    if value.keys() != types.keys():
        raise FormatError(f"{what} must have exactly the fields {', '.join(types)}")
    for name, kind in types.items():
        # A bool is no int here.
        if kind is not object and type(value[name]) is not kind:
            raise FormatError(f"{what} has a wrong {name}: {_quote(value[name])}")


def _quote(value: object) -> str:
    """Show ``value``, shortened and without control characters, because a stranger wrote it."""
    text = ascii(value)
    return text if len(text) <= _QUOTE else text[:_QUOTE] + "…"
