"""The contract between software and hardware: what a network computes, in integers.

A `Network` is a directed acyclic graph of nodes over feature maps, with one input and one output.
Nothing here says how a node is executed (`xnorflow.sw.golden`) or built (`xnorflow.hw.design`).

Conventions, stated once and used everywhere:

- Bit 1 is the upper level of a two-level set (+1), bit 0 the lower level (−1, or 0).
  ``x >= threshold`` gives 1, so sign(0) = +1.
- Feature maps are NHWC; a kernel is (row, column, channel); channels run fastest.
  Lane 0 of a hardware word is its least significant bit, and holds the lowest index.
- A tap outside the frame has bit 0 (integer taps: 0). Nothing is masked in the datapath.
- With u and v the bits of activation and weight over the N taps of a kernel:
  ``M = #{u = v}`` (xnor gate), ``A = #{u and v}`` (and gate), and ``P = #{u}``, which all
  filters share.
- The class label is the arg-max of the scores; ties go to the lowest index.

Everything is a frozen dataclass that is checked when it is constructed; arrays are made read-only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError


__all__ = [
    "INPUT",
    "Affine",
    "ArgMax",
    "BinaryConv",
    "Bit",
    "Counts",
    "FeatureMap",
    "Gate",
    "Int",
    "IntegerConv",
    "MaxPool",
    "Network",
    "Node",
    "Provenance",
    "Threshold",
    "UInt",
    "ValueType",
    "int_bits",
]

INPUT = "input"
"""The name under which nodes refer to the network's input."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_BITS = 32
_MAX_WEIGHT_BITS = 16
_MAX_SIDE = 1 << 16
_MAX_FRACTION = 16
_MAX_SUM_BITS = 63
_MAX_TEXT = 200


# -- value types ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bit:
    """One of two levels: u ∈ {0, 1}."""

    low = 0
    high = 1


@dataclass(frozen=True)
class UInt:
    """An unsigned integer of ``bits`` bits."""

    bits: int

    def __post_init__(self) -> None:
        _check_range("bits of an unsigned integer", self.bits, 1, _MAX_BITS)

    @property
    def low(self) -> int:
        """Smallest value."""
        return 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << self.bits) - 1


@dataclass(frozen=True)
class Int:
    """A signed integer of ``bits`` bits, two's complement."""

    bits: int

    def __post_init__(self) -> None:
        _check_range("bits of a signed integer", self.bits, 1, _MAX_BITS)

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << (self.bits - 1)) - 1


@dataclass(frozen=True)
class Counts:
    """What a binary convolution delivers: M or A, in 0…``taps``, for every filter.

    With ``popcount``, every pixel also carries P, in 0…``taps``, which its filters share.
    """

    taps: int
    popcount: bool = False

    def __post_init__(self) -> None:
        _check_range("taps of a count", self.taps, 1, (1 << 24) - 1)

    @property
    def low(self) -> int:
        """Smallest value."""
        return 0

    @property
    def high(self) -> int:
        """Largest value."""
        return self.taps


ValueType = Bit | UInt | Int | Counts


def int_bits(low: int, high: int) -> int:
    """Width of the narrowest two's complement integer that holds ``low``…``high``."""
    return max(int(low if low >= 0 else ~low).bit_length(), int(high).bit_length()) + 1


@dataclass(frozen=True)
class FeatureMap:
    """Shape and type of what flows along an edge: (height, width, channels) of one frame."""

    height: int
    width: int
    channels: int
    type: ValueType

    def __post_init__(self) -> None:
        for what in ("height", "width", "channels"):
            _check_range(f"{what} of a feature map", getattr(self, what), 1, _MAX_SIDE)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> int:
        """Number of values in a frame."""
        return self.height * self.width * self.channels


# -- nodes ----------------------------------------------------------------------------------------


class Gate(Enum):
    """What combines an activation bit with a weight bit."""

    XNOR = "xnor"
    AND = "and"


@dataclass(frozen=True, eq=False)
class BinaryConv:
    """Count, for every filter and window, the taps where the gate gives 1: bit → counts.

    ``y[r, c, f] = #{(i, j, k): gate(x[s·r + i − p, s·c + j − p, k], weights[f, i, j, k])}`` with
    the stride s and the padding p; a tap outside the frame has x = 0. A dense layer is a kernel
    that covers the whole map.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    weights : bool array, (filters, rows, columns, channels)
        Weight bits.
    gate : Gate
        Whether M (xnor) or A (and) is counted.
    popcount : bool
        Whether P goes along with the counts, for thresholds that use it (AdaBin).
    stride : int
        Pixels from one window to the next, in both directions.
    padding : int
        Pixels outside the frame that windows reach on each side, less than the kernel's sides.
    """

    name: str
    source: str
    weights: NDArray[np.bool_]
    gate: Gate = Gate.XNOR
    popcount: bool = False
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        _freeze(self, "weights", np.bool_, 4)
        if not isinstance(self.gate, Gate):
            raise NetworkError(f"{self.name}: the gate must be a Gate, not {self.gate!r}")
        _check_windows(self)

    @property
    def filters(self) -> int:
        """Number of filters (neurons)."""
        return self.weights.shape[0]

    @property
    def taps(self) -> int:
        """N, the synapses of one filter."""
        return self.weights[0].size

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        if not isinstance(x.type, Bit):
            raise NetworkError(f"{self.name}: the input must be bits, not {_spell(x.type)}")
        return _infer_windows(self, x, Counts(self.taps, self.popcount))


@dataclass(frozen=True, eq=False)
class IntegerConv:
    """Weighted sums of every window: bits or integers → integers.

    ``y[r, c, f] = Σ weights[f, i, j, k] · x[s·r + i − p, s·c + j − p, k]``, as for `BinaryConv`;
    an x outside the frame is 0. For first layers on pixels, and for last layers.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    weights : int array, (filters, rows, columns, channels)
        At most 16 bits each.
    stride, padding : int
        As for `BinaryConv`.
    """

    name: str
    source: str
    weights: NDArray[np.int64]
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        _freeze(self, "weights", np.int64, 4)
        if self.weight_bits > _MAX_WEIGHT_BITS:
            raise NetworkError(
                f"{self.name}: its weights need {self.weight_bits} bits, more than "
                f"{_MAX_WEIGHT_BITS}"
            )
        _check_windows(self)

    @property
    def filters(self) -> int:
        """Number of filters (neurons)."""
        return self.weights.shape[0]

    @property
    def taps(self) -> int:
        """N, the synapses of one filter."""
        return self.weights[0].size

    @property
    def weight_bits(self) -> int:
        """Width of the narrowest two's complement integer that holds every weight."""
        return int_bits(int(self.weights.min()), int(self.weights.max()))

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Smallest and largest sum of each filter: two (filters,) arrays of Python integers."""
        # A window may reach outside the frame, where x is 0.
        low, high = min(0, x.type.low), max(0, x.type.high)
        weights = self.weights.reshape(self.filters, -1)
        # In Python's integers: a hostile file can ask for products beyond 64 bits.
        positive = np.maximum(weights, 0).sum(axis=1).astype(object)
        negative = np.minimum(weights, 0).sum(axis=1).astype(object)
        return positive * low + negative * high, positive * high + negative * low

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``; its width is the narrowest that fits."""
        if not isinstance(x.type, Bit | UInt | Int):
            raise NetworkError(
                f"{self.name}: the input must be bits or integers, not {_spell(x.type)}"
            )
        low, high = self.bounds(x)
        bits = int_bits(int(low.min()), int(high.max()))
        if bits > _MAX_BITS:
            raise NetworkError(f"{self.name}: its values need {bits} bits, more than {_MAX_BITS}")
        return _infer_windows(self, x, Int(bits))


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Largest bit of every window, or the smallest one: bit → bit.

    ``y[r, c, k] = any(x[size·r + i, size·c + j, k])``, and ``all(…)`` on channels that are
    ``inverted``: those on which a larger bit stands for a smaller value, because the comparison
    before it is turned round. Rows and columns that do not fill a window are left out.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    size : int
        Rows and columns of a window, at least 2; windows do not overlap.
    inverted : bool array, (channels,), optional
    """

    name: str
    source: str
    size: int
    inverted: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_range(f"{self.name}: size", self.size, 2, _MAX_SIDE)
        if self.inverted is not None:
            _freeze(self, "inverted", np.bool_, 1)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        if not isinstance(x.type, Bit):
            raise NetworkError(f"{self.name}: the input must be bits, not {_spell(x.type)}")
        if self.inverted is not None and self.inverted.size != x.channels:
            raise NetworkError(
                f"{self.name}: it has {self.inverted.size} channels, its source {x.channels}"
            )
        if self.size > min(x.height, x.width):
            raise NetworkError(
                f"{self.name}: a window of {self.size}×{self.size} does not fit a map of "
                f"{_shape(x)}"
            )
        return FeatureMap(x.height // self.size, x.width // self.size, x.channels, Bit())


@dataclass(frozen=True, eq=False)
class Threshold:
    """Compare every value with its channel's threshold: counts or integers → bit.

    ``y[r, c, k] = (2^fraction · x[r, c, k] + popcount_weights[k] · P[r, c] ≥ thresholds[k])``,
    complemented on channels that are ``inverted``. With ``classes``, it is
    ``thresholds[classes[r, c], k]``: windows that reach outside the frame have other thresholds.

    A threshold equal to the smallest left side makes the comparison constant 1, one above the
    largest constant 0: that is how degenerate channels are written.

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    thresholds : int array, (channels,), or (border classes, channels) with ``classes``
    popcount_weights : int array, (channels,), optional
        ρ of each channel in units of 2^−fraction; needs counts that carry P.
    fraction : int
        Fractional bits of ρ.
    inverted : bool array, (channels,), optional
        Channels whose comparison is turned round (a negative batch-norm scale with the and gate).
    classes : int array, (height, width), optional
        Border class of each pixel: 0, 1, …, each of which occurs.
    """

    name: str
    source: str
    thresholds: NDArray[np.int64]
    popcount_weights: NDArray[np.int64] | None = None
    fraction: int = 0
    inverted: NDArray[np.bool_] | None = None
    classes: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        _freeze(self, "thresholds", np.int64, 1 if self.classes is None else 2)
        for what, dtype in (("popcount_weights", np.int64), ("inverted", np.bool_)):
            if getattr(self, what) is not None:
                _freeze(self, what, dtype, 1, shape=(self.channels,))
        _check_range(f"{self.name}: fraction", self.fraction, 0, _MAX_FRACTION)
        if self.classes is not None:
            _freeze(self, "classes", np.int64, 2)
            if not np.array_equal(np.unique(self.classes), np.arange(len(self.thresholds))):
                raise NetworkError(
                    f"{self.name}: its pixels must have the classes 0…{len(self.thresholds) - 1}, "
                    "and each of them"
                )

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.thresholds.shape[-1]

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest left side of the comparison, per channel: two (channels,) arrays."""
        factor = np.full(self.channels, 1 << self.fraction, np.int64)
        return _bounds(self.name, x, factor, self.popcount_weights, np.zeros_like(factor))

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``."""
        _check_channels(self.name, self.channels, x)
        _check_popcount(self.name, self.popcount_weights is not None, x)
        if self.classes is not None and self.classes.shape != (x.height, x.width):
            raise NetworkError(
                f"{self.name}: it has classes for {self.classes.shape[0]}×{self.classes.shape[1]} "
                f"pixels, its source has {x.height}×{x.width}"
            )
        low, high = self.bounds(x)
        if np.any(self.thresholds < low) or np.any(self.thresholds > high + 1):
            raise NetworkError(
                f"{self.name}: a threshold lies outside the range of what it is compared with"
            )
        return FeatureMap(x.height, x.width, x.channels, Bit())


@dataclass(frozen=True, eq=False)
class Affine:
    """Scale and shift every channel in integers: counts or integers → integers.

    ``y[r, c, k] = scale[k] · x[r, c, k] + popcount_scale[k] · P[r, c] + offset[k]``

    Parameters
    ----------
    name, source : str
        This node, and the node (or `INPUT`) that feeds it.
    scale, offset : int array, (channels,)
    popcount_scale : int array, (channels,), optional
        Needs counts that carry P.
    """

    name: str
    source: str
    scale: NDArray[np.int64]
    offset: NDArray[np.int64]
    popcount_scale: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        _freeze(self, "scale", np.int64, 1)
        _freeze(self, "offset", np.int64, 1, shape=self.scale.shape)
        if self.popcount_scale is not None:
            _freeze(self, "popcount_scale", np.int64, 1, shape=self.scale.shape)

    def bounds(self, x: FeatureMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest value of each channel: two (channels,) arrays."""
        return _bounds(self.name, x, self.scale, self.popcount_scale, self.offset)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``; its width is the narrowest that fits."""
        _check_channels(self.name, self.scale.size, x)
        _check_popcount(self.name, self.popcount_scale is not None, x)
        low, high = self.bounds(x)
        bits = int_bits(int(low.min()), int(high.max()))
        if bits > _MAX_BITS:
            raise NetworkError(f"{self.name}: its values need {bits} bits, more than {_MAX_BITS}")
        return FeatureMap(x.height, x.width, x.channels, Int(bits))


@dataclass(frozen=True, eq=False)
class ArgMax:
    """Index of the largest channel of a 1×1 map, the lowest one on ties; hands the scores on."""

    name: str
    source: str

    def __post_init__(self) -> None:
        _check_name(self.name)

    def infer(self, x: FeatureMap) -> FeatureMap:
        """Map that this node delivers for the map ``x``: a single label."""
        if (x.height, x.width) != (1, 1) or not isinstance(x.type, Int | UInt):
            raise NetworkError(
                f"{self.name}: the scores must be a 1×1 map of integers, "
                f"not {_shape(x)} of {_spell(x.type)}"
            )
        return FeatureMap(1, 1, 1, UInt(max(1, (x.channels - 1).bit_length())))


Node = BinaryConv | IntegerConv | MaxPool | Threshold | Affine | ArgMax


# -- the network ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Provenance:
    """Where a network came from; nothing here changes what it computes."""

    dataset: str = ""
    model: str = ""
    method: str = ""
    recipe: str = ""
    seed: int | None = None
    epochs: int | None = None
    float_accuracy: float | None = None
    """Accuracy of the PyTorch model on the test set, a fraction."""

    def __post_init__(self) -> None:
        for what in ("dataset", "model", "method", "recipe"):
            _check_text(f"provenance: {what}", getattr(self, what), shortest=0)
        for what in ("seed", "epochs"):
            if getattr(self, what) is not None:
                _check_range(f"provenance: {what}", getattr(self, what), 0, (1 << 63) - 1)
        accuracy = self.float_accuracy
        if accuracy is not None and not (isinstance(accuracy, float) and 0 <= accuracy <= 1):
            raise NetworkError(f"provenance: accuracy must be from 0.0 to 1.0, not {accuracy!r}")


@dataclass(frozen=True, eq=False)
class Network:
    """A classifier in integers: a checked graph of nodes.

    Parameters
    ----------
    name : str
    input : FeatureMap
        One frame, usually raw pixels of type ``UInt(8)``.
    nodes : tuple of Node
        In an order in which every node comes after its source. The last one is an `ArgMax`.
    labels : tuple of str
        Names of the classes.
    provenance : Provenance

    Attributes
    ----------
    maps : mapping of str to FeatureMap
        What the input and each node deliver.

    Raises
    ------
    NetworkError
        If names repeat, an edge leads nowhere, a node is not used, or shapes and types do not fit.
    """

    name: str
    input: FeatureMap
    nodes: tuple[Node, ...]
    labels: tuple[str, ...]
    provenance: Provenance = field(default_factory=Provenance)
    maps: Mapping[str, FeatureMap] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "labels", tuple(self.labels))
        _check_text("a network's name", self.name)
        for label in self.labels:
            _check_text(f"{self.name}: a label", label)
        if len(set(self.labels)) != len(self.labels):
            raise NetworkError(f"{self.name}: two classes have the same label")
        if not isinstance(self.input.type, UInt | Int | Bit):
            raise NetworkError(f"{self.name}: the input must be pixels, not counts")
        if not self.nodes or not isinstance(self.nodes[-1], ArgMax):
            raise NetworkError(f"{self.name}: the last node must be an ArgMax")
        maps = {INPUT: self.input}
        for node in self.nodes:
            _check_name(node.name)
            if node.name in maps:
                raise NetworkError(f"{self.name}: two nodes are named {node.name!r}")
            if node.source not in maps:
                raise NetworkError(
                    f"{node.name}: its source {node.source!r} does not come before it"
                )
            maps[node.name] = node.infer(maps[node.source])
        unused = maps.keys() - {node.source for node in self.nodes} - {self.nodes[-1].name}
        if unused:
            raise NetworkError(f"{self.name}: nothing uses {', '.join(sorted(unused))}")
        scores = maps[self.nodes[-1].source]
        if len(self.labels) != scores.channels:
            raise NetworkError(
                f"{self.name}: there are {len(self.labels)} labels for {scores.channels} scores"
            )
        object.__setattr__(self, "maps", MappingProxyType(maps))

    @property
    def scores(self) -> str:
        """Name of the node whose values the final `ArgMax` compares."""
        return self.nodes[-1].source


# -- checks ---------------------------------------------------------------------------------------


def _bounds(
    name: str,
    x: FeatureMap,
    scale: NDArray[np.int64],
    popcount_scale: NDArray[np.int64] | None,
    offset: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Range of ``scale · x + popcount_scale · P + offset`` in each channel."""
    # In Python's integers: a hostile file can ask for products beyond 64 bits.
    low = high = offset.astype(object)
    for factor in (scale, popcount_scale):
        if factor is not None:
            ends = factor.astype(object) * x.type.low, factor.astype(object) * x.type.high
            low, high = low + np.minimum(*ends), high + np.maximum(*ends)
    bits = int_bits(min(low), max(high))
    if bits > _MAX_SUM_BITS:
        raise NetworkError(f"{name}: its values need {bits} bits, more than {_MAX_SUM_BITS}")
    return low.astype(np.int64), high.astype(np.int64)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == INPUT:
        raise NetworkError(
            f"a node's name must be lower-case letters, digits and underscores, not {name!r}"
        )


def _check_text(what: str, text: object, *, shortest: int = 1) -> None:
    # Printable, because such texts go to terminals, file names and generated sources.
    printable = isinstance(text, str) and text.isprintable()
    if not printable or not shortest <= len(str(text)) <= _MAX_TEXT:
        raise NetworkError(
            f"{what} must be {shortest} to {_MAX_TEXT} printable characters, not {ascii(text)[:40]}"
        )


def _check_range(what: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise NetworkError(f"{what} must be an integer from {low} to {high}, not {value!r}")


def _check_windows(node: BinaryConv | IntegerConv) -> None:
    _, rows, columns, _ = node.weights.shape
    _check_range(f"{node.name}: stride", node.stride, 1, _MAX_SIDE)
    _check_range(f"{node.name}: padding", node.padding, 0, min(rows, columns) - 1)


def _infer_windows(node: BinaryConv | IntegerConv, x: FeatureMap, type_: ValueType) -> FeatureMap:
    """Map of what ``node`` delivers for every window of ``x``."""
    _, rows, columns, channels = node.weights.shape
    height, width = x.height + 2 * node.padding - rows, x.width + 2 * node.padding - columns
    if channels != x.channels or height < 0 or width < 0:
        raise NetworkError(
            f"{node.name}: a kernel of {rows}×{columns}×{channels} does not fit a map of "
            f"{_shape(x)}"
        )
    return FeatureMap(height // node.stride + 1, width // node.stride + 1, node.filters, type_)


def _check_channels(name: str, channels: int, x: FeatureMap) -> None:
    if isinstance(x.type, Bit):
        raise NetworkError(f"{name}: the input must be counts or integers, not bits")
    if channels != x.channels:
        raise NetworkError(f"{name}: it has {channels} channels, its source {x.channels}")


def _check_popcount(name: str, wanted: bool, x: FeatureMap) -> None:
    carried = isinstance(x.type, Counts) and x.type.popcount
    if wanted and not carried:
        raise NetworkError(
            f"{name}: it needs the shared popcount, which its source does not deliver"
        )
    if carried and not wanted:
        raise NetworkError(
            f"{name}: its source delivers the shared popcount, which it does not use"
        )


def _freeze(
    node: Node, what: str, dtype: type, dimensions: int, *, shape: tuple[int, ...] | None = None
) -> None:
    """Check the name of ``node``, and replace its array ``what`` by a read-only copy."""
    _check_name(node.name)
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


_DTYPES = {np.bool_: "bits", np.int64: "integers"}


def _shape(x: FeatureMap) -> str:
    return "×".join(map(str, x.shape))


def _spell(type_: ValueType) -> str:
    match type_:
        case Bit():
            return "bits"
        case Counts():
            return "counts"
        case UInt():
            return f"{type_.bits}-bit unsigned integers"
        case Int():
            return f"{type_.bits}-bit integers"
