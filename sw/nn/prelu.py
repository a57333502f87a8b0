"""Activation functions of two slopes for each channel: AdaBin's Maxout, and ReActNet's RPReLU."""

import torch
from torch import Tensor, nn

from xnorflow.sw.nn.slopes import bend


__all__ = ["Maxout", "RPReLU"]


class Maxout(nn.Module):
    """``p_c·max(x, 0) + n_c·min(x, 0)`` with learned slopes, at first 1 and 0.25.

    Source: AdaBin, arXiv 2208.08084.

    Attributes
    ----------
    positive, negative : (channels,)
        Slopes p and n.

    Examples
    --------
    >>> nn.Maxout(2)(torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1)).flatten().tolist()
    [-0.25, 2.0]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.positive = nn.Parameter(torch.ones(channels))
        self.negative = nn.Parameter(torch.full((channels,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W); same shape."""
        return bend(x, self.positive, self.negative, None)


class RPReLU(nn.Module):
    """PReLU between two learned shifts of each channel, at first 0.

    Source: ReActNet, arXiv 2003.03488.

    Attributes
    ----------
    weight : (channels,)
        Slope of negative values, at first 0.25.
    before, after : (channels,)
        What is added to the input, and to the output.

    Examples
    --------
    >>> nn.RPReLU(2)(torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1)).flatten().tolist()
    [-0.25, 2.0]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.before = nn.Parameter(torch.zeros(channels))
        self.after = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W); same shape."""
        x = x + self.before[:, None, None]
        return bend(x, torch.ones_like(self.weight), self.weight, None) + self.after[:, None, None]
