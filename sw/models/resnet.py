"""Binary residual networks for raw pixels: AdaBin's and SiMaN's ResNets."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from xnorflow.errors import NetworkError
from xnorflow.sw.models.blocks import Family, stem
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.registry import Task, named, scaled
from xnorflow.sw.nn.arguments import member
from xnorflow.sw.nn.dynamic import HyperConfig
from xnorflow.sw.nn.prelu import Maxout
from xnorflow.sw.nn.shortcuts import (
    Shortcut,
)


__all__ = ["ResNet", "resnet8", "resnet18", "resnet18_classic", "resnet18_imagenet", "resnet20"]


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

    The ``first`` layer has ``channels``, and if wanted a ``kernel`` and a ``stride``; it may be
    ``pooled``, or not ``activated``; ``hyper`` has the numbers of a `HyperConfig`.

    Raises
    ------
    NetworkError
        If there are no such blocks.
    """
    family = Family(method, member("shortcut", shortcut, Shortcut), HyperConfig(*hyper))
    options = {"activated": True, **first}
    try:
        before, activated = options.pop("channels"), options.pop("activated")
        act = _stem_act(family, before) if activated else None
        layer = stem(task.statistics, before, act=act, **options)
    except (TypeError, KeyError) as error:
        raise NetworkError(f"a first layer cannot be made of these options: {error}") from None
    make = family.classic if classic else family.block
    parts: list[nn.Module] = []
    for block in blocks:
        if len(block) != 3:
            raise NetworkError(f"a block must have channels, a stride and a kernel, not {block}")
        filters, stride, kernel = block
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
