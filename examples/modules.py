"""Five modules as one writes them in PyTorch, for 3 × 12 × 12 images and four classes.

Those with residual connections compute on a fixed-point grid: `xnorflow.prepare` puts them on it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow import nn as xnn


CHANNELS, SIDE, CLASSES = 3, 12, 4
STATISTICS = {"mean": (0.5,) * CHANNELS, "deviation": (0.25,) * CHANNELS}


def sequential() -> nn.Module:
    """A convolutional network in an ``nn.Sequential``."""
    return nn.Sequential(
        xnn.IntegerConv2d(CHANNELS, 8, 3, padding=1, **STATISTICS),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.MaxPool2d(2),
        xnn.BinaryConv2d(8, 12, 3, xnn.SignWeight(), xnn.RSign(8), padding=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(12),
        nn.Dropout(0.1),
        nn.Flatten(),
        xnn.BinaryLinear(108, 16, xnn.AdaBinWeight(), xnn.AdaBinActivation()),
        nn.BatchNorm1d(16),
        nn.BatchNorm1d(16, affine=False),
        xnn.BinaryLinear(16, CLASSES, xnn.SignWeight(shared_scale=True), xnn.Sign()),
    )


class Functional(nn.Module):
    """Functions between the layers, constants, and a shift for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = xnn.BinaryConv2d(
            CHANNELS, 8, 4, xnn.SignWeight(), xnn.InputThreshold(), stride=2
        )
        self.norm1 = nn.BatchNorm2d(8)
        half = xnn.SiManWeight(8, xnn.SiManForm.HALF)
        self.conv2 = xnn.BinaryConv2d(8, 8, 2, half, xnn.Sign())
        self.norm2 = nn.BatchNorm2d(8)
        self.fc = xnn.IntegerLinear(32, CLASSES, xnn.Sign(), bits=6)
        self.register_buffer("shift", torch.linspace(-1, 1, 8)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        x = functional.hardtanh(self.norm1(self.conv1(x)) * 0.5 - 0.25)
        x = functional.max_pool2d(self.norm2(self.conv2(x)) + self.shift, 2)
        return self.fc(x.view(x.size(0), -1)) / 3


class PreActivation(nn.Module):
    """A stream to which blocks of batch norm, signs and a convolution add."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = xnn.IntegerConv2d(CHANNELS, 8, 3, padding=1, **STATISTICS)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(4)])
        self.convs = nn.ModuleList([
            xnn.BinaryConv2d(8, 8, 3, xnn.SignWeight(), xnn.Sign(), padding=1) for _ in range(2)
        ])
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        x = self.norms[3](self.stem(x))
        for norm, conv in zip(self.norms, self.convs, strict=False):
            x = x + conv(norm(x))
        return self.fc(functional.relu(self.norms[2](x)).mean((2, 3)))


class TwoBranches(nn.Module):
    """Two kernels side by side, whose channels are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.near = xnn.BinaryConv2d(CHANNELS, 6, 1, xnn.SignWeight(), xnn.InputThreshold())
        self.far = xnn.BinaryConv2d(
            CHANNELS, 6, 3, xnn.AdaBinWeight(), xnn.InputThreshold(), padding=1
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(6), nn.BatchNorm2d(6)])
        self.conv = xnn.BinaryConv2d(12, 8, 3, xnn.SignWeight(), xnn.RSign(12), stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.fc = xnn.BinaryLinear(200, CLASSES, xnn.SignWeight(shared_scale=True), xnn.Sign())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        x = torch.cat([self.norms[0](self.near(x)), self.norms[1](self.far(x))], dim=1)
        return self.fc(torch.flatten(self.norm(self.conv(x)), 1))


class Block(nn.Module):
    """A binary convolution with a shortcut around it, and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = xnn.BinaryConv2d(
            channels, channels, 3, xnn.AdaBinWeight(None), xnn.RSign(channels), padding=1
        )
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, height, width) to the same shape."""
        return self.act(self.norm(self.conv(x)) + x)


class Residual(nn.Module):
    """A residual network with PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = xnn.IntegerConv2d(CHANNELS, 8, 3, stride=2, padding=1, **STATISTICS)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        x = self.blocks(self.norm(self.stem(x)))
        return self.fc(self.pool(x).flatten(1))


MODULES = {
    "sequential": sequential,
    "functional": Functional,
    "pre-activation": PreActivation,
    "two branches": TwoBranches,
    "residual": Residual,
}
RESIDUAL = PreActivation, Residual
"""Those that need a grid."""
