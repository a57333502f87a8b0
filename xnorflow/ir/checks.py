"""Checks of nodes and of what feeds them; violations are `NetworkError`."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.ir.values import (
    MAX_BITS,
    Bit,
    Counts,
    FeatureMap,
    Int,
    UInt,
    ValueType,
    int_bits,
)


__all__ = [
    "INPUT",
    "MAX_LEVEL_BITS",
    "MAX_SCALE_BITS",
    "MAX_WEIGHT_BITS",
    "bounds_of",
    "check_channels",
    "check_classes",
    "check_int",
    "check_name",
    "check_parameters",
    "check_popcount",
    "check_scores",
    "check_source",
    "check_type",
    "freeze",
    "freeze_classes",
    "spell",
    "spell_shape",
    "sum_type",
]

INPUT = "input"
"""The name under which nodes refer to the network's input."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAX_LEVEL_BITS = 4
"""Of activations that thresholds make."""

MAX_WEIGHT_BITS = 16
_MAX_SUM_BITS = 63
_DTYPES = {np.bool_: "bits", np.int64: "integers"}
MAX_SCALE_BITS = 30


def bounds_of(
    name: str,
    x: FeatureMap,
    scale: NDArray[np.int64],
    popcount_scale: NDArray[np.int64] | None,
    offset: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Range of ``scale · x + popcount_scale · P + offset[class]`` in each channel."""
    # In Python's integers: a hostile file can ask for products beyond 64 bits.
    low, high = offset.min(axis=0).astype(object), offset.max(axis=0).astype(object)
    for factor in (scale, popcount_scale):
        if factor is not None:
            ends = factor.astype(object) * x.type.low, factor.astype(object) * x.type.high
            low, high = low + np.minimum(*ends), high + np.maximum(*ends)
    bits = int_bits(min(low), max(high))
    if bits > _MAX_SUM_BITS:
        raise NetworkError(f"{name}: its values need {bits} bits, more than {_MAX_SUM_BITS}")
    return low.astype(np.int64), high.astype(np.int64)


def check_name(name: object) -> None:
    """Check that ``name`` can be that of a node."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == INPUT:
        raise NetworkError(
            f"a node's name must be lower-case letters, digits and underscores, not {name!r}"
        )


def check_source(name: str, source: object) -> None:
    """Check that ``source`` can be what feeds the node ``name``."""
    if not isinstance(source, str) or not _NAME.fullmatch(source):
        raise NetworkError(f"{name}: a source must be the name of a node, not {source!r}")


def check_type(name: str, what: str, value: object, wanted: type) -> None:
    """Check that a field of a node is of a class."""
    if not isinstance(value, wanted):
        raise NetworkError(f"{name}: {what} must be a {wanted.__name__}, not {value!r}")


def check_channels(name: str, channels: int, x: FeatureMap, *, bits: bool = False) -> None:
    """Check that ``x`` has so many channels, and is not of bits unless these may be."""
    if isinstance(x.type, Bit) and not bits:
        raise NetworkError(f"{name}: the input must be counts or integers, not bits")
    if channels != x.channels:
        raise NetworkError(f"{name}: it has {channels} channels, its source {x.channels}")


def check_popcount(name: str, wanted: bool, x: FeatureMap) -> None:
    """Check that ``x`` carries the shared popcount if it is wanted, and only then."""
    carried = isinstance(x.type, Counts) and x.type.popcount
    if wanted and not carried:
        raise NetworkError(
            f"{name}: it needs the shared popcount, which its source does not deliver"
        )
    if carried and not wanted:
        raise NetworkError(
            f"{name}: its source delivers the shared popcount, which it does not use"
        )


def freeze(
    node: Any, what: str, dtype: type, dimensions: int, *, shape: tuple[int, ...] | None = None
) -> None:
    """Replace the array ``what`` of ``node`` by a read-only copy, and check it."""
    array = np.asarray(getattr(node, what))
    if array.dtype.kind not in ("b" if dtype is np.bool_ else "iu"):
        raise NetworkError(f"{node.name}: {what} must be {_DTYPES[dtype]}, not {array.dtype}")
    if array.ndim != dimensions or array.size == 0 or (shape is not None and array.shape != shape):
        raise NetworkError(f"{node.name}: {what} has the wrong shape {array.shape}")
    if dtype is np.int64 and np.any(np.abs(array.astype(object)) >= 1 << 40):
        raise NetworkError(f"{node.name}: {what} has values beyond 40 bits")
    array = np.array(array, dtype, order="C")
    array.setflags(write=False)
    object.__setattr__(node, what, array)


def freeze_classes(node: Any, count: int) -> None:
    """As `freeze`, for border classes, of which there must be ``count``."""
    freeze(node, "classes", np.int64, 2)
    if not np.array_equal(np.unique(np.asarray(node.classes)), np.arange(count)):
        raise NetworkError(
            f"{node.name}: its pixels must have the classes 0…{count - 1}, and each of them"
        )


def check_classes(node: Any, x: FeatureMap) -> None:
    """Check that border classes are those of all pixels of ``x``."""
    if node.classes is not None and node.classes.shape != (x.height, x.width):
        raise NetworkError(
            f"{node.name}: it has classes for {node.classes.shape[0]}×{node.classes.shape[1]} "
            f"pixels, its source has {x.height}×{x.width}"
        )


def check_int(name: str, x: FeatureMap) -> int:
    """Check that ``x`` consists of signed integers, and return their fractional bits."""
    if not isinstance(x.type, Int):
        raise NetworkError(f"{name}: the input must be signed integers, not {spell(x.type)}")
    return x.type.fraction


def check_scores(name: str, x: FeatureMap) -> None:
    """Check that ``x`` can be what a network delivers: a 1×1 map without P."""
    if (x.height, x.width) != (1, 1):
        raise NetworkError(
            f"{name}: the scores must be a 1×1 map, not {spell_shape(x)} of {spell(x.type)}"
        )
    check_popcount(name, False, x)


def check_parameters(name: str, x: FeatureMap, parameters: FeatureMap, least: int) -> None:
    """Check that a map of ``parameters``, of at ``least`` so many channels, fits ``x``."""
    if (parameters.height, parameters.width) != (1, 1) or parameters.channels < least:
        raise NetworkError(
            f"{name}: its parameters must be a 1×1 map of at least {least} channels, "
            f"not {spell_shape(parameters)}"
        )
    if check_int(name, x) != check_int(name, parameters):
        raise NetworkError(
            f"{name}: its parameters must have as many fractional bits as its source"
        )


def sum_type(name: str, bits: int, fraction: int = 0) -> Int:
    """Type of sums that need so many bits, if there is one."""
    if bits > MAX_BITS:
        raise NetworkError(f"{name}: its values need {bits} bits, more than {MAX_BITS}")
    return Int(bits, fraction)


def spell_shape(x: FeatureMap) -> str:
    """Shape in words."""
    return "×".join(map(str, x.shape))


def spell(type_: ValueType) -> str:
    """Type in words."""
    match type_:
        case Bit():
            return "bits"
        case Counts():
            return "counts"
        case UInt():
            return f"{type_.bits}-bit unsigned integers"
        case Int():
            return f"{type_.bits}-bit integers"
