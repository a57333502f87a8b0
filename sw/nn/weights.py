"""Weight quantisers: a real matrix → two levels for each of its rows, or integers.

Each takes (filters, synapses) and splits its result into a *code*, which carries the bits, and a
*scale*: ``forward(w) = code · scale``, with shapes (filters, synapses) and (filters,). A code lies
on a binary grid, so that codes are added without rounding.
"""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.gradients import (
    ede_sharpness,
    round_through,
    sign_clipped,
    sign_ede,
    upper_half,
)


__all__ = [
    "AdaBinWeight",
    "IntegerWeight",
    "SiManForm",
    "SiManWeight",
    "SignWeight",
    "WeightLevels",
    "WeightQuantiser",
]

# Keeps AdaBin's deviation away from 0. A power of two, so it is the same in every precision.
_LEAST_VARIANCE = 2.0**-40
_LEAST_DEVIATION = 2.0**-20

_STANDARDISATION_EPSILON = 1e-5
_FIRST_CLIPPED_PERCENT = 15.0

# Keeps the scale of integer weights away from 0.
_LEAST_SCALE = 2.0**-40


@dataclass(frozen=True)
class WeightLevels:
    """What a weight quantiser computes, exactly: ``α · (2v − 1 + ρ)`` of each filter.

    In terms of the set {w₀, w₀ + Δw}: α = Δw/2 and ρ·α = w₀ + α. The set is {−α, +α} where ρ is 0,
    and {0, 2α} where it is 1.

    Attributes
    ----------
    bits : bool tensor, (filters, synapses)
        v.
    scale_squared : tuple of Fraction, (filters,)
        α² of each filter; α ≥ 0 is its root. All are equal where a layer has one scale.
    centres : int64 tensor, (filters,)
        ρ of each filter, in units of 2^−fraction.
    fraction : int
        Fractional bits of ρ.
    """

    bits: Tensor
    scale_squared: tuple[Fraction, ...]
    centres: Tensor
    fraction: int = 0


class SignWeight(nn.Module):
    """``s·sign(w)`` with s = mean|w| of each filter, through which no gradient flows.

    Gradient: s on |w| ≤ 1, 0 elsewhere. Source: XNOR-Net, arXiv 1603.05279, with the gradient of
    ReActNet, arXiv 2003.03488.

    Parameters
    ----------
    shared_scale : bool
        One s for the whole layer.
    """

    def __init__(self, *, shared_scale: bool = False) -> None:
        super().__init__()
        self.shared_scale = shared_scale

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Code (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        scale = weight.detach().abs().mean(dim=1)
        return sign_clipped(weight), _share(scale) if self.shared_scale else scale

    def split(self, weight: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Code, its centre 0, and scale: see `encode`."""
        code, scale = self.encode(weight)
        return code, None, scale

    def forward(self, weight: Tensor) -> Tensor:
        """Quantise ``weight`` (filters, synapses); same shape."""
        return _decode(self.encode(weight))

    def levels(self, weight: Tensor) -> WeightLevels:
        """Exact levels of the float64 ``weight`` (filters, synapses)."""
        rows, unit = _exact_rows(weight)
        scales = [unit * sum(map(abs, row)) / len(row) for row in rows]
        return WeightLevels(
            bits=weight.detach() >= 0,
            scale_squared=tuple(
                scale**2 for scale in (_share_exactly(scales) if self.shared_scale else scales)
            ),
            centres=torch.zeros(len(scales), dtype=torch.int64),
        )


class AdaBinWeight(nn.Module):
    """``α·(sign((w − β)/α) + ρ)`` with β the mean of each filter, α its deviation, and ρ ≈ β/α.

    ρ is rounded to ``fraction`` fractional bits, here and in hardware alike. Gradients flow through
    mean and deviation; that of sign is IR-Net's EDE, that of rounding the identity.
    Source: AdaBin, arXiv 2208.08084, where ρ is not rounded.

    Parameters
    ----------
    fraction : int, optional
        Fractional bits of ρ; None leaves it real, for layers that round what they make of it.
    shared_scale : bool
        One α for the whole layer: the root of the filters' mean variance.

    Attributes
    ----------
    progress : float
        Fraction of training that is over, which sharpens the gradient. The trainer sets it.
    """

    def __init__(self, fraction: int | None = 8, *, shared_scale: bool = False) -> None:
        super().__init__()
        self.fraction = fraction
        self.shared_scale = shared_scale
        self.progress = 0.0

    def _statistics(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean β and deviation α of each filter, and ρ: (filters,) each."""
        mean = weight.mean(dim=1)
        variance = (weight - mean[:, None]).square().mean(dim=1)
        if self.shared_scale:
            variance = _share(variance)
        deviation = variance.clamp_min(_LEAST_VARIANCE).sqrt()
        centre = mean / deviation
        if self.fraction is not None:
            centre = round_through(centre * 2**self.fraction) / 2**self.fraction
        return mean, deviation, centre

    def split(self, weight: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Signs (filters, synapses), ρ and scale (filters,) of ``weight`` (filters, synapses)."""
        mean, deviation, centre = self._statistics(weight)
        normalised = (weight - mean[:, None]) / deviation[:, None]
        signs = sign_ede(normalised, ede_sharpness(self.progress))
        return signs, centre, deviation

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Code (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        signs, centre, deviation = self.split(weight)
        return signs if centre is None else signs + centre[:, None], deviation

    def forward(self, weight: Tensor) -> Tensor:
        """Quantise ``weight`` (filters, synapses); same shape."""
        return _decode(self.encode(weight))

    def levels(self, weight: Tensor) -> WeightLevels:
        """Exact levels of the float64 ``weight`` (filters, synapses).

        Raises
        ------
        LoweringError
            If ρ is real.
        """
        if self.fraction is None:
            raise LoweringError(
                "an AdaBin weight has a real centre, which no integers have: give it fractional "
                "bits, as in AdaBinWeight(fraction=8)"
            )
        weight = weight.detach()
        mean, _, centre = self._statistics(weight)
        rows, unit = _exact_rows(weight)
        variances = [
            unit**2 * Fraction(len(row) * sum(x * x for x in row) - sum(row) ** 2, len(row) ** 2)
            for row in rows
        ]
        if self.shared_scale:
            variances = _share_exactly(variances)
        return WeightLevels(
            bits=weight >= mean[:, None],
            scale_squared=tuple(max(value, Fraction(_LEAST_VARIANCE)) for value in variances),
            centres=(centre * 2**self.fraction).to(torch.int64),
            fraction=self.fraction,
        )


class SiManForm(Enum):
    """What SiMaN's bits B ∈ {0, 1} stand for."""

    HALF = "half"
    """The weights themselves, {0, α}: the and gate."""

    BIPOLAR = "bipolar"
    """2B − 1, weights {−α, +α}: the xnor gate, as SiMaN's code has it."""


class SiManWeight(nn.Module):
    """``α·B``, or its bipolar map ``α·(2B − 1)``, where B marks the larger half of the magnitudes.

    B = 1 where |w₂| is above its filter's median, with w₂ = (w − mean)/√(var + 10⁻⁵) of each
    filter: exactly half ones. α is learned, at first mean|w| (`reset_scale`); the parameter is its
    logarithm, because an α that came near 0 would upset batch normalisation. Neither it nor w
    should have weight decay. The gradient to w₂ is sign(w₂) times the code's.

    In training, every forward pass first clips the deviations |w − mean| in place, between the p-th
    and the (100 − p)-th percentile of the layer, with p falling from 15 to 0 as training goes on.
    Then the layer gets its former standard deviation back, which changes no bit: otherwise clipping
    would act as a strong weight decay, and that, not the learning rate, would set how many bits
    flip in a step.

    Source: SiMaN, arXiv 2102.07981, paper (half) and code (bipolar, percentiles, gradient).

    Parameters
    ----------
    filters : int
    form : SiManForm
    shared_scale : bool
        One α for the whole layer.

    Attributes
    ----------
    log_scale : (filters,), or (1,) where it is shared
    progress : float
        Fraction of training that is over. The trainer sets it.
    centre : float
        What is subtracted from the bits of the half form in training, from ½ to 0. The trainer may
        lower it little by little, so that a network that was used to ±1 gets used to {0, 1}: all
        filters then have half of the popcount in common.
    """

    def __init__(
        self, filters: int, form: SiManForm = SiManForm.HALF, *, shared_scale: bool = False
    ) -> None:
        super().__init__()
        self.filters = filters
        self.form = form
        self.log_scale = nn.Parameter(torch.zeros(1 if shared_scale else filters))
        self.progress = 0.0
        self.centre = 0.0

    @torch.no_grad()
    def reset_scale(self, weight: Tensor) -> None:
        """Set α to mean|w| of ``weight`` (filters, synapses)."""
        self.log_scale.copy_(weight.abs().reshape(self.log_scale.numel(), -1).mean(dim=1).log())

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Code (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        if self.training:
            self._clip(weight)
        bits = upper_half(_standardise(weight))
        # Doubling the bits' gradient by 2B − 1 is undone: both forms have the same one.
        if self.form is SiManForm.BIPOLAR:
            code = bits + (bits.detach() - 1)
        else:
            code = bits - self.centre if self.training and self.centre else bits
        return code, self.log_scale.exp().expand(self.filters)

    def split(self, weight: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Code, 0 or 1 or else ±1, no centre, and scale: see `encode`."""
        code, scale = self.encode(weight)
        return code, None, scale

    @torch.no_grad()
    def _clip(self, weight: Tensor) -> None:
        share = _FIRST_CLIPPED_PERCENT * (1 - self.progress) / 100
        deviation = weight - weight.mean(dim=1, keepdim=True)
        magnitude = deviation.abs()
        # Selecting two ranks is many times faster than torch.quantile, which sorts.
        rank = int(share * (magnitude.numel() - 1))
        low = magnitude.flatten().kthvalue(1 + rank).values
        high = magnitude.flatten().kthvalue(magnitude.numel() - rank).values
        clipped = torch.where(deviation >= 0, 1.0, -1.0) * magnitude.clamp(low, high)
        spread = clipped.std().clamp_min(_LEAST_DEVIATION)
        weight.copy_(clipped * (deviation.std() / spread))

    def forward(self, weight: Tensor) -> Tensor:
        """Quantise ``weight`` (filters, synapses); same shape."""
        return _decode(self.encode(weight))

    def levels(self, weight: Tensor) -> WeightLevels:
        """Exact levels of the float64 ``weight`` (filters, synapses)."""
        half = self.form is SiManForm.HALF
        scales = self.log_scale.detach().double().exp().expand(self.filters).tolist()
        return WeightLevels(
            bits=upper_half(_standardise(weight.detach())) > 0,
            scale_squared=tuple((Fraction(scale) / (2 if half else 1)) ** 2 for scale in scales),
            centres=torch.full((self.filters,), int(half)),
        )


WeightQuantiser = SignWeight | AdaBinWeight | SiManWeight


class IntegerWeight(nn.Module):
    """``s·round(w/s)`` with s = max|w|/(2^(bits − 1) − 1), through which no gradient flows.

    Gradient: 1. The integers are symmetric, so a filter can be negated. A single bit gives
    ``s·sign(w)`` as `SignWeight` does, integers ±1 that are only added or subtracted.

    Parameters
    ----------
    bits : int
        From 1 to 16.
    shared_scale : bool
        One s for the whole layer, otherwise one for each filter.
    """

    def __init__(self, bits: int = 8, *, shared_scale: bool = False) -> None:
        super().__init__()
        if not 1 <= bits <= 16:
            raise ValueError(f"integer weights must have 1 to 16 bits, not {bits}")
        self.bits = bits
        self.shared_scale = shared_scale

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integers (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        magnitude = weight.detach().abs()
        if self.bits == 1:
            scale = magnitude.mean(dim=1).clamp_min(_LEAST_SCALE)
            return sign_clipped(weight), _share(scale) if self.shared_scale else scale
        largest = magnitude.amax(dim=1)
        if self.shared_scale:
            largest = largest.amax().expand(largest.shape)
        scale = (largest / (2 ** (self.bits - 1) - 1)).clamp_min(_LEAST_SCALE)
        return round_through(weight / scale[:, None]), scale

    def forward(self, weight: Tensor) -> Tensor:
        """Quantise ``weight`` (filters, synapses); same shape."""
        return _decode(self.encode(weight))


def _decode(parts: tuple[Tensor, Tensor]) -> Tensor:
    code, scale = parts
    return code * scale[:, None]


def _standardise(weight: Tensor) -> Tensor:
    deviation = weight - weight.mean(dim=1, keepdim=True)
    variance = deviation.square().mean(dim=1, keepdim=True)
    return deviation / (variance + _STANDARDISATION_EPSILON).sqrt()


def _share(values: Tensor) -> Tensor:
    """Their mean, in place of each of ``values`` (filters,)."""
    return values.mean().expand(values.shape)


def _share_exactly(values: list[Fraction]) -> list[Fraction]:
    return [sum(values, Fraction()) / len(values)] * len(values)


def _exact_rows(weight: Tensor) -> tuple[list[list[int]], Fraction]:
    """Rows of ``weight`` as integers, and the power of two that is their unit.

    Sums of integers are much faster than sums of fractions.
    """
    ratios = [
        [value.as_integer_ratio() for value in row] for row in weight.detach().double().tolist()
    ]
    unit = max(denominator for row in ratios for _, denominator in row)
    rows = [[numerator * (unit // denominator) for numerator, denominator in row] for row in ratios]
    return rows, Fraction(1, unit)
