"""Layers of a residual network that computes on a fixed-point grid, but for those with sums.

They are what `xnorflow.sw.frontend.prepare` puts in the place of ordinary layers. Each has the
parameters of the layer that it replaces, under the same names. Shifts are left out: what is added
in front of an activation function belongs to the constant of the sums before it, and what is added
behind it is deferred to whatever comes next.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.dynamic import HyperFunction, clip_shifts
from xnorflow.sw.nn.frame import DyPReLU
from xnorflow.sw.nn.grid import Grid, hardtanh, place
from xnorflow.sw.nn.prelu import Maxout, RPReLU
from xnorflow.sw.nn.slopes import bend


__all__ = [
    "Constant",
    "GridAdd",
    "GridAverage",
    "GridDyPReLU",
    "GridHardtanh",
    "GridHyper",
    "GridMaxout",
    "GridPReLU",
    "GridRPReLU",
    "GridReLU",
    "GridShift",
    "GridSlopes",
]


class GridSlopes(nn.Module, ABC):
    """``p_c·max(x, 0) + n_c·min(x, 0)``, slopes and result on the grid."""

    grid: Grid

    @abstractmethod
    def slopes(self) -> tuple[Tensor, Tensor]:
        """Real slopes p and n: (channels,), or (1,)."""

    def codes(self) -> tuple[Tensor, Tensor]:
        """Integers that stand for p and n, in units of 2^−slope_fraction."""
        p, n = self.slopes()
        unit = 2.0**self.grid.slope_fraction
        return (p * unit).round(), (n * unit).round()

    def rounded(self) -> tuple[Tensor, Tensor]:
        """Both slopes, rounded."""
        (p, n), (p_code, n_code) = self.slopes(), self.codes()
        unit = 2.0**-self.grid.slope_fraction
        return place(p, p_code.detach() * unit), place(n, n_code.detach() * unit)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W), without shifts; same shape."""
        p, n = (slope.expand(x.shape[1]) for slope in self.rounded())
        return bend(x, p, n, self.grid)


class GridMaxout(GridSlopes, Maxout):
    """`Maxout` on the grid."""

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Real slopes p and n: (channels,)."""
        return self.positive, self.negative


class GridPReLU(GridSlopes, nn.PReLU):
    """PyTorch's `PReLU` on the grid."""

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Real slopes 1 and n: (channels,), or (1,)."""
        return torch.ones_like(self.weight), self.weight


class GridRPReLU(GridSlopes, RPReLU):
    """`RPReLU` on the grid, without its shifts."""

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Real slopes 1 and n: (channels,)."""
        return torch.ones_like(self.weight), self.weight


class GridReLU(GridSlopes):
    """ReLU, or a leaky one, on the grid: nothing is learned."""

    def __init__(self, grid: Grid, negative: float = 0.0) -> None:
        super().__init__()
        self.grid = grid
        # A tensor that follows the model, but is not part of its state.
        self.register_buffer("both", torch.tensor([[1.0], [negative]]), persistent=False)

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Real slopes 1 and n: (1,)."""
        both = self.get_buffer("both")
        return both[0], both[1]


class GridDyPReLU(GridSlopes, DyPReLU):
    """`DyPReLU` on the grid, without its static shifts.

    Dynamic ones have one bit more than the stream, and only the result is clipped.
    """

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Real slopes 1 and n: (channels,)."""
        return torch.ones_like(self.weight), self.weight

    def forward(self, x: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Map ``x`` (N, channels, H, W), with ``numbers`` (N, 2·channels or more, 1, 1)."""
        grid = self.grid
        before, after = clip_shifts(self.shifts(x, numbers), grid).chunk(2, dim=1)
        y = bend(x + before, *self.rounded(), None) + after
        return place(y, grid.round_to_grid(y.detach() * 2.0**grid.fraction))

    def shifts(self, x: Tensor, numbers: Tensor | None) -> Tensor:
        """γ and ζ of each frame, (N, 2·channels, 1, 1)."""
        return super().shifts(x, numbers) if self.hyper is None else self.hyper(x, self.grid)


class GridHyper(HyperFunction):
    """`HyperFunction` of a stream."""

    grid: Grid

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Map ``x + bias`` (N, channels, H, W) to (N, outputs, 1, 1)."""
        return super().forward(x, self.grid, bias)


class GridAdd(nn.Module):
    """Sum of two streams, clipped."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Map ``x`` and ``other``, of the same shape."""
        return self.grid.clip(x + other)


class GridHardtanh(nn.Module):
    """Values within ±1: a narrower stream."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x``; same shape."""
        return hardtanh(x, self.grid)


class GridAverage(nn.Module):
    """Means of ``size`` × ``size`` pixels, rounded."""

    def __init__(self, grid: Grid, size: int) -> None:
        super().__init__()
        self.grid = grid
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W) to (N, channels, H/size, W/size)."""
        y = functional.avg_pool2d(x, self.size)
        with torch.no_grad():
            exact = self.grid.round_to_grid(y * 2.0**self.grid.fraction)
        return place(y, exact)


class GridShift(nn.Module):
    """A deferred shift, rounded and added: where what comes next cannot take it along."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def codes(self, bias: Tensor) -> Tensor:
        """The shift (channels,) in units of the stream's last bit."""
        return (bias * 2.0**self.grid.fraction).round()

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map ``x`` (N, channels, H, W)."""
        rounded = place(bias, self.codes(bias).detach() * 2.0**-self.grid.fraction)
        return self.grid.clip(x + rounded[:, None, None])


class Constant(nn.Module):
    """The same for every frame, and not a part of the state."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value, persistent=False)

    def forward(self) -> Tensor:
        """The constant."""
        return self.get_buffer("value")
