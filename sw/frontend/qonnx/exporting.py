"""Integer networks as ONNX files with QONNX's operators, for FINN and for qonnx's executor.

All values are integers in float32, which holds them exactly up to 2²⁴; a network that needs more is
refused. Convolutions of bits v become those of the weights 2v − 1; and the bits that they get, and
codes, become levels such that zeros around a map are what the network means by its padding.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError
from xnorflow.files import write_atomically
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Concat,
    Convolution,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    GlobalSum,
    IntegerConv,
    MaxPool,
    MultiThreshold,
    Network,
    Node,
    PadChannels,
    Pool,
    Rounding,
    Subsample,
    SumPool,
    Threshold,
    TwoSlope,
    Upsample,
)
from xnorflow.ir.windows import pair
from xnorflow.sw.frontend.qonnx.products import (
    EXACT,
    Products,
    compared,
    products_of,
    steps_of,
    uniform,
)
from xnorflow.sw.frontend.qonnx.shifts import shifts_of
from xnorflow.sw.frontend.qonnx.writing import DOMAIN, Writer, channels_of


__all__ = ["export_qonnx"]


def export_qonnx(network: Network, path: Path | str) -> None:
    """Write ``network`` as an ONNX file, whose first output are the scores, the last one the label.

    The input is (1, channels, height, width), of integers in float32.

    Raises
    ------
    NetworkError
        If values are beyond what float32 holds exactly.
    FormatError
        If the file cannot be written.
    ToolError
        If the package onnx is missing.
    """
    write_atomically(path, _Export(network).model().SerializeToString())


class _Export:
    """Nodes so far; each method adds some, and gives the name of what the last one delivers."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.writer = Writer()
        self._call, self._times, self._plus = (
            self.writer.call,
            self.writer.times,
            self.writer.plus,
        )
        self.tensors = {INPUT: INPUT}
        self.shifts = shifts_of(network)
        self.sources = {node.name: node for node in network.nodes}
        self.input = ""
        self.sums: dict[tuple[str, bytes], str] = {}
        for node in network.nodes:
            self._check(node)
            self._add(node)

    def model(self) -> Any:
        """The whole model."""
        frame, last = self.network.input, self.network.nodes[-1]
        scores = last.source if isinstance(last, ArgMax) else last.name
        classes = self.network.maps[scores].channels
        outputs = [(self._tensor(scores), [1, classes, 1, 1])]
        if isinstance(last, ArgMax):
            outputs.append((self.tensors[last.name], [1, 1, 1, 1]))
        shape = [1, frame.channels, frame.height, frame.width]
        return self.writer.model(self.network.name, shape, outputs)

    def _check(self, node: Node) -> None:
        delivered, x = self.network.maps[node.name].type, self.network.maps[node.source]
        reach = max(-delivered.low, delivered.high)
        # What is rounded or compared may be larger than what comes out.
        if isinstance(node, Affine | Threshold):
            reach = max(reach, *(int(np.abs(ends).max()) for ends in node.bounds(x)))
        elif isinstance(node, TwoSlope | DynamicTwoSlope):
            slopes = np.abs([node.positive, node.negative]).max()
            # A dynamic shift is at most a bit wider than the stream.
            reach = max(reach, 4 * max(-x.type.low, x.type.high) * int(slopes))
        if reach > EXACT:
            raise NetworkError(f"{node.name} has values that float32 does not hold exactly")

    def _add(self, node: Node) -> None:
        """A node, unless those that read it decide how it is written."""
        if isinstance(node, BinaryConv | IntegerConv):
            return
        if isinstance(node, Threshold | MultiThreshold):
            readers = [each for each in self.network.nodes if node.name in each.sources]
            # Sums are pooled and compared, rather than bits pooled some of which are inverted.
            pool = readers[0] if len(readers) == 1 else None
            downward = isinstance(pool, MaxPool) and pool.inverted is not None
            if downward and self._compared(node) is not None:
                return
            self.tensors[node.name] = self._threshold(node)
        elif (
            isinstance(node, MaxPool)
            and isinstance(threshold := self.sources.get(node.source), Threshold | MultiThreshold)
            and threshold.name not in self.tensors
        ):
            self.tensors[node.name] = self._threshold(threshold, node)
        elif isinstance(node, Affine):
            total = self._affine(node)
            rounding = node.rounding
            if rounding is not None and not _keeps(rounding, node, self.network.maps[node.source]):
                total = self._round(total, rounding)
            self.tensors[node.name] = total
        else:
            self.tensors[node.name] = self._node(node, self._tensor(node.source))

    def _node(self, node: Node, x: str) -> str:
        match node:
            case TwoSlope():
                return self._round(self._slopes(node, x), node.rounding)
            case DynamicThreshold() | DynamicTwoSlope():
                return self._dynamic(node, x)
            case Add():
                total = self._call("Add", x, self._tensor(node.other), name=node.name)
                types = [self.network.maps[source].type for source in node.sources]
                low, high = sum(each.low for each in types), sum(each.high for each in types)
                fits = node.rounding.low <= low and high <= node.rounding.high
                return total if fits else self._round(total, node.rounding)
            case Concat():
                return self._call("Concat", *map(self._tensor, node.sources), axis=1)
            case PadChannels():
                pads = np.array([0, node.before, 0, 0, 0, node.after, 0, 0])
                return self._call("Pad", x, pads, np.float32(0))
            case Subsample():
                ends, steps = np.array([1 << 30] * 2), np.array([node.stride] * 2)
                return self._call("Slice", x, np.array([0, 0]), ends, np.array([2, 3]), steps)
            case Upsample():
                scales = np.array([1, 1, *pair(node.factor)], np.float32)
                modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                return self._call("Resize", x, "", scales, mode="nearest", **modes)
            case ArgMax() if self.network.maps[node.source].channels == 1:
                return self._call("Cast", self._levels(x, np.zeros((1, 1)), node.name), to=7)
            case ArgMax():
                return self._call("ArgMax", x, axis=1, keepdims=1)
        return self._pool(node, x)

    # -- layers -------------------------------------------------------------------------------

    def _tensor(self, name: str) -> str:
        """What a node delivers; levels, if it is bits or codes that have a shift."""
        if name not in self.tensors:
            conv = self.sources[name]
            assert isinstance(conv, BinaryConv | IntegerConv)
            layer = products_of(conv, self.network.maps[conv.source])
            self.tensors[name] = self._exact(layer)
        return self.tensors[name]

    def _products(self, layer: Products) -> str:
        """Sums of products with levels, in steps of their shift."""
        conv = layer.node
        key = conv.name, layer.weights.tobytes()
        if key not in self.sums:
            if layer.reach(self._shift(conv)).max() > EXACT:
                raise NetworkError(f"{conv.name} has values that float32 does not hold exactly")
            first = conv.name not in {name for name, _ in self.sums}
            self.sums[key] = self._call(
                "Conv",
                self._shifted_input() if conv.source == INPUT else self._tensor(conv.source),
                layer.weights.transpose(0, 3, 1, 2).astype(np.float32),
                name=conv.name if first else "",
                dilations=[axis.dilation for axis in conv.axes],
                group=conv.groups,
                **_sides(conv),
            )
        return self.sums[key]

    def _shifted_input(self) -> str:
        shift = self.shifts[INPUT]
        if shift and not self.input:
            doubled = self._times(INPUT, np.array([shift.denominator]))
            self.input = self._plus(doubled, np.array([shift.numerator]))
        return self.input or INPUT

    def _shift(self, conv: BinaryConv | IntegerConv) -> Fraction:
        return self.shifts.get(conv.source, Fraction(0))

    def _offset(self, layer: Products) -> NDArray[np.int64]:
        """What sums of products in steps lack of those without a shift; they have no padding."""
        shift = self._shift(layer.node)
        return shift.denominator * layer.constant - shift.numerator * layer.weights.sum((1, 2, 3))

    def _exact(self, layer: Products, scale: NDArray[np.int64] | int = 1) -> str:
        """Sums of products, times ``scale``, as they are without a shift."""
        shift = self._shift(layer.node)
        # The denominator is a power of two.
        factors = np.asarray(scale) / shift.denominator
        if (layer.reach(shift) * np.abs(scale)).max() > EXACT:
            raise NetworkError(f"{layer.node.name} has values that float32 does not hold exactly")
        scaled = self._times(self._products(layer), factors)
        return self._plus(scaled, factors * self._offset(layer))

    def _affine(self, node: Affine) -> str:
        offset = _of_classes(node.offset, node.classes)
        conv = self.sources.get(node.source)
        if not isinstance(conv, BinaryConv | IntegerConv):
            return self._plus(self._times(self._tensor(node.source), node.scale), offset)
        x = self.network.maps[conv.source]
        if node.popcount_scale is None:
            total = self._exact(products_of(conv, x), node.scale)
        else:
            total = self._exact(products_of(conv, x, node.scale, node.popcount_scale))
        return self._plus(total, offset)

    def _compared(self, node: Threshold | MultiThreshold) -> tuple[str, NDArray[np.int64]] | None:
        """Sums, and thresholds (steps, channels) of theirs that are the same for all pixels."""
        conv = self.sources.get(node.source)
        if isinstance(conv, BinaryConv | IntegerConv):
            layer = compared(node, conv, self.network.maps[conv.source])
            rows = uniform(layer, node, self._shift(conv))
            return None if rows is None else (self._products(layer), rows)
        if node.classes is not None:
            return None
        return self._tensor(node.source), steps_of(node)

    def _threshold(self, node: Threshold | MultiThreshold, pool: MaxPool | None = None) -> str:
        """Levels of what is compared, behind a ``pool`` of that if there is one."""
        found = self._compared(node)
        inverted = np.zeros(node.channels, np.bool_) if node.inverted is None else node.inverted
        # Of integers, x < t is −x ≥ 1 − t.
        signs = np.where(inverted, -1, 1)
        if found is None:
            return self._by_pixel(node, signs)
        x, rows = found
        rows = np.where(inverted, 1 - rows[::-1], rows)
        if pool is None:
            return self._levels(self._times(x, signs), rows.T, node.name)
        downward = np.where(np.asarray(pool.inverted), -1, 1)
        largest = self._call("MaxPool", self._times(x, signs * downward), **_sides(pool))
        return self._levels(self._times(largest, downward), rows.T, pool.name)

    def _by_pixel(self, node: Threshold | MultiThreshold, signs: NDArray[np.int64]) -> str:
        """Levels with a comparison for each step and pixel."""
        conv = self.sources.get(node.source)
        if isinstance(conv, BinaryConv | IntegerConv):
            x = self._exact(compared(node, conv, self.network.maps[conv.source]))
        else:
            x = self._tensor(node.source)
        x, zeros = self._times(x, signs), np.zeros((node.channels, 1))
        falling = (signs < 0)[:, np.newaxis, np.newaxis]
        reached = ""
        for row in steps_of(node):
            limit = _of_classes(row, node.classes)
            limit = np.where(falling, 1 - limit, limit)
            part = self._levels(self._call("Sub", x, limit), zeros)
            reached = self._call("Add", reached, part) if reached else part
        shift = self.shifts[node.name]
        return self._plus(
            self._times(reached, np.array([shift.denominator])), np.array([shift.numerator])
        )

    def _levels(self, x: str, rows: NDArray[Any], name: str = "") -> str:
        """How many of ``rows`` (channels, steps) are reached, with the shift of ``name``."""
        shift, steps = self.shifts.get(name, Fraction(0)), rows.shape[1]
        unit, low = shift.denominator, shift.numerator
        high = low + unit * steps
        bits = max(high, -low - 1).bit_length()
        kind = f"UINT{bits}" if low >= 0 else f"INT{bits + 1}"
        return self._call(
            "MultiThreshold",
            x,
            rows,
            domain=DOMAIN,
            name=name,
            out_dtype="BIPOLAR" if (low, high, steps) == (-1, 1, 1) else kind,
            **({"out_scale": float(unit), "out_bias": float(low)} if shift else {}),
        )

    def _slopes(self, node: TwoSlope | DynamicTwoSlope, x: str) -> str:
        above = self._call("Mul", self._call("Relu", x), channels_of(node.positive))
        below = self._call("Relu", self._call("Neg", x))
        return self._call("Sub", above, self._call("Mul", below, channels_of(node.negative)))

    def _dynamic(self, node: DynamicThreshold | DynamicTwoSlope, x: str) -> str:
        channels = self.network.maps[node.source].channels
        parameters = self.tensors[node.parameters]

        def part(first: int, count: int) -> str:
            ends = np.array([first + count])
            return self._call("Slice", parameters, np.array([first]), ends, np.array([1]))

        if isinstance(node, DynamicThreshold):
            one = self.network.maps[node.parameters].channels == 1
            limits = parameters if one else part(node.first, channels)
            scaled = self._call("Mul", x, np.float32(node.scale))
            return self._levels(self._call("Sub", scaled, limits), np.zeros((channels, 1)))
        before, after = part(node.first, channels), part(node.first + channels, channels)
        rounding, bent = node.rounding, self._slopes(node, self._call("Add", x, before))
        total = self._call("Add", self._shifted(bent, rounding), after)
        low, high = (np.float32(end) for end in (rounding.low, rounding.high))
        return self._call("Clip", total, low, high)

    def _pool(self, node: Node, x: str) -> str:
        match node:
            case MaxPool():
                sides = _sides(node)
                if node.inverted is None:
                    return self._call("MaxPool", x, name=node.name, **sides)
                signs = channels_of(np.where(node.inverted, -1, 1))
                largest = self._call("MaxPool", self._call("Mul", x, signs), **sides)
                return self._call("Mul", largest, signs)
            case GlobalSum() | SumPool() if self._is_whole(node):
                return self._call("ReduceSum", x, np.array([2, 3]), keepdims=1)
            case SumPool():
                # Means may be fractions that float32 does not hold; sums are exact.
                channels = self.network.maps[node.name].channels
                ones = np.ones((channels, 1, *(axis.taps for axis in node.axes)))
                return self._call("Conv", x, ones, **_sides(node), group=channels)
            case AveragePool():
                # Means of integers by a power of two are exact.
                means = self._call(
                    "AveragePool", x, kernel_shape=[node.size] * 2, strides=[node.size] * 2
                )
                return self._call("Floor", self._call("Add", means, np.float32(0.5)))
        raise NetworkError(f"{node.name} has no counterpart in ONNX")

    def _is_whole(self, node: GlobalSum | SumPool) -> bool:
        """Whether the whole map is summed up."""
        sides = self.network.maps[node.source].shape[:2]
        return isinstance(node, GlobalSum) or all(
            (axis.taps, axis.before, axis.after) == (side, 0, 0)
            for axis, side in zip(node.axes, sides, strict=True)
        )

    # -- values -------------------------------------------------------------------------------

    def _shifted(self, x: str, rounding: Rounding) -> str:
        if not rounding.shift:
            return x
        half = self._call("Add", x, np.float32(rounding.half))
        return self._call("Floor", self._call("Mul", half, np.float32(2.0**-rounding.shift)))

    def _round(self, x: str, rounding: Rounding) -> str:
        low, high = (np.float32(end) for end in (rounding.low, rounding.high))
        return self._call("Clip", self._shifted(x, rounding), low, high)


def _sides(node: Convolution | Pool) -> dict[str, Any]:
    """Attributes of windows."""
    return {
        "kernel_shape": [axis.taps for axis in node.axes],
        "strides": [axis.stride for axis in node.axes],
        "pads": [*(axis.before for axis in node.axes), *(axis.after for axis in node.axes)],
    }


def _keeps(rounding: Rounding, node: Affine, x: FeatureMap) -> bool:
    """Whether all that a node has before its rounding stays as it is."""
    low, high = node.bounds(x)
    return not rounding.shift and rounding.low <= low.min() and high.max() <= rounding.high


def _of_classes(values: NDArray[np.int64], classes: NDArray[np.int64] | None) -> NDArray[Any]:
    """Values (channels, 1, 1), or (channels, height, width) where they depend on the pixel."""
    if classes is None:
        return channels_of(values)
    return np.moveaxis(values[classes], -1, 0)
