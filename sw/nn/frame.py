"""DyBNN's thresholds and shifts that follow from the frame, as ordinary layers.

Both are given the numbers of a `HyperFunction`, which they may share: thresholds come first, shifts
last. A block reads::

    numbers = self.hyper(x)
    y = self.norm(self.conv(self.sign(x, numbers)))
    return self.act(y + self.shortcut(x), numbers)
"""

import torch
from torch import Tensor, nn

from xnorflow.sw.nn.dynamic import HyperConfig, HyperFunction
from xnorflow.sw.nn.prelu import RPReLU
from xnorflow.sw.nn.slopes import bend


__all__ = ["DyPReLU", "DySign"]


class DySign(nn.Module):
    """``x − τ_c``, the dynamic thresholds τ being the first of the numbers.

    The `RSign` of the convolution behind it then binarises that.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W), with ``numbers`` (N, channels or more, 1, 1)."""
        return x - numbers[:, : self.channels]


class DyPReLU(RPReLU):
    """``f(x + γ_c) + ζ_c``, with dynamic shifts beside RPReLU's own, which f has.

    Parameters
    ----------
    channels : int
    hyper : HyperConfig, optional
        With it, a hyper function of the layer's own reads what f gets without γ. Without it, γ and
        ζ are the last 2·channels of the numbers that are given.
    """

    def __init__(self, channels: int, *, hyper: HyperConfig | None = None) -> None:
        super().__init__(channels)
        self.channels = channels
        self.hyper = None if hyper is None else HyperFunction(channels, 2 * channels, hyper)

    def forward(self, x: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Map ``x`` (N, channels, H, W), with ``numbers`` (N, 2·channels or more, 1, 1)."""
        x = x + self.before[:, None, None]
        before, after = self.shifts(x, numbers).chunk(2, dim=1)
        y = bend(x + before, torch.ones_like(self.weight), self.weight, None)
        return y + after + self.after[:, None, None]

    def shifts(self, x: Tensor, numbers: Tensor | None) -> Tensor:
        """γ and ζ of each frame, (N, 2·channels, 1, 1)."""
        if self.hyper is not None:
            return self.hyper(x, None)
        if numbers is None:
            raise ValueError("a DyPReLU without a hyper function of its own must be given numbers")
        return numbers[:, -2 * self.channels :]
