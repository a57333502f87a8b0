"""Lowering: a trained model → the network of integers that computes the same.

With u and v the bits of activation and weight over the N inputs of a neuron, V = Σv, activation
levels a + s·u and weight levels α·(2v − 1 + ρ), a neuron's sum of products is α·Q with

- ``Q = s·(M + ρ·P) + s·(V − N) + a·(2V − N + ρ·N)``, for the xnor gate;
- ``Q = 2s·A + 2a·V`` where ρ = 1, for the and gate.

Batch normalisation and the comparison that follows it become a threshold of M + ρ·P, or of A. It
comes from the float64 parameters through rational numbers and their roots, without rounding: the
bits are those of the model as it is written, not those of its rounding errors.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from xnorflow.errors import LoweringError, NetworkError
from xnorflow.network import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    Gate,
    Network,
    Node,
    Provenance,
    Threshold,
    UInt,
)
from xnorflow.sw.models import MLP
from xnorflow.sw.nn.activations import ActivationLevels
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.roots import first_above, sign_of_difference, signed_square


__all__ = ["lower"]

_PIXEL = UInt(8)

# Scores of a model on its grid have far fewer steps to a unit; off it, they have 2^40 and more.
_FINEST_SCORE = 1 << 16


def lower(
    model: MLP,
    *,
    name: str = "mlp",
    labels: Sequence[str] | None = None,
    provenance: Provenance | None = None,
) -> Network:
    """Turn a trained model into the network of integers that computes the same.

    Parameters
    ----------
    model : MLP
        It is read in float64, and not changed.
    name : str
        Name of the network.
    labels : sequence of str, optional
        Names of the classes, otherwise their numbers.
    provenance : Provenance, optional
        Where the model came from.

    Returns
    -------
    Network
        ``input_bits`` → ``fc1`` → ``act1`` → … → ``fcN`` → ``scores`` → ``label``. Scores are
        logits times a positive number, the same for all classes and frames.

    Raises
    ------
    LoweringError
        If the last layer's scores are not on a common grid, or if a parameter has a value or a
        form that no network can have.
    """
    model = copy.deepcopy(model).double()
    for what, tensor in model.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise LoweringError(f"{what} has values that are not finite")
    frame = FeatureMap(*model.config.input_shape, _PIXEL)
    layers = [_read(f"fc{n}", layer) for n, layer in enumerate(model.layers, 1)]
    kernel: tuple[int, ...] = frame.shape
    try:
        nodes: list[Node] = [_input_bits(layers[0], frame.channels)]
        for n, (layer, norm) in enumerate(zip(layers[:-1], model.norms, strict=True), 1):
            rules = _rules(layer, norm, layers[n].activation)
            nodes += _hidden(layer, rules, kernel, nodes[-1].name, f"act{n}")
            kernel = 1, 1, layer.filters
        nodes += _scores(layers[-1], kernel, nodes[-1].name)
        return Network(
            name=name,
            input=frame,
            nodes=(*nodes, ArgMax("label", "scores")),
            labels=tuple(labels or map(str, range(model.config.classes))),
            provenance=provenance or Provenance(),
        )
    except NetworkError as error:
        raise LoweringError(f"no network can hold this model: {error}") from None


# -- layers in exact numbers ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer in exact numbers: neuron k computes α·(slope·x + offsets[k]), x being M + ρ·P or A.

    Attributes
    ----------
    activation : ActivationLevels
        How the layer binarises its input.
    bits : bool array, (filters, taps)
    centres : tuple of int, (filters,)
        ρ in units of 2^−fraction; 0 for the and gate.
    scales_squared : tuple of Fraction, (filters,)
        α² ≥ 0.
    """

    name: str
    activation: ActivationLevels
    gate: Gate
    bits: NDArray[np.bool_]
    centres: tuple[int, ...]
    fraction: int
    scales_squared: tuple[Fraction, ...]
    slope: Fraction
    offsets: tuple[Fraction, ...]

    @property
    def filters(self) -> int:
        return self.bits.shape[0]

    @property
    def taps(self) -> int:
        return self.bits.shape[1]

    @property
    def popcount(self) -> bool:
        """Whether P is needed."""
        return any(self.centres)


def _read(name: str, layer: nn.Module) -> _Layer:
    """Exact numbers of a layer, with the gate that suits them."""
    if not isinstance(layer, BinaryLinear):
        raise LoweringError(f"{name} must be a BinaryLinear, not a {type(layer).__name__}")
    activation = layer.activation_quantiser.levels()
    weight = layer.weight_quantiser.levels(layer.weight)
    bits = weight.bits.numpy()
    centres = tuple(int(centre) for centre in weight.centres)
    a, s, n = activation.low, activation.step, bits.shape[1]
    ones = [int(count) for count in bits.sum(axis=1)]
    if all(centre == 1 << weight.fraction for centre in centres):
        gate, slope = Gate.AND, 2 * s
        offsets = [2 * a * v for v in ones]
        centres = (0,) * len(centres)
    else:
        gate, slope = Gate.XNOR, s
        offsets = [
            s * (v - n) + a * (2 * v - n + Fraction(centre, 1 << weight.fraction) * n)
            for v, centre in zip(ones, centres, strict=True)
        ]
    return _Layer(
        name,
        activation,
        gate,
        bits,
        centres,
        # Without ρ there is nothing to have fractional bits.
        weight.fraction if any(centres) else 0,
        weight.scale_squared,
        slope,
        tuple(offsets),
    )


# -- nodes ----------------------------------------------------------------------------------------


def _input_bits(first: _Layer, channels: int) -> Threshold:
    """The pixels' comparison with the threshold of the first layer."""
    if len(first.activation.thresholds) != 1:
        raise LoweringError(f"{first.name} must have one threshold for all pixels")
    (threshold,) = first.activation.thresholds
    inverted = first.activation.inverted
    # For integers, x ≤ t is the opposite of x ≥ floor(t) + 1.
    least = math.floor(threshold) + 1 if inverted else math.ceil(threshold)
    return Threshold(
        "input_bits",
        INPUT,
        thresholds=np.full(channels, min(max(least, _PIXEL.low), _PIXEL.high + 1), np.int64),
        inverted=np.ones(channels, np.bool_) if inverted else None,
    )


def _hidden(
    layer: _Layer, rules: Sequence["_Rule"], kernel: tuple[int, ...], source: str, name: str
) -> tuple[BinaryConv, Threshold]:
    """A layer, and the threshold ``name`` that turns its counts into bits by ``rules``."""
    decisions = [_decide(layer, k, rule) for k, rule in enumerate(rules)]
    falling = np.array([decision.falling for decision in decisions], np.bool_)
    thresholds = np.array([decision.threshold for decision in decisions], np.int64)
    bits, popcount_weights, inverted = layer.bits, None, None
    if layer.gate is Gate.XNOR:
        # Complementing a filter turns M into N − M, and ρ into −ρ.
        bits = bits ^ falling[:, np.newaxis]
        if layer.popcount:
            popcount_weights = np.array(layer.centres, np.int64) * np.where(falling, -1, 1)
    elif falling.any():
        # N − A ≥ t is the opposite of A ≥ N + 1 − t.
        thresholds = np.where(falling, layer.taps + 1 - thresholds, thresholds)
        inverted = falling
    return (
        _convolution(layer, bits, kernel, source),
        Threshold(name, layer.name, thresholds, popcount_weights, layer.fraction, inverted),
    )


def _scores(layer: _Layer, kernel: tuple[int, ...], source: str) -> tuple[BinaryConv, Affine]:
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
    offsets = [offset / abs(layer.slope) for offset in layer.offsets]
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

    return (
        _convolution(layer, layer.bits, kernel, source),
        Affine(
            "scores",
            layer.name,
            scale=integers([sign] * layer.filters),
            offset=integers(offsets),
            popcount_scale=integers(popcount_scales) if layer.popcount else None,
        ),
    )


def _convolution(
    layer: _Layer, bits: NDArray[np.bool_], kernel: tuple[int, ...], source: str
) -> BinaryConv:
    weights = bits.reshape(layer.filters, *kernel)
    return BinaryConv(layer.name, source, weights, layer.gate, layer.popcount)


# -- thresholds -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rule:
    """How a neuron's sum y becomes a bit: ``gain·(y − mean)/√variance + shift ≥ 0``."""

    gain: Fraction
    mean: Fraction
    variance: Fraction
    shift: Fraction


@dataclass(frozen=True)
class _Decision:
    """A rule in integers: ``x ≥ threshold``, or ``N − x ≥ threshold`` where it is ``falling``.

    Both in units of 2^−fraction.
    """

    threshold: int
    falling: bool


def _rules(layer: _Layer, norm: nn.Module, following: ActivationLevels) -> list[_Rule]:
    """Rules of a layer's neurons: batch normalisation, and the comparison that follows."""
    if (
        not isinstance(norm, nn.BatchNorm1d)
        or norm.running_mean is None
        or norm.running_var is None
    ):
        raise LoweringError(
            f"a BatchNorm1d with running statistics must follow {layer.name}, "
            f"not a {type(norm).__name__}"
        )
    thresholds = following.thresholds
    if len(thresholds) == 1:
        thresholds *= layer.filters
    if len(thresholds) != layer.filters:
        raise LoweringError(
            f"{layer.name} has {layer.filters} outputs, but {len(thresholds)} thresholds follow it"
        )
    # Where the comparison is turned round, z ≤ t is −z ≥ −t.
    sign = -1 if following.inverted else 1
    epsilon = Fraction(norm.eps)
    rules = [
        _Rule(sign * gain, mean, variance + epsilon, sign * (bias - threshold))
        for gain, bias, mean, variance, threshold in zip(
            _fractions(norm.weight),
            _fractions(norm.bias),
            _fractions(norm.running_mean),
            _fractions(norm.running_var),
            thresholds,
            strict=True,
        )
    ]
    if any(rule.variance <= 0 for rule in rules):
        raise LoweringError(f"the batch normalisation after {layer.name} has a variance below 0")
    return rules


def _fractions(values: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in values.tolist()]


def _decide(layer: _Layer, k: int, rule: _Rule) -> _Decision:
    """Turn the rule of neuron k into integers."""
    n, scale_squared = layer.taps, layer.scales_squared[k]
    falling = rule.gain * layer.slope < 0
    centre = -layer.centres[k] if falling else layer.centres[k]
    low = min(0, centre * n)
    high = (n << layer.fraction) + max(0, centre * n)
    if not rule.gain or not scale_squared:
        # What is left of the rule is −gain·mean + shift·√variance ≥ 0.
        shift = signed_square(rule.shift) * rule.variance
        passes = sign_of_difference(shift, Fraction(0), rule.gain * rule.mean) >= 0
        return _Decision(low if passes else high + 1, falling)
    # Divided by |gain|·α/√variance, with d the sign of the gain, the rule is
    # d·(slope·x + offset) ≥ (d·mean − shift·√variance/|gain|) / α.
    d = 1 if rule.gain > 0 else -1
    shift = signed_square(rule.shift / abs(rule.gain)) * rule.variance
    threshold = first_above(
        range(low, high + 1),
        slope=abs(layer.slope) / (1 << layer.fraction),
        offset=d * layer.offsets[k] - (abs(layer.slope) * n if falling else 0),
        u=signed_square(d * rule.mean) / scale_squared,
        v=-shift / scale_squared,
    )
    return _Decision(threshold, falling)
