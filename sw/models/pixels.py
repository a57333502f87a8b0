"""First layers on normalised pixels."""

from dataclasses import dataclass

from xnorflow.errors import NetworkError
from xnorflow.sw.nn.arguments import check_bits


__all__ = ["IntegerPixels"]

_LEAST_DEVIATION = 1 / 256


@dataclass(frozen=True)
class IntegerPixels:
    """A first layer of integer weights, on normalised pixels.

    Attributes
    ----------
    mean, deviation : tuple of float, (channels,)
        Of pixels in 0…1.
    bits : int
        Width of the weights; 1 stands for ±1.

    Raises
    ------
    NetworkError
        If a value is out of range.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    bits: int = 8

    def __post_init__(self) -> None:
        for name in ("mean", "deviation"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not all(0 <= value <= 1 for value in self.mean):
            raise NetworkError(f"the means of pixels must be from 0 to 1, not {self.mean}")
        if not all(_LEAST_DEVIATION <= value <= 1 for value in self.deviation):
            raise NetworkError(
                f"the deviations of pixels must be from {_LEAST_DEVIATION} to 1, "
                f"not {self.deviation}"
            )
        check_bits(self.bits)
