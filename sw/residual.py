"""Residual models: a stream of many bits, to which binary convolutions add.

AdaBin's, SiMaN's and ReActNet's residual networks are all rows of the same unit, one binary
convolution with a shortcut around it (Bi-Real Net, arXiv 1808.00278)::

    x ─┬─ binarise ─ convolution ─ batch norm ─┬─ add ─ two slopes ─
       └─────────────── shortcut ──────────────┘

and differ in how they binarise, and in their two slopes.
"""

from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.errors import NetworkError
from xnorflow.sw.models import IntegerPixels
from xnorflow.sw.nn.activations import ActivationQuantiser, AdaBinActivation, RSign
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.grid import Grid, place
from xnorflow.sw.nn.normed import NormedBinaryConv, NormedPixelConv, NormedPointwise, Quantised
from xnorflow.sw.nn.slopes import TwoSlope, maxout, prelu, relu, rprelu
from xnorflow.sw.nn.weights import AdaBinWeight, SignWeight, SiManForm, SiManWeight, WeightQuantiser


__all__ = [
    "Classifier",
    "NamedResidual",
    "Residual",
    "ResidualConfig",
    "ResidualMethod",
    "Shortcut",
    "Stream",
    "Unit",
    "UnitConfig",
    "pool_shift",
]

_KERNELS = 1, 3, 5, 7
_MAX_SIZE = 1 << 12
_MAX_PIXELS = 1 << 20


class ResidualMethod(Enum):
    """How a residual model binarises, and which two slopes it has."""

    ADABIN = "adabin"
    """Two adaptive levels for every filter, two learned levels; Maxout."""

    SIMAN = "siman"
    """Weights {0, α} that mark the larger half of the magnitudes, learned thresholds; PReLU."""

    SIMAN_BIPOLAR = "siman-bipolar"
    """The same bits as weights ±α, learned thresholds; PReLU."""

    REACTNET = "reactnet"
    """Sign with a scale for every filter, learned thresholds; RPReLU."""


class Shortcut(Enum):
    """What goes around a convolution that changes the shape."""

    PAD = "pad"
    """Every other row and column, and channels of zeros on both sides: nothing is learned."""

    AVERAGE = "average"
    """Means of 2 × 2 pixels, and a 1 × 1 convolution with integer weights."""


@dataclass(frozen=True)
class UnitConfig:
    """A binary convolution with its shortcut.

    Attributes
    ----------
    channels : int
        Filters: as many as before, or more.
    stride : int
        1 or 2.
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
        if not 1 <= self.channels <= _MAX_SIZE:
            raise NetworkError(
                f"the channels of a unit must be from 1 to {_MAX_SIZE}, not {self.channels}"
            )
        if self.stride not in (1, 2):
            raise NetworkError(f"the stride of a unit must be 1 or 2, not {self.stride}")
        if self.kernel not in _KERNELS:
            raise NetworkError(f"a kernel's side must be 1, 3, 5 or 7, not {self.kernel}")


@dataclass(frozen=True)
class ResidualConfig:
    """What a `Residual` is made of.

    Attributes
    ----------
    method : ResidualMethod
    stem : int
        Channels of the first convolution, 3 × 3, with integer weights on pixels.
    units : tuple of UnitConfig
    pixels : IntegerPixels
    shortcut : Shortcut
    input_shape : (height, width, channels)
    classes : int
    grid : Grid, optional
        Fixed-point numbers in the forward pass; without it the model is one of real numbers, and
        cannot be lowered.

    Raises
    ------
    NetworkError
        If a size is out of range.
    """

    method: ResidualMethod
    stem: int
    units: tuple[UnitConfig, ...]
    pixels: IntegerPixels
    shortcut: Shortcut = Shortcut.PAD
    input_shape: tuple[int, int, int] = (32, 32, 3)
    classes: int = 10
    grid: Grid | None = None

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
        if prod(self.input_shape) > _MAX_PIXELS:
            raise NetworkError(
                f"an input must have at most {_MAX_PIXELS} values, not {prod(self.input_shape)}"
            )
        if not 1 <= self.stem <= _MAX_SIZE or not 2 <= self.classes <= _MAX_SIZE:
            raise NetworkError(
                f"there must be 1 to {_MAX_SIZE} channels and 2 to {_MAX_SIZE} classes, "
                f"not {self.stem} and {self.classes}"
            )
        height, width, before = *self.input_shape[:2], self.stem
        for unit in self.units:
            if unit.channels < before:
                raise NetworkError(
                    f"a unit must not have fewer channels than the one before it: {unit.channels} "
                    f"after {before}"
                )
            if self.shortcut is Shortcut.AVERAGE and unit.stride == 2 and (height | width) & 1:
                raise NetworkError(f"a map of {height}×{width} has no means of 2×2 pixels")
            height, width = -(-height // unit.stride), -(-width // unit.stride)
            before = unit.channels

    def __str__(self) -> str:
        runs = [
            f"{len(list(run))}×{channels}"
            for channels, run in groupby(unit.channels for unit in self.units)
        ]
        return f"residual {self.stem}, units {' '.join(runs)}"


class NamedResidual(Enum):
    """Residual models that have a name."""

    RESNET20 = "resnet20"
    """He's for CIFAR-10: three stages of 16, 32 and 64 channels, of six convolutions each."""

    RESNET18 = "resnet18"
    """For CIFAR-10: four stages of 64 to 512 channels, of four convolutions each."""

    RESNET8 = "resnet8"
    """Two convolutions in each of three stages: for small pictures and small FPGAs."""

    def config(
        self,
        method: ResidualMethod,
        pixels: IntegerPixels,
        *,
        input_shape: tuple[int, int, int] = (32, 32, 3),
        classes: int = 10,
        grid: Grid | None = None,
    ) -> ResidualConfig:
        """What the model is made of; the parameters are those of `ResidualConfig`."""
        widths: tuple[int, ...]
        match self:
            case NamedResidual.RESNET20:
                widths, depth, shortcut = (16, 32, 64), 6, Shortcut.PAD
            case NamedResidual.RESNET18:
                widths, depth, shortcut = (64, 128, 256, 512), 4, Shortcut.AVERAGE
            case NamedResidual.RESNET8:
                widths, depth, shortcut = (16, 32, 64), 2, Shortcut.PAD
        units = tuple(
            UnitConfig(channels, stride=2 if stage and not n else 1)
            for stage, channels in enumerate(widths)
            for n in range(depth)
        )
        return ResidualConfig(
            method, widths[0], units, pixels, shortcut, input_shape, classes, grid
        )


class Stream(NamedTuple):
    """Values of the residual stream: what is carried, and what is still to be added to it.

    Attributes
    ----------
    value : (N, channels, H, W)
    bias : (channels,), or None
        Added by nobody, but taken into account by everything that reads the stream.
    """

    value: Tensor
    bias: Tensor | None = None


class Unit(nn.Module):
    """A binary convolution with its shortcut, and the two slopes behind them."""

    def __init__(self, config: ResidualConfig, unit: UnitConfig, channels: int) -> None:
        super().__init__()
        self.stride = unit.stride
        self.extra = unit.channels - channels
        self.conv = NormedBinaryConv(
            BinaryConv2d(
                channels,
                unit.channels,
                unit.kernel,
                _weight_quantiser(config.method, unit.channels),
                _activation_quantiser(config.method, channels),
                stride=unit.stride,
                padding=unit.kernel // 2,
            )
        )
        changes = unit.stride > 1 or self.extra > 0
        self.pointwise = (
            NormedPointwise(channels, unit.channels)
            if changes and config.shortcut is Shortcut.AVERAGE
            else None
        )
        self.slopes = _slopes(config.method, unit.channels)

    def shortcut(self, x: Stream, grid: Grid | None) -> Stream:
        """What is added to the convolution."""
        value, bias = x
        if self.pointwise is not None:
            value = self.pool(value, grid)
            return Stream(self.pointwise(value, bias, grid))
        if self.stride > 1:
            value = value[:, :, :: self.stride, :: self.stride]
        if self.extra:
            before = self.extra // 2
            value = functional.pad(value, (0, 0, 0, 0, before, self.extra - before))
            bias = None if bias is None else functional.pad(bias, (before, self.extra - before))
        return Stream(value, bias)

    def pool(self, value: Tensor, grid: Grid | None) -> Tensor:
        """Means of 2 × 2 pixels, where the stride asks for them."""
        if self.stride == 1:
            return value
        y = functional.avg_pool2d(value, self.stride)
        if grid is None:
            return y
        with torch.no_grad():
            exact = grid.settle(y * 2.0**grid.fraction)
        return place(y, exact)

    def offset(self, shortcut: Stream) -> Tensor | None:
        """What the convolution's constant takes over from others: (filters,)."""
        terms = [term for term in (shortcut.bias, self.slopes.before) if term is not None]
        return sum(terms[1:], terms[0]) if terms else None

    def forward(
        self,
        x: Stream,
        weights: Quantised,
        grid: Grid | None,
        trace: dict[str, Tensor] | None = None,
    ) -> Stream:
        """Map ``x`` to the stream behind this unit; ``trace`` gets what it consists of.

        The ``weights`` are those of ``conv``: how they are quantised changes as training goes on,
        and what is left can be compiled once for all units of a shape.
        """
        shortcut = self.shortcut(x, grid)
        y = self.conv(x.value, weights, x.bias, self.offset(shortcut), grid)
        total = y + shortcut.value
        if grid is not None:
            type_, unit = grid.rounding(0).type, 2.0**-grid.fraction
            total = total.clamp(type_.low * unit, type_.high * unit)
        out = self.slopes(total, grid)
        if trace is not None:
            trace |= {
                "bits": self.distance(x),
                "norm": y,
                "short": shortcut.value,
                "add": total,
                "act": out,
            }
        return Stream(out, self.slopes.after)

    def distance(self, x: Stream) -> Tensor:
        """How far ``x`` is above the thresholds: (N, channels, H, W)."""
        value = x.value if x.bias is None else x.value + x.bias[:, None, None]
        quantiser = self.conv.conv.activation_quantiser
        return quantiser.distance(value.movedim(1, -1)).movedim(-1, 1)


class Classifier(nn.Module):
    """Global average, batch normalisation, and a dense layer.

    On the grid, scores are ``Σ q·x + o`` with integers q and o, and x the sum over all pixels,
    divided by the next power of two and rounded to the stream: one scale for all classes, so that
    the largest score is the largest logit.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.dense = nn.Linear(channels, classes)

    def forward(self, x: Stream, grid: Grid | None) -> Tensor:
        """Logits (N, classes) of a stream."""
        return self._compute(x, grid)[0]

    def fold(self, x: Stream, grid: Grid) -> tuple[Tensor, Tensor]:
        """Integers q (classes, channels) and o (classes,), in evaluation mode."""
        _, weights, offsets = self._compute(x, grid)
        assert weights is not None
        assert offsets is not None
        return weights, offsets

    def _compute(self, x: Stream, grid: Grid | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        value, bias = x
        norm = self.norm
        mean = value.mean(dim=(2, 3))
        if bias is not None:
            mean = mean + bias
        logits = self.dense(norm(mean))
        if grid is None:
            return logits, None, None
        with torch.no_grad(), torch.autocast(value.device.type, enabled=False):
            if self.training:
                variance, centre = torch.var_mean(mean, dim=0, correction=0)
            else:
                assert norm.running_mean is not None
                assert norm.running_var is not None
                variance, centre = norm.running_var, norm.running_mean
            gain = norm.weight * (variance + norm.eps).rsqrt()
            pixels = value.shape[2] * value.shape[3]
            unit, share = 2.0**grid.fraction, 2.0 ** -pool_shift(pixels)
            weight = self.dense.weight * gain / (pixels * share)
            shift = norm.bias - gain * (centre if bias is None else centre - bias)
            scale = weight.abs().max() / (2 ** (grid.score_bits - 1) - 1)
            q = (weight / scale).round()
            o = ((self.dense.weight @ shift + self.dense.bias) / scale * unit).round()
            x_grid = grid.settle(value.sum(dim=(2, 3)) * (unit * share)) * unit
            exact = functional.linear(x_grid, q, o) * (scale / unit)
        return place(logits, exact), q, o


def pool_shift(pixels: int) -> int:
    """Bits by which a sum over so many pixels is shifted, so that it fits the stream."""
    return (pixels - 1).bit_length()


class Residual(nn.Module):
    """A first layer on pixels, units with shortcuts, and a classifier.

    Parameters
    ----------
    config : ResidualConfig

    Attributes
    ----------
    grid : Grid or None
        That of the configuration. A trained model can be put on another one.
    """

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        self.config = config
        pixels = config.pixels
        self.stem = NormedPixelConv(
            IntegerConv2d(
                config.input_shape[2],
                config.stem,
                3,
                mean=pixels.mean,
                deviation=pixels.deviation,
                bits=pixels.bits,
                padding=1,
            )
        )
        self.stem_slopes = (
            maxout(config.stem) if config.method is ResidualMethod.ADABIN else relu(config.stem)
        )
        units = []
        channels = config.stem
        for unit in config.units:
            units.append(Unit(config, unit, channels))
            channels = unit.channels
        self.units = nn.ModuleList(units)
        self.classifier = Classifier(channels, config.classes)

    @property
    def grid(self) -> Grid | None:
        """Fixed-point numbers that the model computes with."""
        return self.config.grid

    def on_grid(self, grid: Grid | None) -> "Residual":
        """The same model, parameters shared, with other fixed-point numbers."""
        model = Residual(replace(self.config, grid=grid))
        model.load_state_dict(self.state_dict(), assign=True)
        return model.train(self.training)

    def compile_parts(self) -> None:
        """Let PyTorch compile what works on whole streams, the first time that it is called."""
        for part in (self.stem, self.stem_slopes, *self.units):
            part.compile()

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes) of raw ``pixels`` (N, height, width, channels) in 0…255."""
        return self.classifier(self._stream(pixels), self.grid)

    def trace(self, pixels: Tensor) -> dict[str, Tensor]:
        """Everything that flows between the parts, for the same ``pixels``.

        Returns
        -------
        dict of str to tensor
            By the names of the network's nodes: stream values (N, channels, H, W), how far they
            are above the thresholds (``…_bits``), and under ``label`` the logits (N, classes).
        """
        values: dict[str, Tensor] = {}
        stream = self._stream(pixels, values)
        return values | {"label": self.classifier(stream, self.grid)}

    def _stream(self, pixels: Tensor, trace: dict[str, Tensor] | None = None) -> Stream:
        x = pixels.to(self.classifier.dense.weight.dtype).permute(0, 3, 1, 2)
        y = self.stem(x, self.grid)
        stream = Stream(self.stem_slopes(y, self.grid))
        if trace is not None:
            trace |= {"stem_norm": y, "stem_act": stream.value}
        for n, unit in enumerate(self.units, 1):
            assert isinstance(unit, Unit)
            parts: dict[str, Tensor] | None = None if trace is None else {}
            stream = unit(stream, unit.conv.quantise(), self.grid, parts)
            if trace is not None and parts is not None:
                trace |= {f"unit{n}_{name}": value for name, value in parts.items()}
        return stream


def _weight_quantiser(method: ResidualMethod, filters: int) -> WeightQuantiser:
    match method:
        case ResidualMethod.ADABIN:
            # What the grid rounds is ρ times the scale.
            return AdaBinWeight(fraction=None)
        case ResidualMethod.SIMAN | ResidualMethod.SIMAN_BIPOLAR:
            half = method is ResidualMethod.SIMAN
            quantiser = SiManWeight(filters, SiManForm.HALF if half else SiManForm.BIPOLAR)
            # Batch normalisation undoes the scale.
            quantiser.log_scale.requires_grad_(False)
            return quantiser
        case ResidualMethod.REACTNET:
            return SignWeight()


def _activation_quantiser(method: ResidualMethod, channels: int) -> ActivationQuantiser:
    return AdaBinActivation() if method is ResidualMethod.ADABIN else RSign(channels)


def _slopes(method: ResidualMethod, channels: int) -> TwoSlope:
    match method:
        case ResidualMethod.ADABIN:
            return maxout(channels)
        case ResidualMethod.REACTNET:
            return rprelu(channels)
        case _:
            return prelu(channels)
