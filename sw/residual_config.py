"""What residual models are made of: a method, a first layer, units with shortcuts, a grid."""

from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from math import prod

from xnorflow.errors import NetworkError
from xnorflow.sw.models.chain import MAX_PIXELS
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.dynamic import HyperConfig
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.unit import Shortcut


__all__ = [
    "ResidualConfig",
    "ResidualMethod",
    "StemConfig",
    "UnitConfig",
    "UnitForm",
]

_KERNELS = 1, 3, 5, 7
_MAX_SIZE = 1 << 12


class UnitForm(Enum):
    """What a unit consists of: see `xnorflow.sw.nn.unit`."""

    BIREAL = "bireal"
    """A convolution, and the method's two slopes."""

    CLASSIC = "classic"
    """Two convolutions, with hardtanh behind each of them."""


@dataclass(frozen=True)
class StemConfig:
    """A first layer: a convolution of pixels with integer weights, and batch normalisation.

    Attributes
    ----------
    channels : int
        Filters.
    kernel : int
        Side of the kernel (1, 3, 5 or 7); the padding keeps the size.
    stride : int
        1 or 2.
    activated : bool
        With Maxout or ReLU behind it, as the method has it.
    pooled : bool
        Then the largest of the 3 × 3 values around every other pixel.

    Raises
    ------
    NetworkError
        If a value is out of range.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    activated: bool = True
    pooled: bool = False

    def __post_init__(self) -> None:
        _check_convolution("first layer", self.channels, self.stride, self.kernel)


@dataclass(frozen=True)
class UnitConfig:
    """Binary convolutions with a shortcut around them.

    Attributes
    ----------
    channels : int
        Filters: as many as before, or more.
    stride : int
        1 or 2; of two convolutions, that of the first.
    kernel : int
        Side of the kernel (1, 3, 5 or 7); the padding keeps the size.

    Raises
    ------
    NetworkError
        If a value is out of range.
    """

    channels: int
    stride: int = 1
    kernel: int = 3

    def __post_init__(self) -> None:
        _check_convolution("unit", self.channels, self.stride, self.kernel)


@dataclass(frozen=True)
class ResidualConfig:
    """What a `Residual` is made of.

    Attributes
    ----------
    method : ResidualMethod
    stem : StemConfig
    units : tuple of UnitConfig
    pixels : IntegerPixels
    shortcut : Shortcut
        Of units that change the shape.
    input_shape : (height, width, channels)
    classes : int
    grid : Grid, optional
        Fixed-point numbers in the forward pass; without it the model is a floating-point one, and
        cannot be lowered.
    form : UnitForm
    hyper : HyperConfig
        Of thresholds and shifts that follow from the frame.

    Raises
    ------
    NetworkError
        If a size is out of range, or if the shortcut does not suit the units.
    """

    method: ResidualMethod
    stem: StemConfig
    units: tuple[UnitConfig, ...]
    pixels: IntegerPixels
    shortcut: Shortcut = Shortcut.PAD
    input_shape: tuple[int, int, int] = (32, 32, 3)
    classes: int = 10
    grid: Grid | None = None
    form: UnitForm = UnitForm.BIREAL
    hyper: HyperConfig = field(default_factory=HyperConfig)

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise NetworkError(
                f"an input must have a height, a width and channels, not {self.input_shape}"
            )
        channels = self.input_shape[2]
        if not len(self.pixels.mean) == len(self.pixels.deviation) == channels:
            raise NetworkError(
                f"mean and deviation must have {channels} channels, "
                f"not {len(self.pixels.mean)} and {len(self.pixels.deviation)}"
            )
        if prod(self.input_shape) > MAX_PIXELS:
            raise NetworkError(
                f"an input must have at most {MAX_PIXELS} values, not {prod(self.input_shape)}"
            )
        if not 2 <= self.classes <= _MAX_SIZE:
            raise NetworkError(f"there must be 2 to {_MAX_SIZE} classes, not {self.classes}")
        if self.form is UnitForm.CLASSIC and self.grid is not None and not self.grid.fraction:
            raise NetworkError("hardtanh needs fractional bits, and the grid has none")
        if self.method.dynamic and (
            self.form is UnitForm.CLASSIC or self.shortcut is Shortcut.BINARY
        ):
            raise NetworkError(
                f"{self.method.value} is for units of one convolution, with a shortcut that has "
                "none of bits"
            )
        self._check_units()

    def _check_units(self) -> None:
        height, width, before = *self.input_shape[:2], self.stem.channels
        for stride in (self.stem.stride, 2 if self.stem.pooled else 1):
            height, width = -(-height // stride), -(-width // stride)
        averages = self.shortcut in (Shortcut.AVERAGE, Shortcut.REPEAT)
        for unit in self.units:
            if unit.channels < before:
                raise NetworkError(
                    f"a unit must not have fewer channels than the one before it: {unit.channels} "
                    f"after {before}"
                )
            if self.shortcut is Shortcut.REPEAT and unit.channels not in (before, 2 * before):
                raise NetworkError(
                    "a shortcut that repeats channels makes them twice as many, "
                    f"not {unit.channels} of {before}"
                )
            if averages and unit.stride == 2 and (height | width) & 1:
                raise NetworkError(f"a map of {height}×{width} has no means of 2×2 pixels")
            height, width = -(-height // unit.stride), -(-width // unit.stride)
            before = unit.channels

    def __str__(self) -> str:
        runs = [
            f"{len(list(run))}×{channels}"
            for channels, run in groupby(unit.channels for unit in self.units)
        ]
        form = "" if self.form is UnitForm.BIREAL else f"{self.form.value} "
        return f"residual {self.stem.channels}, {form}units {' '.join(runs)}"


def _check_convolution(what: str, channels: int, stride: int, kernel: int) -> None:
    if not 1 <= channels <= _MAX_SIZE:
        raise NetworkError(
            f"the channels of a {what} must be from 1 to {_MAX_SIZE}, not {channels}"
        )
    if stride not in (1, 2):
        raise NetworkError(f"the stride of a {what} must be 1 or 2, not {stride}")
    if kernel not in _KERNELS:
        raise NetworkError(f"a kernel's side must be 1, 3, 5 or 7, not {kernel}")
