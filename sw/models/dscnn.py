"""DS-CNN: depthwise and pointwise convolutions in turns, made for signals in time.

After Hello Edge (arXiv 1711.07128): a convolution of the values, and blocks of a convolution of
each channel alone and one of all channels at each sample; here all but the first are binary.
"""

from collections import OrderedDict
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.mlp import balance
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task, named, scaled
from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.sign import SignWeight


__all__ = ["DSCNN", "dscnn"]

_KERNEL = 9
"""Samples that a window spans; along an axis of a single one, 1."""


class DSCNN(nn.Sequential):
    """A convolution, depthwise-separable blocks and a dense layer, each with its own binariser.

    Every window has stride 2, so each block sees half as many samples as the one before it. The
    first convolution has integer weights if there are statistics of pixels, otherwise a threshold
    for them. All classes share one scale, so that scores are integers up to one factor.

    Parameters
    ----------
    shape : (channels, height, width)
        Of an image, or a signal: height 1.
    filters : int
        Of each convolution.
    blocks : int
        Pairs of a depthwise and a pointwise convolution.
    classes : int
    method : Method
    pixels : IntegerPixels, optional

    Attributes
    ----------
    log_temperature : scalar
        Logarithm of the positive factor from scores to logits. It changes no label.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        filters: int,
        blocks: int,
        classes: int,
        *,
        method: Method = Method.SIGN,
        pixels: IntegerPixels | None = None,
    ) -> None:
        check_kind("method", method, Method)
        check_sizes(filters=filters, blocks=blocks)
        channels, *sides = shape
        sizes = tuple(1 if side == 1 else _KERNEL for side in sides)
        kernel = sizes[0], sizes[1]
        windows: dict[str, Any] = {"stride": 2, "padding": (kernel[0] // 2, kernel[1] // 2)}
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = (
            BinaryConv2d(
                channels, filters, kernel, method.weights(filters), InputThreshold(), **windows
            )
            if pixels is None
            else IntegerConv2d(channels, filters, kernel, **asdict(pixels), **windows)
        )
        layers["norm"] = nn.BatchNorm2d(filters)
        for n in range(1, blocks + 1):
            # AdaBin's two levels are not ±, which groups cannot have.
            weights = SignWeight() if method is Method.ADABIN else method.weights(filters)
            layers[f"depthwise{n}"] = BinaryConv2d(
                filters, filters, kernel, weights, method.activations(), groups=filters, **windows
            )
            layers[f"depthwise{n}_norm"] = nn.BatchNorm2d(filters)
            layers[f"pointwise{n}"] = BinaryConv2d(
                filters, filters, 1, method.weights(filters), method.activations()
            )
            layers[f"pointwise{n}_norm"] = nn.BatchNorm2d(filters)
        rows, columns = (-(-side // 2 ** (blocks + 1)) for side in sides)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = BinaryLinear(
            filters * rows * columns,
            classes,
            method.weights(classes, last=True),
            method.activations(last=True),
        )
        super().__init__(layers)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        balance(self, method)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of ``x`` (N, channels, height, width)."""
        return super().forward(x) * self.log_temperature.exp()


@named
def dscnn(
    task: Task, *, method: Method = Method.SIGN, blocks: int = 3, width: float = 1.0
) -> DSCNN:
    """64 filters of ±1 weights, even on the values, and three blocks unless you say otherwise."""
    (filters,) = scaled(width, 64)
    pixels = task.pixels and replace(task.pixels, bits=1)
    return DSCNN(task.shape, filters, blocks, task.classes, method=method, pixels=pixels)
