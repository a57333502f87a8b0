"""Lowering of models that are prepared for a grid: the integers of each layer are read off."""

from dataclasses import replace
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
    GlobalSum,
    Head,
    IntegerConv,
    MaxPool,
    Node,
    PadChannels,
    Subsample,
    TwoSlope,
    Upsample,
)
from xnorflow.sw.frontend.pools import max_pool, upsampling
from xnorflow.sw.frontend.trace import results_of
from xnorflow.sw.lowering.dynamic import MOST, hyper_nodes, mean_nodes
from xnorflow.sw.lowering.grid_sums import BinaryTerms, affine, bit_nodes, least_of, read_binary
from xnorflow.sw.lowering.integers import to_integers
from xnorflow.sw.lowering.joins import join_scores
from xnorflow.sw.lowering.names import names_of
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.dynamic import FrameMean
from xnorflow.sw.nn.frame import DySign
from xnorflow.sw.nn.grid import Grid, mean_shift
from xnorflow.sw.nn.grid_convs import GridBinaryConv, GridConv, GridPixelConv, GridPointwise
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
from xnorflow.sw.nn.sums import (
    Folded,
    GridNorm1d,
    GridNorm2d,
    GridScores,
    Round,
    StreamSums,
    Sums,
    VectorSums,
    scale_sums,
)
from xnorflow.sw.nn.windows import windows_of


__all__ = ["GridLowering", "grid_nodes"]


def grid_nodes(model: fx.GraphModule) -> tuple[list[Node], tuple[Head, ...]]:
    """All nodes of a model that `prepare` made, in float64, up to its ``scores``; and its heads.

    Their names are those of the model's modules, with underscores for dots: ``stem_conv``,
    ``stem_norm``, ``blocks_0_conv_bits``, ``blocks_0_conv``, ``blocks_0_norm``, ``blocks_0_add``,
    ``blocks_0_act`` …, ``head_mean_sums``, ``head_mean``, ``head_3``, ``scores``.

    Raises
    ------
    LoweringError
        If a parameter has a value that no network can have.
    """
    lowering = GridLowering(model)
    return lowering.nodes, lowering.heads


class GridLowering(fx.Interpreter):
    """Executes a prepared model on a frame of zeros, and makes nodes of each of its layers.

    Attributes
    ----------
    nodes : list of Node
    maps : dict of str to FeatureMap
        What they deliver.
    at : dict of fx.Node to str
        Which of them has what a node of the model delivers.
    """

    def __init__(self, model: fx.GraphModule) -> None:
        super().__init__(model.eval(), garbage_collect_values=False)
        self.extra_traceback = False
        frame: FeatureMap = model.meta["frame"]
        self.grid: Grid = model.meta["grid"]
        self.nodes: list[Node] = []
        self.maps: dict[str, FeatureMap] = {INPUT: frame}
        self.names = names_of(model)
        self.at: dict[fx.Node, str] = {}
        self.binary: dict[fx.Node, BinaryTerms] = {}
        self.heads: tuple[Head, ...] = ()
        with torch.no_grad():
            self.run(torch.zeros(1, *frame.shape, dtype=torch.float64).movedim(-1, 1))

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
        elif n.target is torch.cat and self.at.keys() & set(n.all_input_nodes):
            self._join(n)
        elif n.op == "output":
            self._finish(results_of(n))
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
                self._add(n, IntegerConv(name, self._source(n), weights, **windows_of(layer)))
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
            case nn.MaxPool2d() if self._pools_bits(n):
                # The bits behind it are pooled.
                self._follow(n)
            case GridDyPReLU():
                self._dynamic_slopes(n, layer)
            case GridSlopes():
                p, m = self._slopes(n, layer)
                rounding = self.grid.rounding(self.grid.slope_fraction)
                self._add(n, TwoSlope(name, self._source(n), p, m, rounding))
            case _:
                self._add(n, self._plain(n, layer, arguments))

    def _plain(self, n: fx.Node, layer: Any, arguments: list[Any]) -> Node:
        """Node of a layer that a single one does."""
        name, source = self.names[n], self._source(n)
        match layer:
            case GridAdd():
                other = self.at[n.args[1]]  # type: ignore[index]
                return Add(name, source, other, self.grid.bits, self.grid.narrow)
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
                pool = max_pool(layer, name, self.maps[source].shape[:2])
                return MaxPool(name, source, pool.size, stride=pool.stride, padding=pool.padding)
            case nn.Upsample():
                return Upsample(
                    name, source, upsampling(layer, name, self.maps[source].shape[:2]).factor
                )
            case _:
                raise TypeError(f"no node is known for a {type(layer).__name__}")

    def _clipped(self, n: fx.Node) -> Node:
        """Node that is clipped to ±1: the one before, if nothing else reads it."""
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
        parts: list[str] = []
        for part in n.args[0]:  # type: ignore[union-attr]
            source = self.at[part]  # type: ignore[index]
            if self.maps[source].type != self.grid.rounding(0).type:
                name = f"{self.names[n]}_wide{len(parts) or ''}"
                source = self._insert(self._shifted(name, source, None))
            parts.append(source)
        self._add(n, Concat.of(self.names[n], parts))

    def _slopes(self, n: fx.Node, layer: GridSlopes) -> list[NDArray[np.int64]]:
        channels = self.maps[self._source(n)].channels
        return [to_integers(codes.expand(channels)) for codes in layer.codes()]

    # -- what makes bits, and sums of them --------------------------------------------------------

    def _convolve(self, n: fx.Node, conv: BinaryConv2d, arguments: list[Any], x: Sums) -> None:
        name, bits = self.names[n], f"{self.names[n]}_bits"
        for each in self._bits(n, bits, conv, arguments):
            self._insert(each)
        codes, terms = read_binary(conv, self.maps[bits])
        carried = x.rho is not None
        windows = windows_of(conv)
        node = BinaryConv(name, bits, codes, **windows, gate=terms.gate, popcount=carried)
        self._add(n, node)
        self.binary[n] = terms

    def layer_of(self, n: fx.Node) -> nn.Module | None:
        """Module that a node calls, if it does."""
        return self.submodules[str(n.target)] if n.op == "call_module" else None

    def _bits(self, n: fx.Node, name: str, conv: BinaryConv2d, arguments: list[Any]) -> list[Node]:
        """Comparison of a stream with the thresholds of what binarises it; the last one's bits."""
        (before, *_) = n.all_input_nodes
        source = self.at[before]
        x, pool = self.maps[source], None
        match self.layer_of(before):
            case DySign():
                parameters = self.at[before.args[1]]  # type: ignore[index]
                return [DynamicThreshold(name, source, parameters)]
            case FrameMean():
                frame = self.names[before]
                means = mean_nodes(frame, source, x, self.grid)
                return [*means, DynamicThreshold(name, source, frame, scale=x.size)]
            case nn.MaxPool2d() as layer if self._pools_bits(before):
                pool = max_pool(layer, name, x.shape[:2])
        bias = arguments[1] if len(arguments) > 1 else None
        return bit_nodes(name, source, conv, x, bias, pool)

    def _pools_bits(self, n: fx.Node) -> bool:
        """Whether the bits behind a pool can be pooled instead, since nothing else reads it."""
        return all(isinstance(self.layer_of(user), GridBinaryConv) for user in n.users)

    def _round(self, n: fx.Node, layer: Round, x: Sums, offset: Tensor | None = None) -> None:
        (sums, *_) = n.all_input_nodes
        folded, binary = layer.fold(x, offset), self.binary.get(sums)
        carried = folded.popcount_scale is not None and not self._dropped(sums, folded)
        rounding = self.grid.rounding(folded.shift)
        integers = affine(self.names[n], self.at[sums], folded, binary, rounding, popcount=carried)
        self._add(n, integers)

    def _dropped(self, sums: fx.Node, folded: Folded) -> bool:
        """Whether the popcount is no longer delivered, because nothing depends on it."""
        assert folded.popcount_scale is not None
        if bool(folded.popcount_scale.any()):
            return False
        while len(sums.users) == 1 and not isinstance(self.layer_of(sums), GridBinaryConv):
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
        signs = [user for user in n.users if isinstance(self.layer_of(user), DySign)]
        convolutions = [user for sign in signs for user in sign.users]
        if len(convolutions) > 1:
            raise LoweringError(f"{n.target} has numbers for several dynamic thresholds")
        for user in convolutions:
            conv = self.layer_of(user)
            assert isinstance(conv, BinaryConv2d)
            if any(conv.activation_quantiser.levels().inverted):
                raise LoweringError(f"{user.target} compares dynamic thresholds inverted")
            bias = self.env[user.args[1]] if len(user.args) > 1 else None  # type: ignore[index]
            least = [max(-MOST, min(value, MOST)) for value in least_of(conv, x, bias)]
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
        (p, m), rounding = self._slopes(n, layer), self.grid.rounding(self.grid.slope_fraction)
        self._add(n, DynamicTwoSlope(name, source, parameters, p, m, rounding, first))

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
        self._add(n, Affine(f"{self.names[n]}_scores", self.names[n], one, to_integers(o)))

    def _finish(self, results: dict[str, fx.Node]) -> None:
        """Scores of all outputs behind each other."""
        ends = [self.at[n] for n in results.values()]
        affines = {node.name: node for node in self.nodes if isinstance(node, Affine)}
        last = [affines[name] for name in ends]
        self.nodes = [node for node in self.nodes if node.name not in ends]
        for node in join_scores(last, [self.maps[node.source] for node in last]):
            self._insert(node)
        if len(last) > 1:
            sizes = (node.scale.size for node in last)
            self.heads = tuple(Head(*each) for each in zip(results, sizes, strict=True))

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
