"""Models: chains of convolutions and dense layers for small images."""

from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.errors import NetworkError
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.arguments import check_bits, check_kind
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear


__all__ = [
    "MAX_PIXELS",
    "Chain",
    "ChainConfig",
    "ConvConfig",
    "Method",
    "Named",
]

_MAX_SIZE = 1 << 16
MAX_PIXELS = 1 << 20
"""Most values that a frame has."""
_KERNELS = 1, 3, 5, 7


@dataclass(frozen=True)
class ConvConfig:
    """A convolution of a `Chain`, and the max-pool after it.

    Attributes
    ----------
    channels : int
        Filters.
    kernel, stride : int
        Side of the kernel (1, 3, 5 or 7), and of its steps.
    padding : int
        Pixels outside the frame that windows reach on each side, less than the kernel's.
    pool : int
        Side of the max-pool's windows; 1 is none.

    Raises
    ------
    NetworkError
        If a value is out of range.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    pool: int = 1

    def __post_init__(self) -> None:
        for what, value in vars(self).items():
            check_kind(what, value, int)
        if self.kernel not in _KERNELS:
            raise NetworkError(f"a kernel's side must be 1, 3, 5 or 7, not {self.kernel}")
        if not 0 <= self.padding < self.kernel:
            raise NetworkError(
                f"the padding must be less than the kernel's side {self.kernel}, not {self.padding}"
            )
        for what in ("channels", "stride", "pool"):
            value = getattr(self, what)
            if not 1 <= value <= _MAX_SIZE:
                raise NetworkError(
                    f"the {what} of a convolution must be from 1 to {_MAX_SIZE}, not {value}"
                )

    def infer(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns after convolution and pool, of a map with ``height`` and ``width``."""
        sides = [
            ((side + 2 * self.padding - self.kernel) // self.stride + 1) // self.pool
            for side in (height, width)
        ]
        if min(height, width) + 2 * self.padding < self.kernel or min(sides) < 1:
            raise NetworkError(
                f"a {self.kernel}×{self.kernel} kernel with a {self.pool}×{self.pool} pool does "
                f"not fit a map of {height}×{width}"
            )
        return sides[0], sides[1]


@dataclass(frozen=True)
class ChainConfig:
    """What a `Chain` is made of.

    Attributes
    ----------
    hidden : tuple of int
        Neurons of each hidden dense layer.
    method : Method
    input_shape : (height, width, channels)
    classes : int
    convolutions : tuple of ConvConfig
        They come before the dense layers.
    border : Border
        What the convolutions' padding consists of.
    pixels : IntegerPixels, optional
        The first layer is a convolution with integer weights; otherwise a threshold makes bits of
        the pixels.
    score_bits : int
        Width of the last layer's weights; 1 is binary.

    Raises
    ------
    NetworkError
        If a size is out of range.
    """

    hidden: tuple[int, ...] = ()
    method: Method = Method.SIGN
    input_shape: tuple[int, int, int] = (28, 28, 1)
    classes: int = 10
    convolutions: tuple[ConvConfig, ...] = ()
    border: Border = Border.ZERO
    pixels: IntegerPixels | None = None
    score_bits: int = 1

    def __post_init__(self) -> None:
        check_kind("method", self.method, Method)
        check_kind("border", self.border, Border)
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise NetworkError(
                f"an input must have a height, a width and channels, not {self.input_shape}"
            )
        if prod(self.input_shape) > MAX_PIXELS:
            raise NetworkError(
                f"an input must have at most {MAX_PIXELS} values, not {prod(self.input_shape)}"
            )
        for size in self.hidden:
            if not 1 <= size <= _MAX_SIZE:
                raise NetworkError(f"dense layers must have 1 to {_MAX_SIZE} values, not {size}")
        if not 2 <= self.classes <= _MAX_SIZE:
            raise NetworkError(f"there must be 2 to {_MAX_SIZE} classes, not {self.classes}")
        if prod(self.maps[-1]) > _MAX_SIZE:
            raise NetworkError(
                f"dense layers must have 1 to {_MAX_SIZE} values, not {prod(self.maps[-1])}"
            )
        check_bits(self.score_bits)
        if self.pixels is not None:
            if not self.convolutions:
                raise NetworkError("an integer first layer must be a convolution")
            channels = self.input_shape[2]
            if not len(self.pixels.mean) == len(self.pixels.deviation) == channels:
                raise NetworkError(
                    f"mean and deviation must have {channels} channels, "
                    f"not {len(self.pixels.mean)} and {len(self.pixels.deviation)}"
                )

    @property
    def maps(self) -> tuple[tuple[int, int, int], ...]:
        """(height, width, channels) of the input, and after each convolution and its pool."""
        maps = [self.input_shape]
        for convolution in self.convolutions:
            height, width, _ = maps[-1]
            maps.append((*convolution.infer(height, width), convolution.channels))
        return tuple(maps)

    @property
    def synapses(self) -> int:
        """Weights of all layers."""
        convolutions = sum(
            convolution.channels * convolution.kernel**2 * x[2]
            for convolution, x in zip(self.convolutions, self.maps[:-1], strict=True)
        )
        widths = prod(self.maps[-1]), *self.hidden, self.classes
        return convolutions + sum(m * n for m, n in pairwise(widths))

    def __str__(self) -> str:
        dense = "-".join(map(str, self.hidden))
        if not self.convolutions:
            return f"mlp {dense}"
        convolutions = "-".join(
            f"{convolution.channels}" + ("" if convolution.pool == 1 else f"p{convolution.pool}")
            for convolution in self.convolutions
        )
        return f"conv {convolutions}" + (f", dense {dense}" if dense else "")


class Named(Enum):
    """Models that have a name."""

    TFC = "tfc"
    SFC = "sfc"
    LFC = "lfc"
    """FINN's perceptrons, with three hidden layers."""

    CONV_S = "conv-s"
    """For 28×28 pixels and the smallest FPGAs: three small convolutions."""

    CONV_M = "conv-m"
    """For 28×28 pixels: three convolutions, the first one with integer weights."""

    CNV = "cnv"
    """FINN's: six unpadded convolutions, of ±1 weights even on the pixels; two hidden layers."""

    VGG_SMALL = "vgg-small"
    """Six padded convolutions, with integers in the first and the last layer."""

    @property
    def normalised(self) -> bool:
        """Whether the first layer has integer weights, on normalised pixels."""
        return self in (Named.CONV_M, Named.CNV, Named.VGG_SMALL)

    def config(
        self,
        method: Method = Method.SIGN,
        *,
        input_shape: tuple[int, int, int] = (28, 28, 1),
        classes: int = 10,
        pixels: IntegerPixels | None = None,
        width: float = 1.0,
    ) -> ChainConfig:
        """What the model is made of.

        Parameters
        ----------
        method, input_shape, classes, pixels
            As for `ChainConfig`; models that are not ``normalised`` ignore ``pixels``, and CNV has
            weights of a single bit there, as FINN's.
        width : float
            Factor of all widths.
        """

        def scaled(*widths: int) -> tuple[int, ...]:
            return tuple(max(1, round(width * channels)) for channels in widths)

        def convolutions(
            widths: tuple[int, ...], pools: tuple[int, ...], padding: int
        ) -> tuple[ConvConfig, ...]:
            return tuple(
                ConvConfig(channels, padding=padding, pool=2 if n in pools else 1)
                for n, channels in enumerate(scaled(*widths), 1)
            )

        hidden: tuple[int, ...] = ()
        layers: tuple[ConvConfig, ...] = ()
        match self:
            case Named.TFC:
                hidden = (64,) * 3
            case Named.SFC:
                hidden = (256,) * 3
            case Named.LFC:
                hidden = (1024,) * 3
            case Named.CONV_S:
                layers = convolutions((16, 32, 64), (1, 2), 0)
                # A 3×3 window of black and white pixels says little.
                layers = (replace(layers[0], kernel=5), *layers[1:])
            case Named.CONV_M:
                layers = convolutions((32, 64, 128), (2,), 1)
                layers = (replace(layers[0], kernel=5, stride=2, padding=2), *layers[1:])
            case Named.CNV:
                layers, hidden = convolutions((64, 64, 128, 128, 256, 256), (2, 4), 0), (512,) * 2
                pixels = pixels and replace(pixels, bits=1)
            case Named.VGG_SMALL:
                layers = convolutions((128, 128, 256, 256, 512, 512), (2, 4, 6), 1)
        return ChainConfig(
            scaled(*hidden),
            method,
            input_shape,
            classes,
            layers,
            pixels=pixels if self.normalised else None,
            score_bits=8 if self is Named.VGG_SMALL else 1,
        )


class Chain(nn.Module):
    """Layer → max-pool → batch normalisation, again and again, and a last layer.

    Each layer binarises its own input. The first one takes pixels: it has a threshold for them, or
    integer weights. All classes share one scale, so that scores are integers up to one factor.

    Parameters
    ----------
    config : ChainConfig

    Attributes
    ----------
    layers : ModuleList
        conv1, conv2, …, then fc1, fc2, …
    norms : ModuleList of BatchNorm2d or BatchNorm1d
        What follows each layer but the last.
    log_temperature : scalar
        Logarithm of the positive factor from scores to logits. It changes no label.
    """

    def __init__(self, config: ChainConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList()
        for index, (x, convolution) in enumerate(
            zip(config.maps[:-1], config.convolutions, strict=True)
        ):
            self.layers.append(_convolution(config, convolution, x[2], first=index == 0))
        widths = prod(config.maps[-1]), *config.hidden, config.classes
        for fan_in, fan_out in pairwise(widths):
            self.layers.append(
                _dense(
                    config,
                    fan_in,
                    fan_out,
                    first=not self.layers,
                    last=len(self.layers) == len(config.convolutions) + len(config.hidden),
                )
            )
        self.norms = nn.ModuleList([
            *(nn.BatchNorm2d(convolution.channels) for convolution in config.convolutions),
            *(nn.BatchNorm1d(width) for width in config.hidden),
        ])
        self.log_temperature = nn.Parameter(torch.zeros(()))
        if config.method is Method.SIMAN:
            # With weights that are never negative, every neuron would grow with every pixel. Half
            # of them start inverted, to have something to weigh against something else.
            with torch.no_grad():
                for norm in self.norms:
                    norm.get_parameter("weight")[1::2] = -1

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes) of raw ``pixels`` (N, height, width, channels) in 0…255."""
        return self.trace(pixels)[-1]

    def trace(self, pixels: Tensor) -> list[Tensor]:
        """Everything between the layers, for the same ``pixels``.

        Returns
        -------
        list of tensor
            The inputs of conv1, …, fc1, … before they are binarised, and the logits. Those of
            convolutions are (N, height, width, channels), the others (N, features).
        """
        x = pixels.to(self.log_temperature.dtype)
        inputs = []
        for index, layer in enumerate(self.layers):
            if index < len(self.config.convolutions):
                inputs.append(x)
                # In memory the channels still run fastest, which suits the convolutions.
                y = layer(x.permute(0, 3, 1, 2))
                y = self.norms[index](
                    functional.max_pool2d(y, self.config.convolutions[index].pool)
                )
                x = y.permute(0, 2, 3, 1)
            else:
                inputs.append(x.flatten(1))
                x = layer(inputs[-1])
                if index < len(self.norms):
                    x = self.norms[index](x)
        return [*inputs, x * self.log_temperature.exp()]


def _convolution(
    config: ChainConfig, convolution: ConvConfig, channels: int, *, first: bool
) -> nn.Module:
    if first and config.pixels is not None:
        return IntegerConv2d(
            channels,
            convolution.channels,
            convolution.kernel,
            mean=config.pixels.mean,
            deviation=config.pixels.deviation,
            bits=config.pixels.bits,
            stride=convolution.stride,
            padding=convolution.padding,
        )
    return BinaryConv2d(
        channels,
        convolution.channels,
        convolution.kernel,
        config.method.weights(convolution.channels),
        InputThreshold() if first else config.method.activations(),
        stride=convolution.stride,
        padding=convolution.padding,
        border=config.border,
    )


def _dense(config: ChainConfig, fan_in: int, fan_out: int, *, first: bool, last: bool) -> nn.Module:
    activation = InputThreshold() if first else config.method.activations(last=last)
    if last and config.score_bits > 1:
        return IntegerLinear(fan_in, fan_out, activation, bits=config.score_bits)
    return BinaryLinear(fan_in, fan_out, config.method.weights(fan_out, last=last), activation)
