"""Integer weights, of first and last layers."""

from torch import Tensor

from xnorflow.errors import LoweringError
from xnorflow.sw.nn.arguments import check_bits, check_kind
from xnorflow.sw.nn.gradients import round_through, sign_clipped
from xnorflow.sw.nn.quantiser import WeightLevels, WeightQuantiser, share


__all__ = ["IntegerWeight"]


# Keeps the scale away from 0.
_LEAST_SCALE = 2.0**-40


class IntegerWeight(WeightQuantiser):
    """``s·round(w/s)`` with s = max|w|/(2^(bits − 1) − 1), through which no gradient flows.

    Gradient: 1. The integers are symmetric, so a filter can be negated. A single bit gives
    ``s·sign(w)`` as `SignWeight` does, integers ±1 that are only added or subtracted.

    Parameters
    ----------
    bits : int
        From 1 to 16.
    shared_scale : bool
        One s for the whole layer, otherwise one for each filter.

    Examples
    --------
    >>> weight = torch.tensor([[0.5, -1.5, 1.0, -1.0]])
    >>> nn.IntegerWeight(2)(weight).tolist()
    [[0.0, -1.5, 1.5, -1.5]]
    """

    def __init__(self, bits: int = 8, *, shared_scale: bool = False) -> None:
        super().__init__()
        check_bits(bits)
        check_kind("shared_scale", shared_scale, bool)
        self.bits = bits
        self.shared_scale = shared_scale

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integers (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        magnitude = weight.detach().abs()
        if self.bits == 1:
            scale = magnitude.mean(dim=1).clamp_min(_LEAST_SCALE)
            return sign_clipped(weight), share(scale) if self.shared_scale else scale
        largest = magnitude.amax(dim=1)
        if self.shared_scale:
            largest = largest.amax().expand(largest.shape)
        scale = (largest / (2 ** (self.bits - 1) - 1)).clamp_min(_LEAST_SCALE)
        return round_through(weight / scale[:, None]), scale

    def levels(self, _weight: Tensor) -> WeightLevels:
        """There are more than two."""
        raise LoweringError("integer weights cannot be read as bits")
