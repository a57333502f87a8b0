"""He's ResNet-18 for small images, in floating point: a teacher's layers."""

from torch import Tensor, nn
from torch.nn import functional


__all__ = ["resnet18_layers"]

_WIDTHS = 64, 128, 256, 512


def resnet18_layers(channels: int) -> tuple[nn.Sequential, int]:
    """Layers in front of the mean over all pixels, and the channels of their result.

    Source: He et al., arXiv 1512.03385, with a first layer of 3×3 taps and no max-pool.
    """
    layers: list[nn.Module] = [*_normed(channels, _WIDTHS[0], 1), nn.ReLU(inplace=True)]
    width = _WIDTHS[0]
    for wider in _WIDTHS:
        layers += [_Block(width, wider, 1 if wider == width else 2), _Block(wider, wider, 1)]
        width = wider
    return nn.Sequential(*layers), width


class _Block(nn.Module):
    """Two convolutions and a shortcut around them."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_normed(channels, filters, stride),
            nn.ReLU(inplace=True),
            *_normed(filters, filters, 1),
        )
        self.shortcut = nn.Sequential()
        if channels != filters:
            self.shortcut = nn.Sequential(*_normed(channels, filters, stride, side=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W)."""
        return functional.relu(self.body(x) + self.shortcut(x))


def _normed(channels: int, filters: int, stride: int, side: int = 3) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(channels, filters, side, stride, padding=side // 2, bias=False)
    return conv, nn.BatchNorm2d(filters)
