"""Binary convolutional networks without shortcuts: FINN's CNV, and two for 28×28 pixels."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from xnorflow.errors import NetworkError
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.mlp import balance, check_hidden
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task, named, scaled
from xnorflow.sw.nn.arguments import check_kind, check_sizes, member
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear


__all__ = ["Conv", "ConvNet", "cnv", "conv_m", "conv_net", "conv_s"]


@dataclass(frozen=True)
class Conv:
    """A convolution, and the side of the max-pool behind it; 1 is none.

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
        check_sizes(channels=self.channels, kernel=self.kernel, stride=self.stride, pool=self.pool)
        check_sizes(least=0, padding=self.padding)
        if self.padding >= self.kernel:
            raise NetworkError(
                f"the padding must be less than the kernel's side {self.kernel}, not {self.padding}"
            )

    def side(self, side: int) -> int:
        """Rows or columns behind both, of so many."""
        result = ((side + 2 * self.padding - self.kernel) // self.stride + 1) // self.pool
        if result < 1:
            raise NetworkError(
                f"a {self.kernel}×{self.kernel} kernel with a {self.pool}×{self.pool} pool does "
                f"not fit {side} rows or columns"
            )
        return result


class ConvNet(nn.Sequential):
    """Convolution → max-pool → batch norm, again and again, and dense layers.

    Each layer binarises its own input. The first one takes pixels: it has a threshold for them, or
    integer weights. All classes share one scale, so that scores are integers up to one factor.

    Parameters
    ----------
    shape : (channels, height, width)
        Of an image.
    convs : sequence of Conv
    hidden : sequence of int
        Neurons of each hidden dense layer.
    classes : int
    method : Method
    border : Border
        What padding consists of.
    pixels : IntegerPixels, optional
        If the first convolution has integer weights.
    score_bits : int
        Width of the last layer's weights; 1 is binary.

    Attributes
    ----------
    log_temperature : scalar
        Logarithm of the positive factor from scores to logits. It changes no label.

    Raises
    ------
    NetworkError
        If a layer cannot be made, or if there is no convolution.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        convs: Sequence[Conv],
        hidden: Sequence[int],
        classes: int,
        *,
        method: Method = Method.SIGN,
        border: Border = Border.ZERO,
        pixels: IntegerPixels | None = None,
        score_bits: int = 1,
    ) -> None:
        check_kind("method", method, Method)
        check_kind("border", border, Border)
        check_hidden(hidden)
        if not convs:
            # It is the first one that knows what pixels are.
            raise NetworkError("there must be at least one convolution")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, height, width = shape
        for n, conv in enumerate(convs, 1):
            if n == 1 and pixels is not None:
                layers["conv1"] = IntegerConv2d(
                    channels,
                    conv.channels,
                    conv.kernel,
                    mean=pixels.mean,
                    deviation=pixels.deviation,
                    bits=pixels.bits,
                    stride=conv.stride,
                    padding=conv.padding,
                )
            else:
                layers[f"conv{n}"] = BinaryConv2d(
                    channels,
                    conv.channels,
                    conv.kernel,
                    method.weights(conv.channels),
                    method.activations() if n > 1 else InputThreshold(),
                    border=border,
                    stride=conv.stride,
                    padding=conv.padding,
                )
            if conv.pool > 1:
                layers[f"pool{n}"] = nn.MaxPool2d(conv.pool)
            layers[f"norm{n}"] = nn.BatchNorm2d(conv.channels)
            channels, height, width = conv.channels, conv.side(height), conv.side(width)
        layers["flatten"] = nn.Flatten()
        features = channels * height * width
        for n, neurons in enumerate(hidden, 1):
            layers[f"fc{n}"] = BinaryLinear(
                features, neurons, method.weights(neurons), method.activations()
            )
            layers[f"fc{n}_norm"] = nn.BatchNorm1d(neurons)
            features = neurons
        bits = method.activations(last=True)
        layers[f"fc{len(hidden) + 1}"] = (
            BinaryLinear(features, classes, method.weights(classes, last=True), bits)
            if score_bits == 1
            else IntegerLinear(features, classes, bits, bits=score_bits)
        )
        super().__init__(layers)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        balance(self, method)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of raw pixels ``x`` (N, channels, height, width) in 0…255."""
        return super().forward(x) * self.log_temperature.exp()


@named
def cnv(task: Task, *, method: Method = Method.SIGN, width: float = 1.0) -> ConvNet:
    """FINN's: six unpadded convolutions, of ±1 weights even on the pixels; two hidden layers."""
    convs = [Conv(channels) for channels in scaled(width, 64, 64, 128, 128, 256, 256)]
    convs[1], convs[3] = replace(convs[1], pool=2), replace(convs[3], pool=2)
    pixels = task.pixels and replace(task.pixels, bits=1)
    hidden = scaled(width, 512, 512)
    return ConvNet(task.shape, convs, hidden, task.classes, method=method, pixels=pixels)


@named
def conv_s(task: Task, *, method: Method = Method.SIGN, width: float = 1.0) -> ConvNet:
    """For 28×28 pixels and the smallest FPGAs: three small convolutions of bits."""
    first, second, third = scaled(width, 16, 32, 64)
    # A 3×3 window of black and white pixels says little.
    convs = [Conv(first, 5, pool=2), Conv(second, pool=2), Conv(third)]
    return ConvNet(task.shape, convs, (), task.classes, method=method)


@named
def conv_m(task: Task, *, method: Method = Method.SIGN, width: float = 1.0) -> ConvNet:
    """For 28×28 pixels: three convolutions, the first one with integer weights."""
    first, second, third = scaled(width, 32, 64, 128)
    convs = [Conv(first, 5, 2, 2), Conv(second, padding=1, pool=2), Conv(third, padding=1)]
    return ConvNet(task.shape, convs, (), task.classes, method=method, pixels=task.pixels)


@named
def conv_net(
    task: Task,
    *,
    convs: Sequence[Sequence[int]],
    hidden: Sequence[int] = (),
    border: str = Border.ZERO.value,
    score_bits: int = 1,
    method: Method = Method.SIGN,
) -> ConvNet:
    """Any convolutions, each with the numbers of a `Conv` in their order, and dense layers."""
    if not all(0 < len(numbers) <= 5 for numbers in convs):
        raise NetworkError("a convolution has channels, a kernel, a stride, a padding and a pool")
    return ConvNet(
        task.shape,
        [Conv(*numbers) for numbers in convs],
        hidden,
        task.classes,
        method=method,
        border=member("border", border, Border),
        pixels=task.pixels,
        score_bits=score_bits,
    )
