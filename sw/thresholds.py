"""Batch normalisation and the comparison that follows it, as thresholds in integers.

They come from the float64 parameters through rational numbers and their roots, without rounding:
the bits are those of the model as it is written, not those of its rounding errors.
"""

from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

from xnorflow.errors import LoweringError
from xnorflow.sw.exact import ExactLayer
from xnorflow.sw.nn.optional import affine_of
from xnorflow.sw.nn.quantiser import ActivationLevels
from xnorflow.sw.roots import first_above, sign_of_difference, signed_square


__all__ = ["Rule", "decide", "is_falling", "read_rules"]


@dataclass(frozen=True)
class Rule:
    """How a filter's sum y becomes a bit: ``gain·(y − mean)/√variance + shift ≥ 0``."""

    gain: Fraction
    mean: Fraction
    variance: Fraction
    shift: Fraction


def read_rules(layer: ExactLayer, norm: nn.Module, following: ActivationLevels) -> list[Rule]:
    """Rules of a layer's filters: batch normalisation, and the comparison that follows.

    Raises
    ------
    LoweringError
        If they do not fit the layer, or each other.
    """
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        raise LoweringError(
            f"a batch normalisation must follow {layer.name}, not a {type(norm).__name__}"
        )
    if norm.running_mean is None or norm.running_var is None:
        raise LoweringError(
            f"the batch normalisation after {layer.name} has no running statistics: "
            "make it with track_running_stats=True"
        )
    if norm.num_features != layer.filters:
        raise LoweringError(
            f"{layer.name} has {layer.filters} outputs, but the batch normalisation after it "
            f"{norm.num_features}"
        )
    if len(following.thresholds) not in (1, layer.filters):
        raise LoweringError(
            f"{layer.name} has {layer.filters} outputs, "
            f"but {len(following.thresholds)} thresholds follow it"
        )
    following = following.of(layer.filters)
    # Where the comparison is inverted, z ≤ t is −z ≥ −t.
    signs = [-1 if inverted else 1 for inverted in following.inverted]
    epsilon = Fraction(norm.eps)
    weight, bias = affine_of(norm, norm.running_mean)
    rules = [
        Rule(sign * gain, mean, variance + epsilon, sign * (offset - threshold))
        for sign, gain, offset, mean, variance, threshold in zip(
            signs,
            _fractions(weight),
            _fractions(bias),
            _fractions(norm.running_mean),
            _fractions(norm.running_var),
            following.thresholds,
            strict=True,
        )
    ]
    if any(rule.variance <= 0 for rule in rules):
        raise LoweringError(f"the batch normalisation after {layer.name} has a variance below 0")
    return rules


def _fractions(values: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in values.tolist()]


def is_falling(layer: ExactLayer, rule: Rule) -> bool:
    """Whether the bit is 1 where x is small: then the threshold is one of ``total − x``."""
    return rule.gain * layer.slope < 0


def decide(layer: ExactLayer, border: int, k: int, rule: Rule) -> int:
    """Threshold of filter k in a border class, in units of 2^−fraction.

    The bit is ``x ≥ threshold``, or ``total − x ≥ threshold`` where it `is_falling`.
    """
    scale_squared, offset = layer.scales_squared[k], layer.offsets[border][k]
    falling = is_falling(layer, rule)
    low, high = layer.ranges[k]
    if falling:
        low, high = layer.total - high, layer.total - low
    centre = -layer.centres[k] if falling else layer.centres[k]
    low = (low << layer.fraction) + min(0, centre * layer.node.taps)
    high = (high << layer.fraction) + max(0, centre * layer.node.taps)
    if not rule.gain or not scale_squared:
        # What is left of the rule is −gain·mean + shift·√variance ≥ 0.
        shift = signed_square(rule.shift) * rule.variance
        passes = sign_of_difference(shift, Fraction(0), rule.gain * rule.mean) >= 0
        return low if passes else high + 1
    # Divided by |gain|·α/√variance, with d the sign of the gain, the rule is
    # d·(slope·x + offset) ≥ (d·mean − shift·√variance/|gain|) / α.
    d = 1 if rule.gain > 0 else -1
    shift = signed_square(rule.shift / abs(rule.gain)) * rule.variance
    return first_above(
        range(low, high + 1),
        slope=abs(layer.slope) / (1 << layer.fraction),
        offset=d * offset - (abs(layer.slope) * layer.total if falling else 0),
        u=signed_square(d * rule.mean) / scale_squared,
        v=-shift / scale_squared,
    )
