"""Lowering of models that are prepared for a grid: each layer's integers are read off, one to one.

With u and v the bits of activation and weight over the N taps of a window, V = Σv, and Nc, Vc and
Wc = 2Vc − Nc over the taps inside the frame, what a model on its grid sums up is

- ``s = 2M + 2V − 2N − Wc`` and ``p = 2P − Nc`` for weights ±1, the xnor gate;
- ``s = 2A − Vc`` for weights 0 and 1, the and gate.
"""

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from xnorflow.errors import LoweringError
from xnorflow.ir import (
    INPUT,
    Add,
    Affine,
    AveragePool,
    BinaryConv,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Gate,
    GlobalSum,
    HalvingMaxPool,
    Int,
    IntegerConv,
    Node,
    PadChannels,
    Subsample,
    Threshold,
    TwoSlope,
)
from xnorflow.sw.exact import to_integers
from xnorflow.sw.lowering.borders import Borders, find_borders, merge_classes
from xnorflow.sw.lowering.dynamic import MOST, hyper_nodes, mean_nodes
from xnorflow.sw.nn.conv import BinaryConv2d, Border
from xnorflow.sw.nn.dynamic import FrameMean
from xnorflow.sw.nn.frame import DySign
from xnorflow.sw.nn.grid import Grid, mean_shift
from xnorflow.sw.nn.grid_layers import (
    Constant,
    GridAdd,
    GridAverage,
    GridDyPReLU,
    GridHardtanh,
    GridHyper,
    GridShift,
    GridSlopes,
)
from xnorflow.sw.nn.shortcuts import PadChannels as Pad
from xnorflow.sw.nn.shortcuts import RepeatChannels
from xnorflow.sw.nn.shortcuts import Subsample as Skip
from xnorflow.sw.nn.siman import SiManForm, SiManWeight
from xnorflow.sw.nn.sums import (
    Folded,
    GridBinaryConv,
    GridConv,
    GridNorm1d,
    GridNorm2d,
    GridPixelConv,
    GridPointwise,
    GridScores,
    Round,
    StreamSums,
    Sums,
    VectorSums,
    scale_sums,
)


__all__ = ["grid_nodes"]

_MOST_NAME = 48
_NAMELESS = Constant, DySign, GridNorm1d, GridNorm2d, StreamSums
"""Layers of which no node is made."""


def grid_nodes(model: fx.GraphModule) -> list[Node]:
    """All nodes of a model that `prepare` made, in float64, but the last; they end with ``scores``.

    Their names are those of the model's modules, with underscores for dots: ``stem_conv``,
    ``stem_norm``, ``blocks_0_conv_bits``, ``blocks_0_conv``, ``blocks_0_norm``, ``blocks_0_add``,
    ``blocks_0_act`` …, ``head_mean_sums``, ``head_mean``, ``head_3``, ``scores``.

    Raises
    ------
    LoweringError
        If a parameter has a value that no network can have.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is None:
            raise LoweringError(
                f"{name} has no running statistics: make it with track_running_stats=True"
            )
    frame, grid = model.meta["frame"], model.meta["grid"]
    lowering = _Lowering(model.eval(), grid, frame)
    x = torch.zeros(1, *frame.shape, dtype=torch.float64).permute(0, 3, 1, 2)
    with torch.no_grad():
        lowering.run(x)
    return lowering.nodes


@dataclass(frozen=True, eq=False)
class _Binary:
    """What a binary convolution adds to its sums beside the counts of its node.

    Attributes
    ----------
    gate : Gate
    taps, ones : int array, (border classes,) and (border classes, filters)
        Taps inside the frame, and ones of the weights there.
    excess : int array, (filters,)
        2V − 2N.
    classes : int array, (height, width)
    """

    gate: Gate
    taps: NDArray[np.int64]
    ones: NDArray[np.int64]
    excess: NDArray[np.int64]
    classes: NDArray[np.int64]


class _Lowering(fx.Interpreter):
    """Executes a prepared model on a frame of zeros, and makes nodes of each of its layers."""

    def __init__(self, model: fx.GraphModule, grid: Grid, frame: FeatureMap) -> None:
        super().__init__(model, garbage_collect_values=False)
        self.grid = grid
        self.nodes: list[Node] = []
        self.maps: dict[str, FeatureMap] = {INPUT: frame}
        self.names = _names(model)
        self.at: dict[fx.Node, str] = {}
        self.binary: dict[fx.Node, _Binary] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Result of a node, whose integers are read."""
        result = super().run_node(n)
        if n.op == "placeholder":
            self.at[n] = INPUT
        elif n.op == "call_module":
            arguments, _ = self.fetch_args_kwargs_from_env(n)
            self._layer(n, self.submodules[str(n.target)], list(arguments), result)
        elif n.target is scale_sums:
            self._follow(n)
        elif n.target is torch.cat and n.args[0][0] in self.at:  # type: ignore[index]
            self._join(n)
        return result

    # -- layers -----------------------------------------------------------------------------------

    def _layer(self, n: fx.Node, layer: Any, arguments: list[Any], result: Any) -> None:
        name = self.names.get(n, "")
        match layer:
            case Constant():
                pass
            case GridBinaryConv():
                self._convolve(n, layer, arguments, result)
            case GridPixelConv() | GridConv() | GridPointwise():
                weights = to_integers(layer.encode()[0]).transpose(0, 2, 3, 1)
                windows = _one(layer.stride), _one(layer.padding)
                self._add(n, IntegerConv(name, self._source(n), weights, *windows))
            case GridNorm1d() | GridNorm2d() | StreamSums():
                self._follow(n)
            case Round():
                self._round(n, layer, *arguments)
            case VectorSums():
                self._vector(n, layer, arguments[0])
            case GridScores():
                self._scores(n, layer, arguments[0])
            case GridHyper():
                self._hyper(n, layer, arguments)
            case DySign() | FrameMean():
                self._follow(n)
            case GridDyPReLU():
                self._dynamic_slopes(n, layer)
            case GridSlopes():
                slopes = self._slopes(n, layer)
                rounding = self.grid.rounding(self.grid.slope_fraction)
                self._add(n, TwoSlope(name, self._source(n), *slopes, rounding))
            case _:
                self._add(n, self._plain(n, layer, arguments))

    def _plain(self, n: fx.Node, layer: Any, arguments: list[Any]) -> Node:
        """Node of a layer that a single one does."""
        name, source = self.names[n], self._source(n)
        match layer:
            case GridAdd():
                other = self.at[n.args[1]]  # type: ignore[index]
                return Add(name, source, other, self.grid.bits)
            case GridHardtanh():
                return self._clipped(n)
            case GridShift():
                return self._shifted(name, source, to_integers(layer.codes(arguments[1])))
            case GridAverage():
                return AveragePool(name, source, layer.size)
            case Skip():
                return Subsample(name, source, layer.stride)
            case Pad():
                return PadChannels(name, source, layer.before, layer.after)
            case RepeatChannels():
                return Concat(name, source, source)
            case nn.MaxPool2d():
                return HalvingMaxPool(name, source)
            case _:
                raise TypeError(f"no node is known for a {type(layer).__name__}")

    def _clipped(self, n: fx.Node) -> Node:
        """What is clipped to ±1: the node before, if nothing else reads it."""
        (source,), narrow = n.all_input_nodes, self.grid.within_one()
        before = self.nodes[-1]
        if len(source.users) == 1 and before.name == self.at[source]:
            if isinstance(before, Add):
                self._drop()
                return replace(before, bits=narrow.bits)
            if isinstance(before, Affine | TwoSlope) and before.rounding is not None:
                self._drop()
                return replace(before, rounding=narrow.rounding(before.rounding.shift))
        return self._shifted(self.names[n], self.at[source], None, narrow)

    def _shifted(
        self,
        name: str,
        source: str,
        offset: NDArray[np.int64] | None,
        grid: Grid | None = None,
    ) -> Affine:
        """A shift, and a clip."""
        one = np.ones(self.maps[source].channels, np.int64)
        offset = 0 * one if offset is None else offset
        return Affine(name, source, one, offset, rounding=(grid or self.grid).rounding(0))

    def _join(self, n: fx.Node) -> None:
        parts = []
        for part in n.args[0]:  # type: ignore[union-attr]
            source = self.at[part]  # type: ignore[index]
            if self.maps[source].type != self.grid.rounding(0).type:
                source = self._insert(self._shifted(f"{self.names[n]}_wide", source, None))
            parts.append(source)
        self._add(n, Concat(self.names[n], *parts))

    def _slopes(self, n: fx.Node, layer: GridSlopes) -> list[NDArray[np.int64]]:
        channels = self.maps[self._source(n)].channels
        return [to_integers(codes.expand(channels)) for codes in layer.codes()]

    # -- what makes bits, and sums of them --------------------------------------------------------

    def _convolve(self, n: fx.Node, conv: BinaryConv2d, arguments: list[Any], result: Sums) -> None:
        name, bits_name = self.names[n], f"{self.names[n]}_bits"
        self._insert(self._bits(n, bits_name, conv, arguments))
        code, _, _ = conv.weight_quantiser.split(conv.weight.flatten(1))
        bits = (code > 0).numpy().reshape(conv.weight.shape).transpose(0, 2, 3, 1)
        quantiser = conv.weight_quantiser
        half = isinstance(quantiser, SiManWeight) and quantiser.form is SiManForm.HALF
        gate = Gate.AND if half else Gate.XNOR
        carried = result.rho is not None
        node = BinaryConv(name, bits_name, bits, gate, carried, conv.stride, conv.padding)
        self._add(n, node)
        x = self.maps[bits_name]
        kernel = bits.shape[1], bits.shape[2]
        if conv.border is Border.LOWER:
            classes = np.zeros((self.maps[name].height, self.maps[name].width), np.int64)
            borders = Borders(classes, np.ones((1, *kernel), np.bool_))
        else:
            windows = {"stride": conv.stride, "padding": conv.padding}
            borders = find_borders((x.height, x.width), kernel, **windows)
        taps, ones = borders.count(bits)
        excess = 2 * (bits.sum(axis=(1, 2, 3)) - bits[0].size)
        self.binary[n] = _Binary(gate, taps, ones, excess, borders.classes)

    def _module(self, n: fx.Node) -> nn.Module | None:
        return self.submodules[str(n.target)] if n.op == "call_module" else None

    def _bits(self, n: fx.Node, name: str, conv: BinaryConv2d, arguments: list[Any]) -> Node:
        """Comparison of a stream with the thresholds of what binarises it."""
        (before, *_) = n.all_input_nodes
        source = self.at[before]
        match self._module(before):
            case DySign():
                parameters = self.at[before.args[1]]  # type: ignore[index]
                return DynamicThreshold(name, source, parameters)
            case FrameMean():
                x = self.maps[source]
                frame = f"{self.names[before]}"
                for node in mean_nodes(frame, source, x, self.grid):
                    self._insert(node)
                return DynamicThreshold(name, source, frame, scale=x.size)
        x = self.maps[source]
        least = _least(conv, x, arguments[1] if len(arguments) > 1 else None)
        inverted = np.array(conv.activation_quantiser.levels().of(len(least)).inverted)
        ends = x.type.low, x.type.high + 1
        return Threshold(
            name,
            source,
            thresholds=np.clip(np.array(least, np.object_), *ends).astype(np.int64),
            inverted=inverted if inverted.any() else None,
        )

    def _round(self, n: fx.Node, layer: Round, x: Sums, offset: Tensor | None = None) -> None:
        (sums, *_) = n.all_input_nodes
        folded = layer.fold(x, offset)
        scale, constant = to_integers(folded.scale), to_integers(folded.offset)
        popcount_scale, source = None, self.at[sums]
        if sums in self.binary:
            binary = self.binary[sums]
            if binary.gate is Gate.AND:
                corrections = -scale * binary.ones
            else:
                signs = 2 * binary.ones - binary.taps[:, np.newaxis]
                corrections = scale * (binary.excess - signs)
            if folded.popcount_scale is not None and not self._dropped(sums, folded):
                popcount_scale = 2 * to_integers(folded.popcount_scale)
                corrections = corrections - popcount_scale // 2 * binary.taps[:, np.newaxis]
            scale = 2 * scale
            # (filters, height, width), of the whole map
            constant = constant + corrections[binary.classes].transpose(2, 0, 1)
        filters, height, width = constant.shape
        pixels = np.arange(height * width).reshape(height, width)
        classes, offsets = merge_classes(pixels, constant.reshape(filters, -1).T)
        several = len(offsets) > 1
        self._add(
            n,
            Affine(
                self.names[n],
                source,
                scale,
                offsets if several else offsets[0],
                popcount_scale,
                classes if several else None,
                self.grid.rounding(folded.shift),
            ),
        )

    def _dropped(self, sums: fx.Node, folded: Folded) -> bool:
        """Whether the popcount is no longer delivered, because nothing depends on it."""
        assert folded.popcount_scale is not None
        if bool(folded.popcount_scale.any()):
            return False
        while len(sums.users) == 1 and not isinstance(self._module(sums), GridBinaryConv):
            (sums,) = (each for each in sums.all_input_nodes if each in self.binary)
        if len(sums.users) > 1:
            return False
        name = self.at[sums]
        position = next(k for k, node in enumerate(self.nodes) if node.name == name)
        conv = self.nodes[position]
        assert isinstance(conv, BinaryConv)
        self.nodes[position] = conv = replace(conv, popcount=False)
        self.maps[name] = conv.infer(self.maps[conv.source])
        return True

    # -- what follows from the frame --------------------------------------------------------------

    def _hyper(self, n: fx.Node, hyper: GridHyper, arguments: list[Any]) -> None:
        """A hyper function; the static thresholds of whatever it is for are among its numbers."""
        source = self._source(n)
        x = self.maps[source]
        static = np.zeros(hyper.excite.out_features, np.int64)
        signs = [user for user in n.users if isinstance(self._module(user), DySign)]
        convolutions = [user for sign in signs for user in sign.users]
        if len(convolutions) > 1:
            raise LoweringError(f"{n.target} has numbers for several thresholds of the frame")
        for user in convolutions:
            conv = self._module(user)
            assert isinstance(conv, BinaryConv2d)
            if any(conv.activation_quantiser.levels().inverted):
                raise LoweringError(f"{user.target} compares thresholds of the frame inverted")
            bias = self.env[user.args[1]] if len(user.args) > 1 else None  # type: ignore[index]
            least = [max(-MOST, min(value, MOST)) for value in _least(conv, x, bias)]
            static[: len(least)] = least
        bias = arguments[1] if len(arguments) > 1 else None
        for node in hyper_nodes(self.names[n], hyper, source, x, static, self.grid, bias):
            self._insert(node)
        self.at[n] = self.names[n]

    def _dynamic_slopes(self, n: fx.Node, layer: GridDyPReLU) -> None:
        name, source = self.names[n], self._source(n)
        x, first = self.maps[source], 0
        if layer.hyper is None:
            parameters = self.at[n.args[1]]  # type: ignore[index]
            first = self.maps[parameters].channels - 2 * x.channels
        else:
            parameters, static = f"{name}_shifts", np.zeros(2 * x.channels, np.int64)
            for node in hyper_nodes(parameters, layer.hyper, source, x, static, self.grid):
                self._insert(node)
        slopes, rounding = self._slopes(n, layer), self.grid.rounding(self.grid.slope_fraction)
        self._add(n, DynamicTwoSlope(name, source, parameters, *slopes, rounding, first))

    # -- the end ----------------------------------------------------------------------------------

    def _vector(self, n: fx.Node, layer: VectorSums, x: Tensor) -> None:
        if not layer.average:
            self._follow(n)
            return
        name = self.names[n]
        sums = self._insert(GlobalSum(f"{name}_sums", self._source(n)))
        one = np.ones(x.shape[1], np.int64)
        rounding = self.grid.rounding(mean_shift(x.shape[2] * x.shape[3]))
        self._add(n, Affine(name, sums, one, 0 * one, rounding=rounding))

    def _scores(self, n: fx.Node, layer: GridScores, x: Sums) -> None:
        q, o, _ = layer.fold(x)
        source = self._source(n)
        map_ = self.maps[source]
        shape = len(q), map_.channels, map_.height, map_.width
        weights = to_integers(q).reshape(shape).transpose(0, 2, 3, 1)
        self._insert(IntegerConv(self.names[n], source, weights))
        one = np.ones(len(q), np.int64)
        self._add(n, Affine("scores", self.names[n], one, to_integers(o)))

    # -- nodes ------------------------------------------------------------------------------------

    def _source(self, n: fx.Node) -> str:
        """The node that feeds what is made of ``n``."""
        return self.at[n.args[0]]  # type: ignore[index]

    def _follow(self, n: fx.Node) -> None:
        """Let ``n`` stand for the node of its source."""
        source: Any = n.args[0]
        self.at[n] = self.at[source]
        if source in self.binary:
            self.binary[n] = self.binary[source]

    def _insert(self, node: Node) -> str:
        self.nodes.append(node)
        self.maps[node.name] = node.infer(*(self.maps[each] for each in node.sources))
        return node.name

    def _add(self, n: fx.Node, node: Node) -> None:
        self.at[n] = self._insert(node)

    def _drop(self) -> None:
        del self.maps[self.nodes.pop().name]


def _least(conv: BinaryConv2d, x: FeatureMap, bias: Tensor | None) -> list[int]:
    """Least value of each channel that makes a bit 1, or 0 where the comparison is inverted."""
    fraction = x.type.fraction if isinstance(x.type, Int) else 0
    levels = conv.activation_quantiser.levels().of(x.channels)
    biases = [0.0] * x.channels if bias is None else bias.tolist()
    exact = [
        (threshold - Fraction(each)) * (1 << fraction)
        for threshold, each in zip(levels.thresholds, biases, strict=True)
    ]
    # For integers, x ≤ t is the opposite of x ≥ floor(t) + 1.
    return [
        math.floor(t) + 1 if inverted else math.ceil(t)
        for t, inverted in zip(exact, levels.inverted, strict=True)
    ]


def _names(model: fx.GraphModule) -> dict[fx.Node, str]:
    """Names of a network's nodes; that of a `Round` is that of the batch norm before it."""
    modules = dict(model.named_modules())
    names: dict[fx.Node, str] = {}
    used = {INPUT, "scores", "label"}
    for n in model.graph.nodes:
        module = modules.get(str(n.target)) if n.op == "call_module" else None
        if isinstance(module, _NAMELESS) or (module is None and n.target is not torch.cat):
            continue
        path = n.name if module is None else str(n.target)
        name = _name(path.removesuffix("_round"))
        if name in used:
            name = _name(path)
        number, base = 1, name
        while name in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        names[n] = name
    return names


def _name(path: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "_", path.lower())[-_MOST_NAME:].strip("_")
    return text if re.match(r"[a-z]", text) else f"layer_{text}"


def _one(value: Any) -> int:
    return value if isinstance(value, int) else int(value[0])
