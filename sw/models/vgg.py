"""VGG-small: padded binary convolutions for CIFAR-10."""

from xnorflow.sw.models.cnv import Conv, ConvNet
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.registry import Task, named, scaled


__all__ = ["vgg_small"]


@named
def vgg_small(task: Task, *, method: Method = Method.SIGN, width: float = 1.0) -> ConvNet:
    """Six padded convolutions, with integers in the first and the last layer."""
    convs = [
        Conv(channels, padding=1, pool=pool)
        for channels in scaled(width, 128, 256, 512)
        for pool in (1, 2)
    ]
    return ConvNet(
        task.shape, convs, (), task.classes, method=method, pixels=task.pixels, score_bits=8
    )
