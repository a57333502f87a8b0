"""Residual models: a stream of many bits, to which binary convolutions add.

AdaBin's, SiMaN's and ReActNet's residual networks are all a first layer on pixels, rows of units
(`xnorflow.sw.nn.unit`) and a classifier. They differ in how they binarise, in what is behind their
sums, and in the shortcuts of units that change the shape.
"""

from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.errors import NetworkError
from xnorflow.sw.models import IntegerPixels
from xnorflow.sw.nn.activations import ActivationQuantiser, AdaBinActivation, RSign, Sign
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.dynamic import DyPReLU, DySign, FrameMean
from xnorflow.sw.nn.grid import Grid, mean_shift, place
from xnorflow.sw.nn.normed import NormedBinaryConv, NormedPixelConv
from xnorflow.sw.nn.slopes import TwoSlope, maxout, prelu, relu, rprelu
from xnorflow.sw.nn.unit import Shortcut, Stream, Unit
from xnorflow.sw.nn.weights import AdaBinWeight, SignWeight, SiManForm, SiManWeight, WeightQuantiser


__all__ = [
    "Classifier",
    "NamedResidual",
    "Residual",
    "ResidualConfig",
    "ResidualMethod",
    "StemConfig",
    "UnitConfig",
    "UnitForm",
]

_KERNELS = 1, 3, 5, 7
_MAX_SIZE = 1 << 12
_MAX_PIXELS = 1 << 20


class ResidualMethod(Enum):
    """How a residual model binarises, and which two slopes it has."""

    ADABIN = "adabin"
    """Two adaptive levels for every filter, two learned levels; Maxout."""

    SIMAN = "siman"
    """Weights {0, α} that mark the larger half of the magnitudes, learned thresholds, half of them
    turned round; PReLU.
    """

    SIMAN_BIPOLAR = "siman-bipolar"
    """The same bits as weights ±α, learned thresholds; PReLU."""

    REACTNET = "reactnet"
    """Sign with a scale for every filter, learned thresholds; RPReLU."""

    DYBNN = "dybnn"
    """ReActNet's, with thresholds and shifts that follow from the means of what a unit gets."""

    DYBNN_APART = "dybnn-apart"
    """The same, but the shifts follow from the means of the sums that they shift."""

    SIMAN_MEAN = "siman-mean"
    """SiMaN's weights ±α, and the mean of each frame as threshold; PReLU."""

    @property
    def dynamic(self) -> bool:
        """Whether thresholds follow from the frame."""
        ways = ResidualMethod.DYBNN, ResidualMethod.DYBNN_APART, ResidualMethod.SIMAN_MEAN
        return self in ways


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
        Fixed-point numbers in the forward pass; without it the model is one of real numbers, and
        cannot be lowered.
    form : UnitForm

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


class NamedResidual(Enum):
    """Residual models that have a name."""

    RESNET20 = "resnet20"
    """He's for CIFAR-10: three stages of 16, 32 and 64 channels, of six convolutions each."""

    RESNET18 = "resnet18"
    """For CIFAR-10: four stages of 64 to 512 channels, of four convolutions each."""

    RESNET18_CLASSIC = "resnet18-classic"
    """The same convolutions in SiMaN's form: hardtanh, and shortcuts around two of them."""

    RESNET18_IMAGENET = "resnet18-imagenet"
    """For ImageNet: RESNET18 behind a first layer of 7 × 7 and a max-pool."""

    RESNET8 = "resnet8"
    """Two convolutions in each of three stages: for small pictures and small FPGAs."""

    REACTNET_A = "reactnet-a"
    """ReActNet's MobileNet for CIFAR-10: 13 pairs of convolutions, 3 × 3 and 1 × 1."""

    REACTNET_A_IMAGENET = "reactnet-a-imagenet"
    """The same as ReActNet's authors have it, for ImageNet."""

    @property
    def method(self) -> ResidualMethod:
        """Whose model it is, if nothing else is said."""
        match self:
            case NamedResidual.RESNET18_CLASSIC:
                return ResidualMethod.SIMAN
            case NamedResidual.REACTNET_A | NamedResidual.REACTNET_A_IMAGENET:
                return ResidualMethod.REACTNET
            case _:
                return ResidualMethod.ADABIN

    @property
    def grid(self) -> Grid:
        """Fixed-point numbers, if nothing else is said: scores must not need more than 32 bits."""
        mobile = self in (NamedResidual.REACTNET_A, NamedResidual.REACTNET_A_IMAGENET)
        return Grid(bits=15 if mobile else 16)  # 1,024 channels, twice as many as others have

    @property
    def imagenet(self) -> bool:
        """Whether it is made for large pictures, of which it soon keeps every fourth row."""
        return self in (NamedResidual.RESNET18_IMAGENET, NamedResidual.REACTNET_A_IMAGENET)

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
        form = UnitForm.BIREAL
        match self:
            case NamedResidual.RESNET20:
                stem, units, shortcut = StemConfig(16), _stages(16, 32, 64, depth=6), Shortcut.PAD
            case NamedResidual.RESNET8:
                stem, units, shortcut = StemConfig(16), _stages(16, 32, 64, depth=2), Shortcut.PAD
            case NamedResidual.RESNET18 | NamedResidual.RESNET18_IMAGENET:
                stem = StemConfig(64, 7, 2, pooled=True) if self.imagenet else StemConfig(64)
                units, shortcut = _stages(64, 128, 256, 512, depth=4), Shortcut.AVERAGE
            case NamedResidual.RESNET18_CLASSIC:
                stem, shortcut = StemConfig(64, activated=False), Shortcut.BINARY
                units, form = _stages(64, 128, 256, 512, depth=2), UnitForm.CLASSIC
            case NamedResidual.REACTNET_A | NamedResidual.REACTNET_A_IMAGENET:
                stem = StemConfig(32, stride=2 if self.imagenet else 1, activated=False)
                units, shortcut = _mobile(32), Shortcut.REPEAT
        return ResidualConfig(
            method, stem, units, pixels, shortcut, input_shape, classes, grid, form
        )


def _stages(*widths: int, depth: int) -> tuple[UnitConfig, ...]:
    """Stages of so many channels and ``depth`` units, each at half the size of the one before."""
    return tuple(
        UnitConfig(channels, stride=2 if stage and not n else 1)
        for stage, channels in enumerate(widths)
        for n in range(depth)
    )


def _mobile(stem: int) -> tuple[UnitConfig, ...]:
    """MobileNet's pairs of convolutions, 3 × 3 and 1 × 1, behind so many channels."""
    units = []
    before = stem
    for channels in (64, *[128] * 2, *[256] * 2, *[512] * 6, *[1024] * 2):
        halves = channels > before > stem
        units += [UnitConfig(before, stride=2 if halves else 1), UnitConfig(channels, kernel=1)]
        before = channels
    return tuple(units)


def _check_convolution(what: str, channels: int, stride: int, kernel: int) -> None:
    if not 1 <= channels <= _MAX_SIZE:
        raise NetworkError(
            f"the channels of a {what} must be from 1 to {_MAX_SIZE}, not {channels}"
        )
    if stride not in (1, 2):
        raise NetworkError(f"the stride of a {what} must be 1 or 2, not {stride}")
    if kernel not in _KERNELS:
        raise NetworkError(f"a kernel's side must be 1, 3, 5 or 7, not {kernel}")


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
            unit, share = 2.0**grid.fraction, 2.0 ** -mean_shift(pixels)
            weight = self.dense.weight * gain / (pixels * share)
            shift = norm.bias - gain * (centre if bias is None else centre - bias)
            scale = weight.abs().max() / (2 ** (grid.score_bits - 1) - 1)
            q = (weight / scale).round()
            o = ((self.dense.weight @ shift + self.dense.bias) / scale * unit).round()
            x_grid = grid.settle(value.sum(dim=(2, 3)) * (unit * share)) * unit
            exact = functional.linear(x_grid, q, o) * (scale / unit)
        return place(logits, exact), q, o


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
        pixels, stem = config.pixels, config.stem
        self.stem = NormedPixelConv(
            IntegerConv2d(
                config.input_shape[2],
                stem.channels,
                stem.kernel,
                mean=pixels.mean,
                deviation=pixels.deviation,
                bits=pixels.bits,
                stride=stem.stride,
                padding=stem.kernel // 2,
            )
        )
        self.stem_slopes: TwoSlope | None = None
        if stem.activated:
            slopes = maxout if config.method is ResidualMethod.ADABIN else relu
            self.stem_slopes = slopes(stem.channels)
        units = []
        channels = stem.channels
        for unit in config.units:
            units.append(_unit(config, unit, channels))
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
            if part is not None:
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

    def enter(self, pixels: Tensor, trace: dict[str, Tensor] | None = None) -> Stream:
        """Stream that the first unit gets, of raw ``pixels`` (N, height, width, channels)."""
        x = pixels.to(self.classifier.dense.weight.dtype).permute(0, 3, 1, 2)
        steps = {"stem_norm": self.stem(x, self.grid)}
        value = steps["stem_norm"]
        if self.stem_slopes is not None:
            steps["stem_act"] = value = self.stem_slopes(value, self.grid)
        if self.config.stem.pooled:
            steps["stem_pool"] = value = functional.max_pool2d(value, 3, stride=2, padding=1)
        if trace is not None:
            trace |= steps
        return Stream(value)

    def _stream(self, pixels: Tensor, trace: dict[str, Tensor] | None = None) -> Stream:
        stream = self.enter(pixels, trace)
        for n, unit in enumerate(self.units, 1):
            assert isinstance(unit, Unit)
            parts: dict[str, Tensor] | None = None if trace is None else {}
            stream = unit(stream, unit.quantise(), self.grid, parts)
            if trace is not None and parts is not None:
                trace |= {f"unit{n}_{name}": value for name, value in parts.items()}
        return stream


def _unit(config: ResidualConfig, unit: UnitConfig, channels: int) -> Unit:
    """Unit that gets a stream of so many ``channels``."""
    method, filters = config.method, unit.channels
    changes = unit.stride > 1 or filters > channels

    def convolution(inputs: int, kernel: int, stride: int) -> NormedBinaryConv:
        return NormedBinaryConv(
            BinaryConv2d(
                inputs,
                filters,
                kernel,
                _weight_quantiser(method, filters),
                _activation_quantiser(method, inputs),
                stride=stride,
                padding=kernel // 2,
            )
        )

    if config.form is UnitForm.CLASSIC:
        first, slopes = convolution(channels, unit.kernel, unit.stride), None
        conv = convolution(filters, unit.kernel, 1)
    else:
        first, slopes = None, _slopes(method, filters)
        conv = convolution(channels, unit.kernel, unit.stride)
    projection = None
    if changes and config.shortcut is Shortcut.BINARY:
        projection = convolution(channels, 1, unit.stride)
    return Unit(
        conv,
        slopes,
        first=first,
        shortcut=config.shortcut,
        projection=projection,
        sign=_sign(method, channels, filters),
    )


def _sign(method: ResidualMethod, channels: int, filters: int) -> DySign | FrameMean | None:
    """What thresholds of the frame there are in front of a unit's static ones."""
    match method:
        case ResidualMethod.DYBNN:
            return DySign(channels, extra=2 * filters)
        case ResidualMethod.DYBNN_APART:
            return DySign(channels)
        case ResidualMethod.SIMAN_MEAN:
            return FrameMean()
        case _:
            return None


def _weight_quantiser(method: ResidualMethod, filters: int) -> WeightQuantiser:
    match method:
        case ResidualMethod.ADABIN:
            # What the grid rounds is ρ times the scale.
            return AdaBinWeight(fraction=None)
        case ResidualMethod.SIMAN | ResidualMethod.SIMAN_BIPOLAR | ResidualMethod.SIMAN_MEAN:
            half = method is ResidualMethod.SIMAN
            quantiser = SiManWeight(filters, SiManForm.HALF if half else SiManForm.BIPOLAR)
            # Batch normalisation undoes the scale.
            quantiser.log_scale.requires_grad_(False)
            return quantiser
        case ResidualMethod.REACTNET | ResidualMethod.DYBNN | ResidualMethod.DYBNN_APART:
            return SignWeight()


def _activation_quantiser(method: ResidualMethod, channels: int) -> ActivationQuantiser:
    match method:
        case ResidualMethod.ADABIN:
            return AdaBinActivation()
        case ResidualMethod.SIMAN_MEAN:
            return Sign()
        case _:
            return RSign(channels, polarised=method is ResidualMethod.SIMAN)


def _slopes(method: ResidualMethod, channels: int) -> TwoSlope:
    match method:
        case ResidualMethod.ADABIN:
            return maxout(channels)
        case ResidualMethod.REACTNET:
            return rprelu(channels)
        case ResidualMethod.DYBNN | ResidualMethod.DYBNN_APART:
            return DyPReLU(channels, apart=method is ResidualMethod.DYBNN_APART)
        case _:
            return prelu(channels)
