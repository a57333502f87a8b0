"""Binary residual networks for raw pixels: AdaBin's and SiMaN's ResNets, and their blocks.

Bi-Real Net's blocks (arXiv 1808.00278) have one convolution::

    x ─┬─ binarise ─ convolution ─ batch norm ─┬─ add ─ two slopes ─
       └─────────────── shortcut ──────────────┘

SiMaN's classic ones have two, and hardtanh behind the first and behind the sum. In DyBNN's blocks
thresholds, and shifts of the slopes, follow from the frame.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task, named, scaled
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.arguments import check_kind
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
    "ResNet",
    "SeparateBlock",
    "resnet8",
    "resnet18",
    "resnet18_classic",
    "resnet18_imagenet",
    "resnet20",
    "stem",
]


# -- blocks ---------------------------------------------------------------------------------------


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
            case ResidualMethod.DYBNN_APART:
                hyper = HyperFunction(channels, channels, self.hyper)
                return SeparateBlock(*parts, hyper=hyper, channels=channels)
            case _:
                return Block(*parts)

    def classic(
        self, channels: int, filters: int, *, stride: int = 1, kernel: int = 3
    ) -> ClassicBlock:
        """Block of two convolutions that gets so many ``channels``."""
        return ClassicBlock(
            self.conv(channels, filters, stride=stride, kernel=kernel),
            self.conv(filters, filters, kernel=kernel),
            self.around(channels, filters, stride),
            filters,
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
            case ResidualMethod.DYBNN_APART:
                return DyPReLU(channels, hyper=self.hyper)
            case _:
                return nn.PReLU(channels)


# -- networks -------------------------------------------------------------------------------------


def stem(
    pixels: IntegerPixels,
    filters: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    act: nn.Module | None = None,
    pooled: bool = False,
) -> nn.Sequential:
    """First layer: a convolution of raw pixels in 0…255 with integer weights, and batch norm."""
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


class ResNet(nn.Module):
    """A first layer, blocks, and a dense layer behind the global average."""

    def __init__(
        self, first: nn.Module, blocks: Sequence[nn.Module], channels: int, classes: int
    ) -> None:
        super().__init__()
        self.stem = first
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.norm = nn.BatchNorm1d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of raw pixels ``x`` (N, channels, H, W) in 0…255."""
        x = self.blocks(self.stem(x))
        return self.fc(self.norm(self.flatten(self.pool(x))))


@named
def resnet20(
    task: Task,
    *,
    method: ResidualMethod = ResidualMethod.ADABIN,
    depth: int = 6,
    width: float = 1.0,
) -> ResNet:
    """He's for CIFAR-10: three stages of 16, 32 and 64 channels, of six convolutions each."""
    return _resnet(task, Family(method), scaled(width, 16, 32, 64), depth)


@named
def resnet8(
    task: Task, *, method: ResidualMethod = ResidualMethod.ADABIN, width: float = 1.0
) -> ResNet:
    """Two convolutions in each of three stages: for small images and small FPGAs."""
    return resnet20(task, method=method, depth=2, width=width)


@named
def resnet18(
    task: Task, *, method: ResidualMethod = ResidualMethod.ADABIN, width: float = 1.0
) -> ResNet:
    """For CIFAR-10: four stages of 64 to 512 channels, of four convolutions each."""
    widths = scaled(width, 64, 128, 256, 512)
    return _resnet(task, Family(method, Shortcut.AVERAGE), widths, 4)


@named
def resnet18_imagenet(
    task: Task, *, method: ResidualMethod = ResidualMethod.ADABIN, width: float = 1.0
) -> ResNet:
    """For ImageNet: `resnet18` behind a first layer of 7 × 7 and a max-pool."""
    widths = scaled(width, 64, 128, 256, 512)
    family = Family(method, Shortcut.AVERAGE)
    return _resnet(task, family, widths, 4, kernel=7, stride=2, pooled=True)


@named
def resnet18_classic(
    task: Task, *, method: ResidualMethod = ResidualMethod.SIMAN, width: float = 1.0
) -> ResNet:
    """The same convolutions in SiMaN's form: hardtanh, and shortcuts around two of them."""
    widths = scaled(width, 64, 128, 256, 512)
    blocks = _stages(Family(method, Shortcut.BINARY), *widths, depth=2, classic=True)
    return ResNet(stem(task.statistics, widths[0]), blocks, widths[-1], task.classes)


@named
def residual(
    task: Task,
    *,
    first: Mapping[str, Any],
    blocks: Sequence[Sequence[int]],
    shortcut: str = Shortcut.PAD.value,
    classic: bool = False,
    hyper: Sequence[int] = (),
    method: ResidualMethod = ResidualMethod.ADABIN,
) -> ResNet:
    """Any blocks: channels, stride and kernel of each, behind a first layer.

    The ``first`` layer has ``channels``, ``kernel``, ``stride``, and may be ``activated`` or
    ``pooled``; ``hyper`` has the numbers of a `HyperConfig`.
    """
    family = Family(method, Shortcut(shortcut), HyperConfig(*hyper))
    before = first["channels"]
    act = _stem_act(family, before) if first.get("activated", True) else None
    windows = {name: first[name] for name in ("kernel", "stride", "pooled") if name in first}
    layer = stem(task.statistics, before, act=act, **windows)
    make = family.classic if classic else family.block
    parts: list[nn.Module] = []
    for filters, stride, kernel in blocks:
        parts.append(make(before, filters, stride=stride, kernel=kernel))
        before = filters
    return ResNet(layer, parts, before, task.classes)


def _resnet(task: Task, family: Family, widths: Sequence[int], depth: int, **first: Any) -> ResNet:
    """Stages of so many channels and ``depth`` blocks behind a first layer."""
    layer = stem(task.statistics, widths[0], act=_stem_act(family, widths[0]), **first)
    return ResNet(layer, _stages(family, *widths, depth=depth), widths[-1], task.classes)


def _stem_act(family: Family, channels: int) -> nn.Module:
    return Maxout(channels) if family.method is ResidualMethod.ADABIN else nn.ReLU()


def _stages(family: Family, *widths: int, depth: int, classic: bool = False) -> list[nn.Module]:
    """Stages of so many channels and ``depth`` blocks, each at half the size of the one before."""
    blocks: list[nn.Module] = []
    channels = widths[0]
    for stage, filters in enumerate(widths):
        for n in range(depth):
            block = family.classic if classic else family.block
            blocks.append(block(channels, filters, stride=2 if stage and not n else 1))
            channels = filters
    return blocks
