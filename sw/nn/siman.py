"""SiMaN: weights that mark the larger half of the magnitudes."""

from enum import Enum
from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.gradients import upper_half
from xnorflow.sw.nn.quantiser import WeightLevels, WeightQuantiser


__all__ = ["SiManForm", "SiManWeight"]


_LEAST_DEVIATION = 2.0**-20
_STANDARDISATION_EPSILON = 1e-5
_FIRST_CLIPPED_PERCENT = 15.0


class SiManForm(Enum):
    """Values that SiMaN's bits B ∈ {0, 1} stand for."""

    HALF = "half"
    """The weights themselves, {0, α}: the and gate."""

    BIPOLAR = "bipolar"
    """2B − 1, weights {−α, +α}: the xnor gate, as SiMaN's code has it."""


class SiManWeight(WeightQuantiser):
    """``α·B``, or its bipolar map ``α·(2B − 1)``, where B marks the larger half of the magnitudes.

    B = 1 where |w₂| is above its filter's median, with w₂ = (w − mean)/√(var + 10⁻⁵) of each
    filter: exactly half ones. α is learned, at first mean|w| (`reset`); the parameter is its
    logarithm, because an α that came near 0 would upset batch normalisation. Neither it nor w
    should have weight decay. The gradient to w₂ is sign(w₂) times the code's.

    In training, every forward pass first clips the deviations |w − mean| in place, between the p-th
    and the (100 − p)-th percentile of the layer, with p falling from 15 to 0 as training goes on.
    Then the layer gets its former standard deviation back, which changes no bit: otherwise clipping
    would act as a strong weight decay, and that, not the learning rate, would set how many bits
    flip in a step.

    Where it is ``centred``, up to ½ is subtracted from the bits of the half form in training, so
    that a network that was used to ±1 gets used to {0, 1}: all filters then have half of the
    popcount in common.

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

    Examples
    --------
    >>> weight = torch.tensor([[0.5, -1.5, 1.0, -1.0]])
    >>> quantiser = nn.SiManWeight(1)
    >>> quantiser.reset(weight)
    >>> quantiser(weight).tolist()
    [[0.0, 1.0, 1.0, 0.0]]
    """

    def __init__(
        self, filters: int, form: SiManForm = SiManForm.HALF, *, shared_scale: bool = False
    ) -> None:
        super().__init__()
        check_sizes(filters=filters)
        check_kind("form", form, SiManForm)
        check_kind("shared_scale", shared_scale, bool)
        self.filters = filters
        self.form = form
        self.log_scale = nn.Parameter(torch.zeros(1 if shared_scale else filters))

    @torch.no_grad()
    def reset(self, weight: Tensor) -> None:
        """Set α to mean|w| of ``weight`` (filters, synapses)."""
        self.log_scale.copy_(weight.abs().reshape(self.log_scale.numel(), -1).mean(dim=1).log())

    @property
    def unipolar(self) -> bool:
        """Whether codes are 0 and 1: in the half form."""
        return self.form is SiManForm.HALF

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Code (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        if self.training:
            self._clip(weight)
        bits = upper_half(_standardise(weight))
        # Doubling the bits' gradient by 2B − 1 is undone: both forms have the same one.
        if self.form is SiManForm.BIPOLAR:
            code = bits + (bits.detach() - 1)
        else:
            code = bits - self._centred / 2 if self.training else bits
        return code, self.log_scale.exp().expand(self.filters)

    @torch.no_grad()
    def _clip(self, weight: Tensor) -> None:
        if weight.numel() < 2:  # which has no deviation
            return
        deviation = weight - weight.mean(dim=1, keepdim=True)
        magnitude = deviation.abs()
        low, high = _percentiles(magnitude.flatten(), self._progress)
        clipped = torch.where(deviation >= 0, 1.0, -1.0) * magnitude.clamp(low, high)
        spread = clipped.std().clamp_min(_LEAST_DEVIATION)
        weight.copy_(clipped * (deviation.std() / spread))

    def levels(self, weight: Tensor) -> WeightLevels:
        """Exact levels of the float64 ``weight`` (filters, synapses)."""
        scales = self.log_scale.detach().double().exp().expand(self.filters).tolist()
        return WeightLevels(
            bits=upper_half(_standardise(weight.detach())) > 0,
            scale_squared=tuple((Fraction(scale) / (1 + self.unipolar)) ** 2 for scale in scales),
            centres=torch.full((self.filters,), int(self.unipolar)),
        )

    def to_signed(self, weight: Tensor) -> Tensor:
        """How far the magnitudes of ``weight`` (filters, synapses) are above their median."""
        magnitude = (weight - weight.mean(dim=1, keepdim=True)).abs()
        return magnitude - magnitude.median(dim=1, keepdim=True).values

    def from_signed(self, weight: Tensor) -> Tensor:
        """Weights whose magnitudes are in the order of ``weight`` (filters, synapses), mean ≈ 0."""
        magnitude = weight - weight.amin(dim=1, keepdim=True)
        # Signs take turns from one rank to the next.
        rank = magnitude.argsort(dim=1, stable=True).argsort(dim=1)
        return magnitude * (1 - 2 * (rank % 2))


@torch.library.custom_op("xnorflow::siman_percentiles", mutates_args=())
def _percentiles(magnitude: Tensor, progress: Tensor) -> tuple[Tensor, Tensor]:
    """Between which ``magnitude`` (n,) is clipped: an operator, which compilers leave whole."""
    share = _FIRST_CLIPPED_PERCENT * (1 - progress.item()) / 100
    # Selecting two ranks is many times faster than torch.quantile, which sorts.
    rank = int(share * (magnitude.numel() - 1))
    low = magnitude.kthvalue(1 + rank).values
    high = magnitude.kthvalue(magnitude.numel() - rank).values
    return low, high


@_percentiles.register_fake
def _(magnitude: Tensor, progress: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return magnitude.new_empty(()), magnitude.new_empty(())


def _standardise(weight: Tensor) -> Tensor:
    deviation = weight - weight.mean(dim=1, keepdim=True)
    variance = deviation.square().mean(dim=1, keepdim=True)
    return deviation / (variance + _STANDARDISATION_EPSILON).sqrt()
