"""ReActNet-A: a MobileNet of binary convolutions. Source: arXiv 2003.03488."""

from torch import nn

from xnorflow.sw.models.blocks import Family, stem
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.registry import Task, named, scaled
from xnorflow.sw.models.resnet import ResNet
from xnorflow.sw.nn.shortcuts import Shortcut


__all__ = ["reactnet_a", "reactnet_a_imagenet"]

_WIDTHS = (64, *[128] * 2, *[256] * 2, *[512] * 6, *[1024] * 2)
_STEM = 32


@named
def reactnet_a(
    task: Task,
    *,
    method: ResidualMethod = ResidualMethod.REACTNET,
    stride: int = 1,
    width: float = 1.0,
) -> ResNet:
    """For CIFAR-10: 13 pairs of convolutions, 3 × 3 and 1 × 1."""
    family = Family(method, Shortcut.REPEAT)
    first, *widths = scaled(width, _STEM, *_WIDTHS)
    blocks: list[nn.Module] = []
    before = first
    for filters in widths:
        halves = filters > before > first
        blocks.append(family.block(before, before, stride=2 if halves else 1))
        blocks.append(family.block(before, filters, kernel=1))
        before = filters
    return ResNet(stem(task.statistics, first, stride=stride), blocks, before, task.classes)


@named
def reactnet_a_imagenet(
    task: Task, *, method: ResidualMethod = ResidualMethod.REACTNET, width: float = 1.0
) -> ResNet:
    """The same as ReActNet's authors have it, for ImageNet."""
    return reactnet_a(task, method=method, stride=2, width=width)
