"""AdaBin: two adaptive levels for every filter, two learned levels of activations."""

from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.arguments import check_fraction, check_kind
from xnorflow.sw.nn.gradients import ede_sharpness, round_through, sign_ede
from xnorflow.sw.nn.quantiser import (
    ActivationLevels,
    ActivationQuantiser,
    WeightLevels,
    WeightQuantiser,
    exact_rows,
    share,
    share_exactly,
)


__all__ = ["AdaBinActivation", "AdaBinWeight"]


# Keeps the standard deviation away from 0. A power of two, so it is the same in every precision.
_LEAST_VARIANCE = 2.0**-40


class AdaBinWeight(WeightQuantiser):
    """``α·(sign((w − β)/α) + ρ)`` with β the mean of each filter, α its deviation, and ρ ≈ β/α.

    ρ is rounded to ``fraction`` fractional bits, here and in hardware alike. Gradients flow through
    mean and deviation; that of sign is IR-Net's EDE, which sharpens with
    ``progress``, that of rounding the identity.
    Source: AdaBin, arXiv 2208.08084, where ρ is not rounded.

    Parameters
    ----------
    fraction : int, optional
        Fractional bits of ρ; None leaves it real, for layers that round what they make of it.
    shared_scale : bool
        One α for the whole layer: the root of the filters' mean variance.

    Examples
    --------
    >>> weight = torch.tensor([[0.5, -1.5, 1.0, -1.0]])
    >>> quantiser = nn.AdaBinWeight()
    >>> quantiser.reset(weight)
    >>> quantiser(weight)
    tensor([[ 0.7811, -1.2804,  0.7811, -1.2804]])
    """

    def __init__(self, fraction: int | None = 8, *, shared_scale: bool = False) -> None:
        super().__init__()
        check_fraction(fraction)
        check_kind("shared_scale", shared_scale, bool)
        self.fraction = fraction
        self.shared_scale = shared_scale

    def _statistics(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean β and deviation α of each filter, and ρ: (filters,) each."""
        mean = weight.mean(dim=1)
        variance = (weight - mean[:, None]).square().mean(dim=1)
        if self.shared_scale:
            variance = share(variance)
        deviation = variance.clamp_min(_LEAST_VARIANCE).sqrt()
        centre = mean / deviation
        if self.fraction is not None:
            centre = round_through(centre * 2**self.fraction) / 2**self.fraction
        return mean, deviation, centre

    def split(self, weight: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Signs (filters, synapses), ρ and scale (filters,) of ``weight`` (filters, synapses)."""
        mean, deviation, centre = self._statistics(weight)
        normalised = (weight - mean[:, None]) / deviation[:, None]
        signs = sign_ede(normalised, ede_sharpness(self._progress))
        return signs, centre, deviation

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Code (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        signs, centre, deviation = self.split(weight)
        return signs if centre is None else signs + centre[:, None], deviation

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
        rows, unit = exact_rows(weight)
        variances = [
            unit**2 * Fraction(len(row) * sum(x * x for x in row) - sum(row) ** 2, len(row) ** 2)
            for row in rows
        ]
        if self.shared_scale:
            variances = share_exactly(variances)
        return WeightLevels(
            bits=weight >= mean[:, None],
            scale_squared=tuple(max(value, Fraction(_LEAST_VARIANCE)) for value in variances),
            centres=(centre * 2**self.fraction).to(torch.int64),
            fraction=self.fraction,
        )


class AdaBinActivation(ActivationQuantiser):
    """``α·(sign((x − β)/α) + β)`` with learned scalars, at first α = 1 and β = 0.

    With u = (x − β)/α and F′ Bi-Real's derivative, the gradients are F′(u) for x,
    sign(u) + β − u·F′(u) for α, and α − F′(u) for β.
    Source: AdaBin, arXiv 2208.08084, as its code has it: β is multiplied by α.

    Parameters
    ----------
    fraction : int, optional
        Fractional bits of the grid on which β sits; None leaves it real. The last layer of a
        network needs a grid, because its scores are integers.

    Examples
    --------
    >>> x = torch.tensor([[-1.5, -0.25, 0.0, 2.0]])
    >>> nn.AdaBinActivation()(x).tolist()
    [[-1.0, -1.0, 1.0, 1.0]]
    """

    def __init__(self, fraction: int | None = None) -> None:
        super().__init__()
        check_fraction(fraction)
        self.fraction = fraction
        self.alpha = nn.Parameter(torch.ones(()))
        self.beta = nn.Parameter(torch.zeros(()))

    def centre(self) -> Tensor:
        """Middle of the two codes, β."""
        if self.fraction is None:
            return self.beta
        return round_through(self.beta * 2**self.fraction) / 2**self.fraction

    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` is above the threshold (below it, where α < 0), in units of |α|."""
        return (x - self.centre()) / self.alpha

    def scale(self) -> Tensor:
        """Factor of the codes, α."""
        return self.alpha

    def levels(self) -> ActivationLevels:
        """Levels α·(β − 1) and α·(β + 1), threshold β.

        Raises
        ------
        LoweringError
            If α is 0.
        """
        alpha = Fraction(self.alpha.item())
        beta = Fraction(self.centre().item())
        if not alpha:
            raise LoweringError("an AdaBin activation has the scale 0, so its levels coincide")
        return ActivationLevels(alpha * (beta - 1), 2 * alpha, (beta,), (alpha < 0,))
