"""Activation quantisers: real values → one of two levels.

Each takes (..., channels) and splits its result into a *code*, which carries the bit, and a
*scale*: ``forward(x) = code · scale``. `BinaryLinear` multiplies codes and scales apart, because
codes on a binary grid are added without rounding. A code is ``centre ± 1``.

The bit is exactly ``distance(x) >= 0``, and |distance| is the margin of the decision.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.gradients import ceil_through, round_through, sign_bireal


__all__ = [
    "ActivationLevels",
    "ActivationQuantiser",
    "AdaBinActivation",
    "InputThreshold",
    "RSign",
    "Sign",
]


@dataclass(frozen=True)
class ActivationLevels:
    """What an activation quantiser computes, exactly: ``low + step · u``.

    Attributes
    ----------
    low, step : Fraction
        The level of u = 0, and what u = 1 adds to it.
    thresholds : tuple of Fraction
        u = (x ≥ threshold), for every channel, or one threshold for all of them.
    inverted : tuple of bool
        Whether the comparison with each threshold is turned round: u = (x ≤ threshold).
    """

    low: Fraction
    step: Fraction
    thresholds: tuple[Fraction, ...]
    inverted: tuple[bool, ...]

    def of(self, channels: int) -> "ActivationLevels":
        """The same with a threshold for every one of so many channels.

        Raises
        ------
        LoweringError
            If there are several thresholds, but not so many.
        """
        if len(self.thresholds) not in (1, channels):
            raise LoweringError(
                f"{len(self.thresholds)} thresholds are not for {channels} channels"
            )
        times = channels // len(self.thresholds)
        return replace(self, thresholds=self.thresholds * times, inverted=self.inverted * times)


class ActivationQuantiser(nn.Module, ABC):
    """What activation quantisers have in common; levels −1 and +1, unless they say otherwise."""

    @abstractmethod
    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` (..., channels) is above the threshold; same shape."""

    def centre(self) -> Tensor | None:
        """Middle of the two codes; None stands for 0."""
        return None

    def scale(self) -> Tensor | float:
        """What codes are multiplied with, a scalar."""
        return 1.0

    def signs(self, x: Tensor) -> Tensor:
        """Code without its centre: ±1, of the shape of ``x``; the gradient is Bi-Real's."""
        return sign_bireal(self.distance(x))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Code, of the shape of ``x``, and scale, a scalar."""
        signs, centre = self.signs(x), self.centre()
        return signs if centre is None else signs + centre, self.scale()

    def forward(self, x: Tensor) -> Tensor:
        """Quantise ``x``; same shape."""
        code, scale = self.encode(x)
        return code * scale

    @abstractmethod
    def levels(self) -> ActivationLevels:
        """Exact levels and thresholds, of the parameters in float64."""


class Sign(ActivationQuantiser):
    """``sign(x)``, with Bi-Real's gradient.

    Source: Bi-Real Net, arXiv 1808.00278.
    """

    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` is above the threshold; same shape."""
        return x

    def levels(self) -> ActivationLevels:
        """Levels −1 and +1, threshold 0."""
        return ActivationLevels(Fraction(-1), Fraction(2), (Fraction(0),), (False,))


class RSign(ActivationQuantiser):
    """``sign(x + b_c)`` with a learned b for every channel, at first 0; or ``sign(±(x + b_c))``.

    Gradient: Bi-Real's, for x and for b. Source: ReActNet, arXiv 2003.03488.

    Parameters
    ----------
    channels : int
        Size of the last dimension.
    polarised : bool
        Whether half of the channels are compared the other way round. Neighbouring channels and
        pixels are bright together; with weights {0, 1}, all filters of a window have half of its
        sum in common, and that would drown what they differ in. Channels of both polarities keep
        it small. It costs nothing in hardware: a threshold's output is inverted.

    Attributes
    ----------
    polarity : (channels,) of ±1, or None
        At first they take turns.
    """

    polarity: Tensor | None

    def __init__(self, channels: int, *, polarised: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        turns = 1.0 - 2.0 * (torch.arange(channels) % 2)
        self.register_buffer("polarity", turns if polarised else None)

    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` is above the threshold, or below it where the polarity is −1."""
        y = x + self.bias
        return y if self.polarity is None else y * self.polarity

    def levels(self) -> ActivationLevels:
        """Levels −1 and +1, threshold −b of each channel."""
        turned = (self.bias.new_ones(1) if self.polarity is None else self.polarity) < 0
        biases, turned = torch.broadcast_tensors(self.bias.detach().double(), turned)
        thresholds = tuple(-Fraction(bias) for bias in biases.tolist())
        inverted = tuple(turned.tolist())
        return ActivationLevels(Fraction(-1), Fraction(2), thresholds, inverted)


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
    """

    def __init__(self, fraction: int | None = None) -> None:
        super().__init__()
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
        """What codes are multiplied with, α."""
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


class InputThreshold(ActivationQuantiser):
    """``sign(x − T)`` of raw pixels in 0…255, with a learned threshold T = ⌈255/(1 + e^−t)⌉.

    T is an integer, the same for all pixels, and stays within 1…255: if every pixel passed, the
    layer's outputs would be constant, and batch normalisation would divide by almost nothing.
    Gradient: Bi-Real's on (x − T)/255; that of ⌈·⌉ is taken as the identity's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def _threshold(self) -> Tensor:
        return ceil_through(255 * self.level.sigmoid())

    def distance(self, x: Tensor) -> Tensor:
        """How far the pixels are above the threshold, in units of the full range."""
        return (x - self._threshold()) / 255

    def levels(self) -> ActivationLevels:
        """Levels −1 and +1, threshold T."""
        threshold = Fraction(self._threshold().item())
        return ActivationLevels(Fraction(-1), Fraction(2), (threshold,), (False,))
