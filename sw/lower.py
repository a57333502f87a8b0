"""Lowering: a trained model → the network of integers that computes the same."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    Gate,
    IntegerConv,
    MaxPool,
    Network,
    Node,
    Provenance,
    Quantisation,
    Threshold,
    UInt,
)
from xnorflow.sw.exact import ExactLayer, Layer, read
from xnorflow.sw.frontend.prepare import is_prepared
from xnorflow.sw.frontend.reader import graph_of
from xnorflow.sw.lower_residual import residual_nodes
from xnorflow.sw.lowering.borders import merge_classes
from xnorflow.sw.lowering.exact import exact_nodes
from xnorflow.sw.lowering.grid import grid_nodes
from xnorflow.sw.models.chain import Chain
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.quantiser import ActivationLevels
from xnorflow.sw.residual import Residual
from xnorflow.sw.thresholds import Rule, decide, is_falling, read_rules


__all__ = ["lower"]

_PIXEL = UInt(8)

# Scores of a model on its grid have far fewer steps to a unit; off it, they have 2^40 and more.
_FINEST_SCORE = 1 << 16


def lower(
    model: nn.Module,
    *,
    input: FeatureMap | None = None,
    quantisation: Quantisation | None = None,
    name: str = "network",
    labels: tuple[str, ...] | None = None,
    provenance: Provenance | None = None,
) -> Network:
    """Turn a trained model into the network of integers that computes the same.

    Parameters
    ----------
    model : Module
        It is read in float64 and evaluation mode, and not changed. It takes batches (N, channels,
        height, width) of values, and returns the scores of each class, (N, classes).
    input : FeatureMap
        Shape and type of a frame of integers, as in ``FeatureMap(28, 28, 1, UInt(8))``. A model
        that was prepared for a grid has its own, and so have `Chain` and `Residual`.
    quantisation : Quantisation, optional
        What the integers stand for; otherwise themselves.
    name : str
        Name of the network.
    labels : sequence of str, optional
        Names of the classes, otherwise their numbers. Of a single score they are two, the second
        one for scores of at least 0. With ``()`` the network ends with its scores.
    provenance : Provenance, optional
        Where the model came from.

    Returns
    -------
    Network
        Of a chain: ``input_bits`` → ``conv1`` → ``act1`` → ``pool1`` → … → ``fcN`` → ``scores`` →
        ``label``, without ``input_bits`` where conv1 has integer weights. Of a residual model: see
        `xnorflow.sw.lower_residual`. Scores are logits times a positive number, the same for all
        classes and frames.

    Raises
    ------
    LoweringError
        If the model is not on a grid where it needs one, or if a layer or a parameter has a value
        or a form that no network can have.
    """
    model = copy.deepcopy(model).double().eval()
    for what, tensor in model.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise LoweringError(f"{what} has values that are not finite")
    if isinstance(model, Chain | Residual):
        frame = FeatureMap(*model.config.input_shape, _PIXEL)
    elif is_prepared(model):
        frame = model.meta["frame"]
        if quantisation not in (None, Quantisation()):
            raise LoweringError("a model on a fixed-point grid takes integers as they are")
    elif input is None:
        raise LoweringError("lower must be told what a frame is: input=FeatureMap(…)")
    else:
        frame = input
    try:
        match model:
            case Chain():
                nodes = _nodes(model, frame)
            case Residual():
                nodes = residual_nodes(model, frame)
            case fx.GraphModule() if is_prepared(model):
                nodes = grid_nodes(model)
            case _:
                exact = quantisation or Quantisation()
                nodes = exact_nodes(graph_of(model, frame), frame, exact)
        affine = nodes[-1]
        assert isinstance(affine, Affine)
        return Network(
            name=name,
            input=frame,
            nodes=tuple(nodes) if labels == () else (*nodes, ArgMax("label", "scores")),
            labels=tuple(map(str, range(max(2, affine.scale.size))) if labels is None else labels),
            provenance=provenance or Provenance(),
            quantisation=None if isinstance(model, Chain | Residual) else quantisation,
        )
    except NetworkError as error:
        hint = "" if isinstance(model, Chain) else "; a grid of fewer bits may help"
        raise LoweringError(f"no network can hold this model: {error}{hint}") from None


ChainNode = Threshold | BinaryConv | IntegerConv | MaxPool | Affine
"""What a chain consists of, but for its last node."""


# -- layers ---------------------------------------------------------------------------------------


def _nodes(model: Chain, frame: FeatureMap) -> list[Node]:
    """All nodes but the last."""
    layers = _layers(model)
    pools = [convolution.pool for convolution in model.config.convolutions]
    nodes: list[Node] = []
    x = frame

    def add(*added: ChainNode) -> None:
        nonlocal x
        for node in added:
            nodes.append(node)
            x = node.infer(x)

    def source() -> str:
        return nodes[-1].name if nodes else INPUT

    name, layer = layers[0]
    if not isinstance(layer, IntegerConv2d):
        add(_input_bits(name, _levels(layer), frame.channels))
    for n, (name, layer) in enumerate(layers[:-1]):
        exact = read(name, layer, source(), x)
        rules = read_rules(exact, model.norms[n], _levels(layers[n + 1][1]))
        add(*_hidden(exact, rules, f"act{n + 1}"))
        if n < len(pools) and pools[n] > 1:
            add(_pool(f"pool{n + 1}", source(), pools[n], rules))
    name, layer = layers[-1]
    add(*_scores(read(name, layer, source(), x)))
    return nodes


def _layers(model: Chain) -> list[tuple[str, Layer]]:
    """The layers with their names, each of a kind that can be lowered where it is."""
    layers: list[tuple[str, Layer]] = []
    convolutions = len(model.config.convolutions)
    for n, layer in enumerate(model.layers):
        first, last = n == 0, n == len(model.layers) - 1
        kinds: tuple[type[Layer], ...]
        if n < convolutions:
            name = f"conv{n + 1}"
            kinds = (BinaryConv2d, IntegerConv2d) if first else (BinaryConv2d,)
        else:
            name = f"fc{n + 1 - convolutions}"
            kinds = (BinaryLinear, IntegerLinear) if last else (BinaryLinear,)
        if not isinstance(layer, kinds):
            accepted = " or ".join(kind.__name__ for kind in kinds)
            raise LoweringError(f"{name} must be a {accepted}, not a {type(layer).__name__}")
        layers.append((name, layer))
    return layers


def _levels(layer: Layer) -> ActivationLevels:
    """How a layer after the first binarises its input."""
    if isinstance(layer, IntegerConv2d):
        raise TypeError("only the first layer takes pixels")
    return layer.activation_quantiser.levels()


def _input_bits(name: str, levels: ActivationLevels, channels: int) -> Threshold:
    """The pixels' comparison with the threshold of the first layer."""
    if len(levels.thresholds) != 1:
        raise LoweringError(f"{name} must have one threshold for all pixels")
    (threshold,), (inverted,) = levels.thresholds, levels.inverted
    # For integers, x ≤ t is the opposite of x ≥ floor(t) + 1.
    least = math.floor(threshold) + 1 if inverted else math.ceil(threshold)
    return Threshold(
        "input_bits",
        INPUT,
        thresholds=np.full(channels, min(max(least, _PIXEL.low), _PIXEL.high + 1), np.int64),
        inverted=np.ones(channels, np.bool_) if inverted else None,
    )


def _hidden(layer: ExactLayer, rules: Sequence[Rule], name: str) -> tuple[ChainNode, Threshold]:
    """A layer, and the threshold ``name`` that turns what it delivers into bits by ``rules``."""
    falling = np.array([is_falling(layer, rule) for rule in rules], np.bool_)
    thresholds = np.array(
        [
            [decide(layer, border, k, rule) for k, rule in enumerate(rules)]
            for border in range(len(layer.offsets))
        ],
        np.int64,
    )
    node, popcount_weights, inverted = layer.node, None, None
    if isinstance(node, IntegerConv):
        node = replace(node, weights=np.where(falling[:, None, None, None], -1, 1) * node.weights)
    elif node.gate is Gate.XNOR:
        # Complementing a filter turns M into N − M, and ρ into −ρ.
        node = replace(node, weights=node.weights ^ falling[:, None, None, None])
        if node.popcount:
            popcount_weights = np.array(layer.centres, np.int64) * np.where(falling, -1, 1)
    elif falling.any():
        # N − A ≥ t is the opposite of A ≥ N + 1 − t.
        thresholds = np.where(falling, node.taps + 1 - thresholds, thresholds)
        inverted = falling
    classes, thresholds = merge_classes(layer.classes, thresholds)
    several = len(thresholds) > 1
    return node, Threshold(
        name,
        node.name,
        thresholds if several else thresholds[0],
        popcount_weights,
        layer.fraction,
        inverted,
        classes if several else None,
    )


def _pool(name: str, source: str, size: int, rules: Sequence[Rule]) -> MaxPool:
    """The max-pool before batch normalisation, which comes after the comparison here."""
    # The largest sum passes if any one does; where the rule falls, if all do.
    inverted = np.array([rule.gain < 0 for rule in rules], np.bool_)
    return MaxPool(name, source, size, inverted if inverted.any() else None)


def _scores(layer: ExactLayer) -> tuple[ChainNode, Affine]:
    """The last layer, and its sums in the largest unit in which all of them are integers."""
    if len(set(layer.scales_squared)) != 1:
        raise LoweringError(
            f"the classes of {layer.name} have different scales, so its scores are no integers: "
            "give its weights one scale, as in SignWeight(shared_scale=True)"
        )
    if not layer.scales_squared[0]:
        raise LoweringError(f"the scale of {layer.name} is 0, so all its scores are equal")
    # In units of |slope| the slope is ±1, so there is no common factor to find.
    sign = layer.slope / abs(layer.slope)
    popcount_scales = [sign * Fraction(centre, 1 << layer.fraction) for centre in layer.centres]
    # A kernel that covers the whole map has one window.
    offsets = [offset / abs(layer.slope) for offset in layer.offsets[0]]
    terms = [sign, *popcount_scales, *offsets]
    unit = math.lcm(*(term.denominator for term in terms))
    if unit > _FINEST_SCORE:
        raise LoweringError(
            f"the scores of {layer.name} need steps finer than 1/{_FINEST_SCORE}: put the centres "
            "of its activations and weights on coarser grids, as in AdaBinActivation(fraction=4) "
            "and AdaBinWeight(fraction=8)"
        )

    def integers(values: Sequence[Fraction]) -> NDArray[np.int64]:
        return np.array([int(value * unit) for value in values], np.int64)

    return layer.node, Affine(
        "scores",
        layer.name,
        scale=integers([sign] * layer.filters),
        offset=integers(offsets),
        popcount_scale=integers(popcount_scales) if any(layer.centres) else None,
    )
