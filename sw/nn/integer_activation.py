"""Activations of few bits, with a learned scale."""

from abc import abstractmethod
from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.errors import LoweringError, NetworkError
from xnorflow.ir import MAX_LEVEL_BITS
from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.quantiser import ActivationLevels, ActivationQuantiser, ActivationSteps


__all__ = ["IntegerActivation", "ScaledActivation"]

_SEVERAL = "activations of several levels cannot be read as bits"


class ScaledActivation(ActivationQuantiser):
    """A learned scale times one of several levels; its gradients are LSQ's.

    Parameters
    ----------
    low, high : float
        The lowest and the highest level.
    scale : float
        First scale s > 0.

    Attributes
    ----------
    log_scale : scalar
        Natural logarithm of s.
    """

    def __init__(self, low: float, high: float, scale: float) -> None:
        super().__init__()
        if not scale > 0:
            raise NetworkError(f"the scale of activations must be above 0, not {scale!r}")
        self.low, self.high = low, high
        self.log_scale = nn.Parameter(torch.tensor(float(scale)).log())

    def scale(self) -> Tensor:
        """Factor of the levels, s."""
        return self.log_scale.exp()

    def distance(self, _x: Tensor) -> Tensor:
        """There is not just one threshold."""
        raise LoweringError(_SEVERAL)

    @abstractmethod
    def nearest(self, x: Tensor) -> Tensor:
        """Level of ``x``, without the scale; same shape."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Level, of the shape of ``x``, and scale, a scalar."""
        share = (x[0].numel() * max(self.high, 1)) ** -0.5
        scale = self.scale()
        # The value is that of the scale, its gradient that share of its own.
        slow = scale.detach() + share * (scale - scale.detach())
        inside = (x / slow).clamp(self.low, self.high)
        code = inside + (self.nearest(x) - inside).detach()
        # What flows into the code flows on to x, but the scale has its whole gradient in the sum.
        return code, slow

    def levels(self) -> ActivationLevels:
        """There are more than two."""
        raise LoweringError(_SEVERAL)


class IntegerActivation(ScaledActivation):
    """``s · clip(round(x / s))`` with a learned scale s > 0; ties are rounded up.

    Gradients: that of the identity within the range, and LSQ's for the scale. Source: LSQ, arXiv
    1902.08153.

    Parameters
    ----------
    bits : int
        From 1 to 4 unsigned, or from 2 to 4 signed.
    signed : bool
        Whether codes are −2^(bits − 1)…2^(bits − 1) − 1, otherwise 0…2^bits − 1.
    narrow : bool
        Whether signed codes are symmetric: those of 2 bits are −1, 0 and 1.
    scale : float
        First s.

    Attributes
    ----------
    log_scale : scalar
        Natural logarithm of s.

    Examples
    --------
    >>> nn.IntegerActivation(2)(torch.tensor([[-1.0, 0.4, 1.6, 7.0]])).tolist()
    [[0.0, 0.0, 2.0, 3.0]]
    """

    low: int
    high: int

    def __init__(
        self, bits: int, *, signed: bool = False, narrow: bool = False, scale: float = 1.0
    ) -> None:
        check_sizes(bits=bits, least=1 + signed)
        check_kind("signed", signed, bool)
        check_kind("narrow", narrow, bool)
        if bits > MAX_LEVEL_BITS:
            raise NetworkError(f"activations have at most {MAX_LEVEL_BITS} bits, not {bits}")
        low = narrow - 2 ** (bits - 1) if signed else 0
        super().__init__(low, 2 ** (bits - signed) - 1, scale)

    @property
    def _binary(self) -> bool:
        return self.high - self.low == 1

    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` is above the threshold, if there is just one; same shape."""
        if not self._binary:
            raise LoweringError(_SEVERAL)
        return x - (self.low + 0.5) * self.scale()

    def observed(self, x: Tensor) -> Tensor:
        """Distances of ``x`` if there are two levels, otherwise steps that are reached."""
        return self.distance(x) if self._binary else self.nearest(x) - self.low

    def nearest(self, x: Tensor) -> Tensor:
        """Code of ``x``; same shape."""
        return (x / self.scale() + 0.5).floor().clamp(self.low, self.high)

    def levels(self) -> ActivationLevels:
        """Exact levels and threshold, if there are two levels."""
        if not self._binary:
            raise LoweringError(_SEVERAL)
        unit = Fraction(self.scale().item())
        threshold = unit * (self.low + Fraction(1, 2))
        return ActivationLevels(unit * self.low, unit, (threshold,), (False,))

    def steps(self) -> ActivationSteps | None:
        """Exact codes and thresholds, of the scale in float64; None if there are two levels."""
        if self._binary:
            return None
        unit = Fraction(self.scale().item())
        codes = range(self.low + 1, self.high + 1)
        rows = tuple((unit * (code - Fraction(1, 2)),) for code in codes)
        return ActivationSteps(self.low, unit, rows, (False,) * len(rows))
