"""Shortcuts around layers that change the shape, and the convolution that some of them have."""

from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.integer import IntegerWeight


__all__ = ["IntegerPointwise", "PadChannels", "RepeatChannels", "Shortcut", "Subsample"]


class Shortcut(Enum):
    """Shortcut around convolutions that change the shape."""

    PAD = "pad"
    """Every other row and column, and channels of zeros on both sides: nothing is learned."""

    AVERAGE = "average"
    """Means of 2 × 2 pixels, and a 1 × 1 convolution with integer weights."""

    REPEAT = "repeat"
    """Means of 2 × 2 pixels, and all channels once more: nothing is learned.

    ReActNet-A has two convolutions side by side, each with the same shortcut. That is one
    convolution with the filters of both, and this shortcut.
    """

    BINARY = "binary"
    """A binary 1 × 1 convolution of every other row and column."""


class Subsample(nn.Module):
    """Every ``stride``-th row and column, from the first on.

    Examples
    --------
    >>> nn.Subsample(2)(torch.arange(9.0).reshape(1, 1, 3, 3))
    tensor([[[[0., 2.],
              [6., 8.]]]])
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        if stride < 2:
            raise ValueError(f"a stride that leaves pixels out must be at least 2, not {stride}")
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
        return x[:, :, :: self.stride, :: self.stride]


class PadChannels(nn.Module):
    """So many channels of zeros ``before`` and ``after`` those of the input.

    Examples
    --------
    >>> nn.PadChannels(1, 2)(torch.ones(1, 4, 6, 6)).shape
    torch.Size([1, 7, 6, 6])
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        if min(before, after) < 0:
            raise ValueError(f"there must not be fewer than 0 channels, but {before} and {after}")
        self.before = before
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, before + channels + after, H, W)."""
        return functional.pad(x, (0, 0, 0, 0, self.before, self.after))


class RepeatChannels(nn.Module):
    """All channels twice, one copy behind the other.

    Examples
    --------
    >>> nn.RepeatChannels()(torch.ones(1, 4, 6, 6)).shape
    torch.Size([1, 8, 6, 6])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, 2·channels, H, W)."""
        return x.repeat(1, 2, 1, 1)


class IntegerPointwise(nn.Module):
    """1 × 1 convolution with integer weights, and a scale for each filter.

    Parameters
    ----------
    in_channels, out_channels : int
    bits : int
        Width of the weights.

    Attributes
    ----------
    weight : (out_channels, in_channels, 1, 1)
        Latent real weights, at first uniform on ±1/√in_channels.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bits: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        self.weight_quantiser = IntegerWeight(bits)
        nn.init.uniform_(self.weight, -(in_channels**-0.5), in_channels**-0.5)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Integers, of the shape of ``weight``, and their scales (out_channels,)."""
        code, scale = self.weight_quantiser.encode(self.weight.flatten(1))
        return code.reshape(self.weight.shape), scale

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, in_channels, H, W) to (N, out_channels, H, W)."""
        code, scale = self.encode()
        return functional.conv2d(x, code) * scale[:, None, None]
