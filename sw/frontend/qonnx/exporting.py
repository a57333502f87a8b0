"""Integer networks as ONNX files with QONNX's operators, for FINN and for qonnx's executor.

All values are integers in float32, which holds them exactly up to 2²⁴; a network that needs more is
refused. Convolutions of bits become those of 0 and 1 with the weights 2v − 1, plus a constant.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import NetworkError, ToolError
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
    Gate,
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


__all__ = ["export_qonnx"]

_DOMAIN: Final = "qonnx.custom_op.general"
_OPSET: Final = 13
_EXACT: Final = 1 << 24
"""Integers up to here are exact in float32."""


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
        try:
            import onnx
        except ImportError:
            raise ToolError(
                "ONNX files need the package onnx: pip install 'xnorflow[qonnx]'"
            ) from None
        self.onnx: Any = onnx
        self.network = network
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.tensors = {INPUT: INPUT}
        self.popcounts: dict[str, str] = {}
        for node in network.nodes:
            self._check(node)
            self.tensors[node.name] = self._node(node, self.tensors[node.source])

    def model(self) -> Any:
        """The whole model."""
        helper, kind = self.onnx.helper, self.onnx.TensorProto
        frame, last = self.network.input, self.network.nodes[-1]
        shape = [1, frame.channels, frame.height, frame.width]
        scores = last.source if isinstance(last, ArgMax) else last.name
        classes = self.network.maps[scores].channels
        outputs = [
            helper.make_tensor_value_info(self.tensors[scores], kind.FLOAT, [1, classes, 1, 1])
        ]
        if isinstance(last, ArgMax):
            label = self.tensors[last.name]
            outputs.append(helper.make_tensor_value_info(label, kind.INT64, [1, 1, 1, 1]))
        graph = helper.make_graph(
            self.nodes,
            self.network.name,
            [helper.make_tensor_value_info(INPUT, kind.FLOAT, shape)],
            outputs,
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, producer_name="xnorflow")

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
        if reach > _EXACT:
            raise NetworkError(f"{node.name} has values that float32 does not hold exactly")

    def _node(self, node: Node, x: str) -> str:
        name = node.name
        match node:
            case BinaryConv() | IntegerConv():
                return self._convolution(node, x)
            case Threshold():
                sums = self._with_popcount(node, x, node.popcount_weights, 1 << node.fraction)
                limits = _of_classes(node.thresholds, node.classes)
                return self._steps(name, sums, [limits], node.inverted)
            case MultiThreshold():
                limits_of = [_of_classes(row, node.classes) for row in node.thresholds]
                return self._steps(name, x, limits_of, node.inverted)
            case Affine():
                products = self._with_popcount(node, x, node.popcount_scale, node.scale)
                total = self._call("Add", products, _of_classes(node.offset, node.classes))
                return total if node.rounding is None else self._round(total, node.rounding)
            case TwoSlope():
                return self._round(self._slopes(node, x), node.rounding)
            case DynamicThreshold() | DynamicTwoSlope():
                return self._dynamic(node, x)
            case Add():
                total = self._call("Add", x, self.tensors[node.other])
                return self._round(total, node.rounding)
            case Concat():
                return self._call("Concat", *(self.tensors[each] for each in node.sources), axis=1)
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
                return self._call("Cast", self._steps(name, x, [np.zeros((1, 1, 1))], None), to=7)
            case ArgMax():
                return self._call("ArgMax", x, axis=1, keepdims=1)
        return self._pool(node, x)

    # -- layers -------------------------------------------------------------------------------

    def _convolution(self, node: BinaryConv | IntegerConv, x: str) -> str:
        windows: dict[str, Any] = {
            **_sides(node),
            "dilations": [axis.dilation for axis in node.axes],
            "group": node.groups,
        }
        weights = node.weights.astype(np.int64)
        constant = np.zeros(node.filters, np.int64)
        if isinstance(node, BinaryConv) and node.gate is Gate.XNOR:
            counted = np.ones_like(weights) if node.mask is None else node.mask.astype(np.int64)
            constant = (2**node.bits - 1) * (counted - weights).sum(axis=(1, 2, 3))
            weights = 2 * weights - counted
        if isinstance(node, BinaryConv) and node.popcount:
            ones = np.ones_like(weights[:1])
            self.popcounts[node.name] = self._call("Conv", x, _kernel(ones), **windows)
        sums = self._call("Conv", x, _kernel(weights), **windows)
        return self._call("Add", sums, _channels(constant)) if constant.any() else sums

    def _with_popcount(
        self,
        node: Threshold | Affine,
        x: str,
        weights: NDArray[np.int64] | None,
        factor: int | NDArray[np.int64],
    ) -> str:
        scaled = self._call("Mul", x, _channels(np.atleast_1d(factor)))
        if weights is None:
            return scaled
        term = self._call("Mul", self.popcounts[node.source], _channels(weights))
        return self._call("Add", scaled, term)

    def _steps(
        self, name: str, x: str, limits: list[NDArray[Any]], inverted: NDArray[np.bool_] | None
    ) -> str:
        """How many of the ``limits``, (channels, rows or 1, columns or 1) each, are reached."""
        channels = limits[0].shape[0]
        if inverted is not None and inverted.any():
            # Of integers, x < t is −x ≥ 1 − t.
            x = self._call("Mul", x, _channels(np.where(inverted, -1, 1)))
            flipped = inverted[:, None, None]
            limits = [
                np.where(flipped, 1 - other, limit)
                for limit, other in zip(limits, reversed(limits), strict=True)
            ]
        if all(limit.shape[1:] == (1, 1) for limit in limits):
            rows = np.stack([limit[:, 0, 0] for limit in limits], axis=1)
            return self._thresholds(x, rows, name)
        zeros = np.zeros((channels, 1))
        parts = [self._thresholds(self._call("Sub", x, limit), zeros) for limit in limits]
        reached = parts[0]
        for part in parts[1:]:
            reached = self._call("Add", reached, part)
        return reached

    def _thresholds(self, x: str, rows: NDArray[Any], name: str = "") -> str:
        kind = f"UINT{rows.shape[1].bit_length()}"
        return self._call("MultiThreshold", x, rows, domain=_DOMAIN, name=name, out_dtype=kind)

    def _slopes(self, node: TwoSlope | DynamicTwoSlope, x: str) -> str:
        above = self._call("Mul", self._call("Relu", x), _channels(node.positive))
        below = self._call("Relu", self._call("Neg", x))
        return self._call("Sub", above, self._call("Mul", below, _channels(node.negative)))

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
            zeros = np.zeros((channels, 1))
            return self._thresholds(self._call("Sub", scaled, limits), zeros)
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
                    return self._call("MaxPool", x, **sides)
                signs = _channels(np.where(node.inverted, -1, 1))
                largest = self._call("MaxPool", self._call("Mul", x, signs), **sides)
                return self._call("Mul", largest, signs)
            case SumPool():
                # Means may be fractions that float32 does not hold; sums are exact.
                channels = self.network.maps[node.name].channels
                ones = np.ones((channels, 1, *(axis.taps for axis in node.axes)))
                return self._call("Conv", x, ones, **_sides(node), group=channels)
            case GlobalSum():
                return self._call("ReduceSum", x, np.array([2, 3]), keepdims=1)
            case AveragePool():
                # Means of integers by a power of two are exact.
                means = self._call(
                    "AveragePool", x, kernel_shape=[node.size] * 2, strides=[node.size] * 2
                )
                return self._call("Floor", self._call("Add", means, np.float32(0.5)))
        raise NetworkError(f"{node.name} has no counterpart in ONNX")

    # -- values -------------------------------------------------------------------------------

    def _shifted(self, x: str, rounding: Rounding) -> str:
        if not rounding.shift:
            return x
        half = self._call("Add", x, np.float32(rounding.half))
        return self._call("Floor", self._call("Mul", half, np.float32(2.0**-rounding.shift)))

    def _round(self, x: str, rounding: Rounding) -> str:
        low, high = (np.float32(end) for end in (rounding.low, rounding.high))
        return self._call("Clip", self._shifted(x, rounding), low, high)

    def _call(
        self, op: str, *inputs: Any, domain: str = "", name: str = "", **attributes: Any
    ) -> str:
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        result = f"t{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(
                op, names, [result], name or f"{op}_{len(self.nodes)}", domain=domain, **attributes
            )
        )
        return result

    def _constant(self, value: Any) -> str:
        array = np.asarray(value)
        if array.dtype.kind == "f" or array.ndim > 1:
            if np.abs(array).max(initial=0) > _EXACT:
                raise NetworkError("the network has constants that float32 does not hold exactly")
            array = array.astype(np.float32)
        name = f"c{len(self.constants)}"
        self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name


def _sides(node: Convolution | Pool) -> dict[str, Any]:
    """Attributes of windows."""
    return {
        "kernel_shape": [axis.taps for axis in node.axes],
        "strides": [axis.stride for axis in node.axes],
        "pads": [*(axis.before for axis in node.axes), *(axis.after for axis in node.axes)],
    }


def _kernel(weights: NDArray[np.int64]) -> NDArray[np.float32]:
    return weights.transpose(0, 3, 1, 2).astype(np.float32)


def _channels(values: NDArray[Any]) -> NDArray[np.float32]:
    """Values (channels,) for maps (1, channels, height, width)."""
    return values.reshape(-1, 1, 1).astype(np.float32)


def _of_classes(
    values: NDArray[np.int64], classes: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    """Values (channels, 1, 1), or (channels, height, width) where they depend on the pixel."""
    if classes is None:
        return _channels(values)
    return np.moveaxis(values[classes], -1, 0).astype(np.float32)
