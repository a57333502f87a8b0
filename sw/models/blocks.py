"""Blocks of binary residual networks, their first layer, and what a method makes them of.

Bi-Real Net's blocks (arXiv 1808.00278) have one convolution::

    x ─┬─ binarise ─ convolution ─ batch norm ─┬─ add ─ two slopes ─
       └─────────────── shortcut ──────────────┘

SiMaN's classic ones have two, and hardtanh behind the first and behind the sum. In DyBNN's blocks
thresholds, and shifts of the slopes, follow from the frame.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from torch import Tensor, nn

from xnorflow.errors import NetworkError
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.dynamic import FrameMean, HyperConfig, HyperFunction
from xnorflow.sw.nn.frame import DyPReLU, DySign
from xnorflow.sw.nn.prelu import Maxout, RPReLU
from xnorflow.sw.nn.quantiser import ActivationQuantiser, WeightQuantiser
from xnorflow.sw.nn.shortcuts import (
    IntegerPointwise,
    PadChannels,
    RepeatChannels,
    Shortcut,
    Subsample,
)
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


__all__ = [
    "Block",
    "ClassicBlock",
    "DynamicBlock",
    "Family",
    "MeanBlock",
    "SeparateBlock",
    "stem",
]


class Block(nn.Module):
    """Bi-Real Net's: a binary convolution, and a shortcut around it."""

    def __init__(
        self, conv: BinaryConv2d, shortcut: nn.Module, act: nn.Module, filters: int
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(filters)
        self.shortcut = shortcut
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, filters, H′, W′)."""
        return self.act(self.norm(self.conv(x)) + self.shortcut(x))


class MeanBlock(Block):
    """The same with the frame's mean as threshold."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.above = FrameMean()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, filters, H′, W′)."""
        return self.act(self.norm(self.conv(self.above(x))) + self.shortcut(x))


class DynamicBlock(Block):
    """DyBNN's: the means of what it gets decide thresholds and shifts."""

    def __init__(self, *parts: object, hyper: HyperFunction, channels: int) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.hyper = hyper
        self.sign = DySign(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, filters, H′, W′)."""
        numbers = self.hyper(x)
        y = self.norm(self.conv(self.sign(x, numbers)))
        return self.act(y + self.shortcut(x), numbers)


class SeparateBlock(DynamicBlock):
    """DyBNN's with shifts that follow from the sum which they shift."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, filters, H′, W′)."""
        y = self.norm(self.conv(self.sign(x, self.hyper(x))))
        return self.act(y + self.shortcut(x))


class ClassicBlock(nn.Module):
    """Two binary convolutions, and a shortcut around both."""

    def __init__(
        self, conv1: BinaryConv2d, conv2: BinaryConv2d, shortcut: nn.Module, filters: int
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = conv2
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut = shortcut
        self.act = nn.Hardtanh()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, filters, H′, W′)."""
        y = self.act(self.norm1(self.conv1(x)))
        return self.act(self.norm2(self.conv2(y)) + self.shortcut(x))


# -- what a method makes them of ------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """Blocks of one method and one kind of shortcut.

    Attributes
    ----------
    method : ResidualMethod
    shortcut : Shortcut
        Of blocks that change the shape.
    hyper : HyperConfig
        Of thresholds and shifts that follow from the frame.
    """

    method: ResidualMethod
    shortcut: Shortcut = Shortcut.PAD
    hyper: HyperConfig = field(default_factory=HyperConfig)

    def __post_init__(self) -> None:
        check_kind("method", self.method, ResidualMethod)
        check_kind("shortcut", self.shortcut, Shortcut)

    def block(self, channels: int, filters: int, *, stride: int = 1, kernel: int = 3) -> Block:
        """Block of one convolution that gets so many ``channels``."""
        self._check(channels, filters, stride, kernel)
        parts = (
            self.conv(channels, filters, stride=stride, kernel=kernel),
            self.around(channels, filters, stride),
            self.act(filters),
            filters,
        )
        match self.method:
            case ResidualMethod.SIMAN_MEAN:
                return MeanBlock(*parts)
            case ResidualMethod.DYBNN:
                hyper = HyperFunction(channels, channels + 2 * filters, self.hyper)
                return DynamicBlock(*parts, hyper=hyper, channels=channels)
            case ResidualMethod.DYBNN_SEPARATE:
                hyper = HyperFunction(channels, channels, self.hyper)
                return SeparateBlock(*parts, hyper=hyper, channels=channels)
            case _:
                return Block(*parts)

    def classic(
        self, channels: int, filters: int, *, stride: int = 1, kernel: int = 3
    ) -> ClassicBlock:
        """Block of two convolutions that gets so many ``channels``."""
        self._check(channels, filters, stride, kernel)
        if self.method.dynamic:
            raise NetworkError(f"{self.method.value} is for blocks of one convolution")
        return ClassicBlock(
            self.conv(channels, filters, stride=stride, kernel=kernel),
            self.conv(filters, filters, kernel=kernel),
            self.around(channels, filters, stride),
            filters,
        )

    def _check(self, channels: int, filters: int, stride: int, kernel: int) -> None:
        check_sizes(filters=filters)
        _check_window("block", kernel, stride)
        if filters < channels:
            raise NetworkError(
                "a block must not have fewer channels than the one before it: "
                f"{filters} after {channels}"
            )
        if self.shortcut is Shortcut.REPEAT and filters not in (channels, 2 * channels):
            raise NetworkError(
                "a shortcut that repeats channels makes them twice as many, "
                f"not {filters} of {channels}"
            )

    def around(self, channels: int, filters: int, stride: int) -> nn.Module:
        """Shortcut."""
        more = filters - channels
        if stride == 1 and not more:
            return nn.Identity()
        if self.shortcut is Shortcut.BINARY:
            conv = self.conv(channels, filters, stride=stride, kernel=1)
            return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(filters)))
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if stride > 1:
            averages = self.shortcut is not Shortcut.PAD
            parts["pool"] = nn.AvgPool2d(stride) if averages else Subsample(stride)
        if self.shortcut is Shortcut.AVERAGE:
            parts["conv"] = IntegerPointwise(channels, filters)
            parts["norm"] = nn.BatchNorm2d(filters)
        elif self.shortcut is Shortcut.REPEAT and more:
            parts["repeat"] = RepeatChannels()
        elif more:
            parts["pad"] = PadChannels(more // 2, more - more // 2)
        return nn.Sequential(parts)

    def conv(
        self, channels: int, filters: int, *, stride: int = 1, kernel: int = 3
    ) -> BinaryConv2d:
        """Binary convolution that keeps the size, but for its stride."""
        return BinaryConv2d(
            channels,
            filters,
            kernel,
            self.weights(filters),
            self.signs(channels),
            stride=stride,
            padding=kernel // 2,
        )

    def weights(self, filters: int) -> WeightQuantiser:
        """Quantiser of weights."""
        match self.method:
            case ResidualMethod.ADABIN:
                # What the grid rounds is ρ times the scale.
                return AdaBinWeight(fraction=None)
            case ResidualMethod.SIMAN | ResidualMethod.SIMAN_BIPOLAR | ResidualMethod.SIMAN_MEAN:
                half = self.method is ResidualMethod.SIMAN
                quantiser = SiManWeight(filters, SiManForm.HALF if half else SiManForm.BIPOLAR)
                # Batch normalisation undoes the scale.
                quantiser.log_scale.requires_grad_(False)
                return quantiser
            case _:
                return SignWeight()

    def signs(self, channels: int) -> ActivationQuantiser:
        """Quantiser of activations."""
        match self.method:
            case ResidualMethod.ADABIN:
                return AdaBinActivation()
            case ResidualMethod.SIMAN_MEAN:
                return Sign()
            case _:
                return RSign(channels, polarised=self.method is ResidualMethod.SIMAN)

    def act(self, channels: int) -> nn.Module:
        """Two slopes behind a sum."""
        match self.method:
            case ResidualMethod.ADABIN:
                return Maxout(channels)
            case ResidualMethod.REACTNET:
                return RPReLU(channels)
            case ResidualMethod.DYBNN:
                return DyPReLU(channels)
            case ResidualMethod.DYBNN_SEPARATE:
                return DyPReLU(channels, hyper=self.hyper)
            case _:
                return nn.PReLU(channels)


def _check_window(what: str, kernel: int, stride: int) -> None:
    """Check that a convolution keeps the size, or halves it."""
    if kernel not in (1, 3, 5, 7):
        raise NetworkError(f"a kernel's side must be 1, 3, 5 or 7, not {kernel!r}")
    if stride not in (1, 2):
        raise NetworkError(f"the stride of a {what} must be 1 or 2, not {stride!r}")


def stem(
    pixels: IntegerPixels,
    filters: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    act: nn.Module | None = None,
    pooled: bool = False,
) -> nn.Sequential:
    """First layer: a convolution of raw pixels in 0…255 with integer weights, and batch norm.

    Raises
    ------
    NetworkError
        If the kernel's side is even or above 7, or the stride above 2.
    """
    _check_window("first layer", kernel, stride)
    conv = IntegerConv2d(
        len(pixels.mean),
        filters,
        kernel,
        mean=pixels.mean,
        deviation=pixels.deviation,
        bits=pixels.bits,
        stride=stride,
        padding=kernel // 2,
    )
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=nn.BatchNorm2d(filters))
    if act is not None:
        parts["act"] = act
    if pooled:
        parts["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(parts)
