"""Units of residual models: binary convolutions with a shortcut around them, on a grid or off it.

Bi-Real Net's (arXiv 1808.00278) have one convolution, and two slopes behind the sum::

    x ─┬─ binarise ─ convolution ─ batch norm ─┬─ add ─ two slopes ─
       └─────────────── shortcut ──────────────┘

A hyper function can add thresholds, and shifts of the slopes, that follow from the frame (DyBNN).
SiMaN's classic ones have two, and hardtanh behind the first and behind the sum. On a grid, hardtanh
is a stream of fraction + 1 bits, to which values are clipped that do not fit: it costs nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.dynamic import DyPReLU, DySign, FrameMean, clip_shifts
from xnorflow.sw.nn.grid import Grid, hardtanh, place
from xnorflow.sw.nn.normed import NormedBinaryConv, NormedPointwise, Quantised
from xnorflow.sw.nn.optional import per_channel
from xnorflow.sw.nn.shortcuts import Shortcut
from xnorflow.sw.nn.sign import RSign
from xnorflow.sw.nn.slopes import TwoSlope


__all__ = ["Shortcut", "Stream", "Unit", "distance"]


class Stream(NamedTuple):
    """Values of the residual stream: what is carried, and what is still to be added to it.

    Attributes
    ----------
    value : (N, channels, H, W)
    bias : (channels,), or None
        Added by nobody, but taken into account by everything that reads the stream.
    """

    value: Tensor
    bias: Tensor | None = None


class Unit(nn.Module):
    """One or two binary convolutions with a shortcut around them: see the module.

    Parameters
    ----------
    conv : NormedBinaryConv
        What is added to the shortcut.
    slopes : TwoSlope, optional
        Behind the sum; without them, it is hardtanh.
    first : NormedBinaryConv, optional
        In front of ``conv``, with hardtanh between the two.
    shortcut : Shortcut
        If the convolutions change the shape.
    projection : NormedBinaryConv, optional
        The binary convolution of such a shortcut.
    sign : DySign or FrameMean, optional
        Dynamic thresholds, in front of ``conv``. A `DySign` has shifts for slopes that need
        some.
    """

    def __init__(
        self,
        conv: NormedBinaryConv,
        slopes: TwoSlope | None,
        *,
        first: NormedBinaryConv | None = None,
        shortcut: Shortcut,
        projection: NormedBinaryConv | None = None,
        sign: DySign | FrameMean | None = None,
    ) -> None:
        super().__init__()
        entry = first or conv
        filters, channels = conv.conv.weight.shape[0], entry.conv.weight.shape[1]
        self.stride = entry.conv.stride
        self.extra = filters - channels
        self.kind = shortcut
        self.conv = conv
        changes = self.stride > 1 or self.extra > 0
        self.pointwise = (
            NormedPointwise(channels, filters) if changes and shortcut is Shortcut.AVERAGE else None
        )
        self.slopes = slopes
        self.first = first
        self.projection = projection
        self.sign = sign

    def quantise(self) -> dict[str, Quantised]:
        """Weights of this moment, of each binary convolution by its name."""
        parts = {"conv": self.conv, "first": self.first, "projection": self.projection}
        return {name: part.quantise() for name, part in parts.items() if part is not None}

    def shortcut(self, x: Stream, weights: Mapping[str, Quantised], grid: Grid | None) -> Stream:
        """What is added to the convolution."""
        value, bias = x
        if self.projection is not None:
            return Stream(self.projection(value, weights["projection"], bias, None, grid))
        if self.kind is Shortcut.PAD:
            value = value[:, :, :: self.stride, :: self.stride]
        else:
            value = self.pool(value, grid)
        if self.pointwise is not None:
            return Stream(self.pointwise(value, bias, grid))
        if self.extra and self.kind is Shortcut.REPEAT:
            return Stream(value.repeat(1, 2, 1, 1), None if bias is None else bias.repeat(2))
        if self.extra:
            before = self.extra // 2
            value = functional.pad(value, (0, 0, 0, 0, before, self.extra - before))
            bias = None if bias is None else functional.pad(bias, (before, self.extra - before))
        return Stream(value, bias)

    def pool(self, value: Tensor, grid: Grid | None) -> Tensor:
        """Means of 2 × 2 pixels, where the stride asks for them."""
        if self.stride == 1:
            return value
        y = functional.avg_pool2d(value, self.stride)
        if grid is None:
            return y
        with torch.no_grad():
            exact = grid.round_to_grid(y * 2.0**grid.fraction)
        return place(y, exact)

    def enter(self, x: Stream, weights: Mapping[str, Quantised], grid: Grid | None) -> Stream:
        """What ``conv`` gets: hardtanh of the first convolution, or ``x`` if there is none."""
        if self.first is None:
            return x
        return Stream(hardtanh(self.first(x.value, weights["first"], x.bias, None, grid), grid))

    def look(self, x: Stream, grid: Grid | None) -> tuple[Stream, Tensor | None]:
        """What is left of ``x`` above the frame's thresholds, and the frame's shifts."""
        match self.sign:
            case DySign():
                value, shifts = self.sign(x.value, grid)
                return Stream(value, x.bias), shifts
            case FrameMean():
                return Stream(self.sign(x.value)), None
            case _:
                return x, None

    def of_frame(self, x: Stream, total: Tensor, grid: Grid | None) -> dict[str, Tensor]:
        """What the frame decides, of the stream ``x`` and of the sum ``total`` in front of slopes:
        thresholds and shifts, or the sum that is a mean, by the names of the network's nodes.
        """
        found = {}
        match self.sign:
            case DySign():
                quantiser = self.conv.conv.activation_quantiser
                assert isinstance(quantiser, RSign)
                assert quantiser.polarity is None
                static = per_channel(quantiser.bias, x.value.shape[1])
                static = static if x.bias is None else static + x.bias
                found["frame"] = self.sign.of_frame(x.value, -static, grid)
            case FrameMean():
                found["frame"] = x.value.sum(dim=(1, 2, 3), keepdim=True)
        if isinstance(self.slopes, DyPReLU) and self.slopes.hyper is not None:
            shifts = self.slopes.hyper(total, grid)
            found["shifts"] = shifts if grid is None else clip_shifts(shifts, grid)
        return found

    def offset(self, shortcut: Stream) -> Tensor | None:
        """What the convolution's constant takes over from others: (filters,)."""
        before = None if self.slopes is None else self.slopes.before
        terms = [term for term in (shortcut.bias, before) if term is not None]
        return sum(terms[1:], terms[0]) if terms else None

    def forward(
        self,
        x: Stream,
        weights: Mapping[str, Quantised],
        grid: Grid | None,
        trace: dict[str, Tensor] | None = None,
    ) -> Stream:
        """Map ``x`` to the stream behind this unit; ``trace`` gets what it consists of.

        The ``weights`` are those that `quantise` gives: how that is done changes as training goes
        on, and what is left can be compiled once for all units of a shape.
        """
        shortcut = self.shortcut(x, weights, grid)
        inner, shifts = self.look(self.enter(x, weights, grid), grid)
        y = self.conv(inner.value, weights["conv"], inner.bias, self.offset(shortcut), grid)
        total = y + shortcut.value
        if self.slopes is None:
            total = hardtanh(total, grid)
            out = Stream(total)
        else:
            total = total if grid is None else grid.clip(total)
            given = (shifts,) if isinstance(self.slopes, DyPReLU) else ()
            value, after = self.slopes(total, grid, *given), self.slopes.after
            out = Stream(value, None if after is None else per_channel(after, value.shape[1]))
        if trace is not None:
            trace |= self.of_frame(x, total, grid)
            if self.projection is not None:
                trace |= {"short_bits": distance(self.projection, x), "short_norm": shortcut.value}
            if self.first is not None:
                trace |= {"first_bits": distance(self.first, x), "first_norm": inner.value}
            trace |= {
                "bits": distance(self.conv, inner),
                "norm": y,
                "short": shortcut.value,
                "add": total,
                "act": out.value,
            }
        return out


def distance(conv: NormedBinaryConv, x: Stream) -> Tensor:
    """How far ``x`` is above the thresholds of what convolves it: (N, channels, H, W)."""
    value = x.value if x.bias is None else x.value + x.bias[:, None, None]
    quantiser = conv.conv.activation_quantiser
    return quantiser.distance(value.movedim(1, -1)).movedim(-1, 1)
