"""Residual models that have a name."""

from enum import Enum

from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.unit import Shortcut
from xnorflow.sw.residual_config import (
    ResidualConfig,
    ResidualMethod,
    StemConfig,
    UnitConfig,
    UnitForm,
)


__all__ = ["NamedResidual"]


class NamedResidual(Enum):
    """Residual models that have a name."""

    RESNET20 = "resnet20"
    """He's for CIFAR-10: three stages of 16, 32 and 64 channels, of six convolutions each."""

    RESNET18 = "resnet18"
    """For CIFAR-10: four stages of 64 to 512 channels, of four convolutions each."""

    RESNET18_CLASSIC = "resnet18-classic"
    """The same convolutions in SiMaN's form: hardtanh, and shortcuts around two of them."""

    RESNET18_IMAGENET = "resnet18-imagenet"
    """For ImageNet: RESNET18 behind a first layer of 7 × 7 and a max-pool."""

    RESNET8 = "resnet8"
    """Two convolutions in each of three stages: for small images and small FPGAs."""

    REACTNET_A = "reactnet-a"
    """ReActNet's MobileNet for CIFAR-10: 13 pairs of convolutions, 3 × 3 and 1 × 1."""

    REACTNET_A_IMAGENET = "reactnet-a-imagenet"
    """The same as ReActNet's authors have it, for ImageNet."""

    @property
    def method(self) -> ResidualMethod:
        """Whose model it is, if nothing else is said."""
        match self:
            case NamedResidual.RESNET18_CLASSIC:
                return ResidualMethod.SIMAN
            case NamedResidual.REACTNET_A | NamedResidual.REACTNET_A_IMAGENET:
                return ResidualMethod.REACTNET
            case _:
                return ResidualMethod.ADABIN

    @property
    def grid(self) -> Grid:
        """Fixed-point numbers, if nothing else is said: scores must not need more than 32 bits."""
        mobile = self in (NamedResidual.REACTNET_A, NamedResidual.REACTNET_A_IMAGENET)
        return Grid(bits=15 if mobile else 16)  # 1,024 channels, twice as many as others have

    @property
    def imagenet(self) -> bool:
        """Whether it is made for large images, of which it soon keeps every fourth row."""
        return self in (NamedResidual.RESNET18_IMAGENET, NamedResidual.REACTNET_A_IMAGENET)

    def config(
        self,
        method: ResidualMethod,
        pixels: IntegerPixels,
        *,
        input_shape: tuple[int, int, int] = (32, 32, 3),
        classes: int = 10,
        grid: Grid | None = None,
    ) -> ResidualConfig:
        """What the model is made of; the parameters are those of `ResidualConfig`."""
        form = UnitForm.BIREAL
        match self:
            case NamedResidual.RESNET20:
                stem, units, shortcut = StemConfig(16), _stages(16, 32, 64, depth=6), Shortcut.PAD
            case NamedResidual.RESNET8:
                stem, units, shortcut = StemConfig(16), _stages(16, 32, 64, depth=2), Shortcut.PAD
            case NamedResidual.RESNET18 | NamedResidual.RESNET18_IMAGENET:
                stem = StemConfig(64, 7, 2, pooled=True) if self.imagenet else StemConfig(64)
                units, shortcut = _stages(64, 128, 256, 512, depth=4), Shortcut.AVERAGE
            case NamedResidual.RESNET18_CLASSIC:
                stem, shortcut = StemConfig(64, activated=False), Shortcut.BINARY
                units, form = _stages(64, 128, 256, 512, depth=2), UnitForm.CLASSIC
            case NamedResidual.REACTNET_A | NamedResidual.REACTNET_A_IMAGENET:
                stem = StemConfig(32, stride=2 if self.imagenet else 1, activated=False)
                units, shortcut = _mobile(32), Shortcut.REPEAT
        return ResidualConfig(
            method, stem, units, pixels, shortcut, input_shape, classes, grid, form
        )


def _stages(*widths: int, depth: int) -> tuple[UnitConfig, ...]:
    """Stages of so many channels and ``depth`` units, each at half the size of the one before."""
    return tuple(
        UnitConfig(channels, stride=2 if stage and not n else 1)
        for stage, channels in enumerate(widths)
        for n in range(depth)
    )


def _mobile(stem: int) -> tuple[UnitConfig, ...]:
    """MobileNet's pairs of convolutions, 3 × 3 and 1 × 1, behind so many channels."""
    units = []
    before = stem
    for channels in (64, *[128] * 2, *[256] * 2, *[512] * 6, *[1024] * 2):
        halves = channels > before > stem
        units += [UnitConfig(before, stride=2 if halves else 1), UnitConfig(channels, kernel=1)]
        before = channels
    return tuple(units)
