"""Protocol of quantisers: what layers, training and lowering ask of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.gradients import sign_bireal


__all__ = [
    "ActivationLevels",
    "ActivationQuantiser",
    "ActivationSteps",
    "Delivered",
    "WeightLevels",
    "WeightQuantiser",
    "decode",
    "exact_rows",
    "share",
    "share_exactly",
]


@dataclass(frozen=True)
class ActivationLevels:
    """Exact description of an activation quantiser: ``low + step · u``.

    Attributes
    ----------
    low, step : Fraction
        The level of u = 0, and what u = 1 adds to it.
    thresholds : tuple of Fraction
        u = (x ≥ threshold), for every channel, or one threshold for all of them.
    inverted : tuple of bool
        Whether the comparison with each threshold is inverted: u = (x ≤ threshold).
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


@dataclass(frozen=True)
class ActivationSteps:
    """Exact description of an activation quantiser of few bits: ``unit · (low + code)``.

    The code is the number of steps that are reached, or that of ``codes`` in this place.

    Attributes
    ----------
    low : int or Fraction
        Code of the lowest level.
    unit : Fraction
        Value of the code 1.
    thresholds : tuple of tuple of Fraction, (steps, channels) or (steps, 1)
        In ascending order for each channel: a step is reached where x ≥ threshold.
    strict : tuple of bool, (steps,)
        Steps that are reached only where x > threshold: those of rounding that takes ties to even.
    codes : tuple of int, (steps + 1,), or empty
        Rising codes from 0 on, where they are others than 0, 1, 2, …
    """

    low: int | Fraction
    unit: Fraction
    thresholds: tuple[tuple[Fraction, ...], ...]
    strict: tuple[bool, ...]
    codes: tuple[int, ...] = ()


class ActivationQuantiser(nn.Module, ABC):
    """A real tensor → two levels; −1 and +1, unless a quantiser says otherwise.

    Layers call `encode`, which has the channels last. Called as a module of its own, it has them in
    dimension 1, as PyTorch's layers do.
    """

    @abstractmethod
    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` (..., channels) is above the threshold; same shape."""

    def observed(self, x: Tensor) -> Tensor:
        """What a comparison with the network looks at: distances, or codes of several levels."""
        return self.distance(x)

    def centre(self) -> Tensor | None:
        """Middle of the two codes; None stands for 0."""
        return None

    def scale(self) -> Tensor | float:
        """Factor of the codes, a scalar."""
        return 1.0

    def signs(self, x: Tensor) -> Tensor:
        """Code without its centre: ±1, of the shape of ``x``; the gradient is Bi-Real's."""
        return sign_bireal(self.distance(x))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Code, of the shape of ``x``, and scale, a scalar."""
        signs, centre = self.signs(x), self.centre()
        return signs if centre is None else signs + centre, self.scale()

    def forward(self, x: Tensor) -> Tensor:
        """Quantise ``x`` (N, channels, …), as a module of its own; same shape."""
        code, scale = self.encode(x.movedim(1, -1))
        return code.movedim(-1, 1) * scale

    @abstractmethod
    def levels(self) -> ActivationLevels:
        """Exact levels and thresholds, of the parameters in float64."""

    def steps(self) -> ActivationSteps | None:
        """The same of a quantiser that has more than two levels; None of one that has two."""
        return None


class Delivered(ActivationQuantiser):
    """No quantiser: the input is what an activation quantiser in front of the layer delivered."""

    def distance(self, _x: Tensor) -> Tensor:
        """There is no threshold."""
        raise LoweringError(_DELIVERED)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """``x`` as it is."""
        return x, 1.0

    def levels(self) -> ActivationLevels:
        """There are none of its own."""
        raise LoweringError(_DELIVERED)


_DELIVERED = "a layer must have an activation quantiser of its own here"


@dataclass(frozen=True)
class WeightLevels:
    """Exact description of a weight quantiser: ``α · (2v − 1 + ρ)`` of each filter.

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


class WeightQuantiser(nn.Module, ABC):
    """A real matrix → two levels for each of its rows.

    It takes (filters, synapses) and splits its result into a *code*, which carries the bits, and a
    *scale*: ``forward(w) = code · scale``, with shapes (filters, synapses) and (filters,). A code
    lies on a binary grid, so that codes are added without rounding.

    Attributes
    ----------
    progress : float
        Fraction of training that is over. The trainer sets it.
    centred : float
        Quantisers whose levels are not symmetric may have symmetric ones at first: on the way from
        these to their own it falls from 1 to 0. The trainer sets it.
    """

    def __init__(self) -> None:
        super().__init__()
        # Tensors, because what PyTorch compiled is compiled anew for every other number.
        self._progress = torch.zeros((), dtype=torch.float64, device="cpu")
        self._centred = torch.zeros((), dtype=torch.float64, device="cpu")

    @property
    def progress(self) -> float:
        """Fraction of training that is over."""
        return self._progress.item()

    @progress.setter
    def progress(self, value: float) -> None:
        self._progress.fill_(value)

    @property
    def centred(self) -> float:
        """How far levels still are on the way from symmetric ones."""
        return self._centred.item()

    @centred.setter
    def centred(self, value: float) -> None:
        self._centred.fill_(value)

    @property
    def unipolar(self) -> bool:
        """Whether codes are 0 and 1, for the and gate, and not −1 and +1 about a centre."""
        return False

    @abstractmethod
    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Code (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""

    @abstractmethod
    def levels(self, weight: Tensor) -> WeightLevels:
        """Exact levels of the float64 ``weight`` (filters, synapses)."""

    def split(self, weight: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Code, its centre ρ (filters,) if that is separate, and scale: see `encode`."""
        code, scale = self.encode(weight)
        return code, None, scale

    def forward(self, weight: Tensor) -> Tensor:
        """Quantise ``weight`` (filters, synapses); same shape."""
        return decode(self.encode(weight))

    def reset(self, weight: Tensor) -> None:
        """Give parameters of its own the values that suit the first ``weight``."""

    def to_signed(self, weight: Tensor) -> Tensor:
        """Weights whose signs are the bits of ``weight`` (filters, synapses), for a warm start."""
        return weight

    def from_signed(self, weight: Tensor) -> Tensor:
        """Latent weights, the bits of which are the signs of ``weight``, as far as they can be."""
        return weight


def decode(parts: tuple[Tensor, Tensor]) -> Tensor:
    """Product of a code and the scale of each row."""
    code, scale = parts
    return code * scale[:, None]


def share(values: Tensor) -> Tensor:
    """Their mean, in place of each of ``values`` (filters,)."""
    return values.mean().expand(values.shape)


def share_exactly(values: list[Fraction]) -> list[Fraction]:
    """Their mean, in place of each of ``values``."""
    return [sum(values, Fraction()) / len(values)] * len(values)


def exact_rows(weight: Tensor) -> tuple[list[list[int]], Fraction]:
    """Rows of ``weight`` as integers, and the power of two that is their unit.

    Sums of integers are much faster than sums of fractions.
    """
    ratios = [
        [value.as_integer_ratio() for value in row] for row in weight.detach().double().tolist()
    ]
    unit = max(denominator for row in ratios for _, denominator in row)
    rows = [[numerator * (unit // denominator) for numerator, denominator in row] for row in ratios]
    return rows, Fraction(1, unit)
