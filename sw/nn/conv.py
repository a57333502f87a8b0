"""Convolutions: binary weights on binary activations, and integer weights on raw pixels."""

from enum import Enum

import torch
from torch import Tensor, nn

from xnorflow.errors import NetworkError
from xnorflow.ir.windows import Padding, Pair, axes_of, four
from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.integer_activation import ScaledActivation
from xnorflow.sw.nn.quantiser import ActivationQuantiser, Delivered, WeightQuantiser
from xnorflow.sw.nn.windows import convolve, pad, place, sides_of


__all__ = ["BinaryConv2d", "Border", "IntegerConv2d"]


class Border(Enum):
    """Value of binary taps outside the frame."""

    ZERO = "zero"
    """Zero, a third value, which is how the papers pad."""

    LOWER = "lower"
    """The lower level, bit 0: all windows are then alike."""


class BinaryConv2d(nn.Module):
    """Binarise the input, then convolve it with binarised weights.

    Any pair of quantisers goes together, as in `BinaryLinear`; those of weights see a filter as a
    row, those of activations have the channels last.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel : int or (rows, columns)
        Its side.
    weight_quantiser : WeightQuantiser
    activation_quantiser : ActivationQuantiser, optional
        Without one, the input must be what such a quantiser delivered.
    stride, dilation : int or (rows, columns)
        As in PyTorch.
    padding : int, (rows, columns) or (top, bottom, left, right)
        Pixels on each side.
    groups : int
        As in PyTorch; as many as there are channels make it depthwise.
    border : Border
        What the padding consists of; the lower level is that of the activation quantiser.
    bias : bool
        Whether each filter adds a number, which is learned, to its scaled sums.

    Attributes
    ----------
    weight : (out_channels, in_channels / groups, rows, columns)
        Latent real weights, at first uniform on ±1/√(synapses of a filter).
    bias : (out_channels,), or None
        At first 0.

    Examples
    --------
    >>> layer = nn.BinaryConv2d(3, 8, 3, nn.SignWeight(), nn.RSign(3), padding=1)
    >>> layer(torch.randn(1, 3, 6, 6)).shape
    torch.Size([1, 8, 6, 6])
    """

    bias: Tensor | None
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        weight_quantiser: WeightQuantiser,
        activation_quantiser: ActivationQuantiser | None = None,
        *,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        border: Border = Border.ZERO,
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        sides, channels = sides_of(kernel), (in_channels, out_channels)
        place(self, channels, stride, padding, dilation, groups)
        check_kind("weights", weight_quantiser, WeightQuantiser)
        activations = Delivered() if activation_quantiser is None else activation_quantiser
        check_kind("activations", activations, ActivationQuantiser)
        check_kind("border", border, Border)
        check_kind("bias", bias, bool)
        if (
            self.padding
            and border is Border.LOWER
            and isinstance(activations, Delivered | ScaledActivation)
        ):
            raise NetworkError("a border of the lower level needs a quantiser of two levels")
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *sides))
        self.weight_quantiser = weight_quantiser
        self.activation_quantiser = activations
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.border = border
        _initialise(self.weight)
        weight_quantiser.reset(self.weight.flatten(1))

    @property
    def has_centres(self) -> bool:
        """Whether weight levels are neither ±α nor 0 and α, so that sums depend on P, too."""
        _, centres, _ = self.weight_quantiser.split(self.weight.flatten(1))
        return centres is not None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (N, in_channels, H, W) to (N, out_channels, H′, W′)."""
        code, activation_scale = self.activation_quantiser.encode(x.movedim(1, -1))
        code = code.movedim(-1, 1)
        padded = bool(self.padding) and self.border is Border.LOWER
        if padded:
            outside = pad(torch.zeros_like(code[:1, :1]), self.padding, 1.0)
            centre = self.activation_quantiser.centre()
            code = pad(code, self.padding) + outside * (-1.0 if centre is None else centre - 1)
        weight, weight_scale = self.weight_quantiser.encode(self.weight.flatten(1))
        # Codes first: their sums are exact, so equal sums stay equal after scaling.
        weight = weight.reshape(self.weight.shape)
        sums = convolve(code, weight, self, padded=padded)
        y = sums * (activation_scale * weight_scale)[:, None, None]
        return y if self.bias is None else y + self.bias[:, None, None]


class IntegerConv2d(nn.Module):
    """Normalise raw pixels, and convolve them with integer weights: a first layer.

    ``y = Σ (w/s)·((x/255 − mean)/deviation)`` of each channel, zero-padded after normalisation,
    where w/(255·deviation) is rounded to ``bits`` bits times a scale for every filter. So
    y = scale·Σ q·(x − 255·mean) with integers q: the sums of q·x are exact, and what normalisation
    adds to them is a constant, except where windows reach outside the frame.

    Parameters
    ----------
    in_channels, out_channels, kernel, stride, padding, dilation, groups
        As for `BinaryConv2d`.
    mean, deviation : tuple of float, (in_channels,)
        Of pixels in 0…1.
    bits : int
        Width of the weights.

    Attributes
    ----------
    weight : (out_channels, in_channels / groups, rows, columns)
        Latent real weights, at first uniform on ±1/√(synapses of a filter).

    Examples
    --------
    >>> layer = nn.IntegerConv2d(3, 8, 3, mean=(0.5,) * 3, deviation=(0.25,) * 3)
    >>> layer(torch.rand(1, 3, 6, 6)).shape
    torch.Size([1, 8, 4, 4])
    """

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        *,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
        bits: int = 8,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        sides, channels = sides_of(kernel), (in_channels, out_channels)
        place(self, channels, stride, padding, dilation, groups)
        if not len(mean) == len(deviation) == in_channels:
            raise ValueError(
                f"mean and deviation must have {in_channels} channels, "
                f"not {len(mean)} and {len(deviation)}"
            )
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *sides))
        self.weight_quantiser = IntegerWeight(bits)
        self.mean = mean
        self.deviation = deviation
        _initialise(self.weight)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Integers q, of the shape of ``weight``, and their scales (out_channels,)."""
        unit = (255 * self.weight.new_tensor(self.deviation)).view(self.groups, -1)
        if self.groups > 1:
            unit = unit.repeat_interleave(len(self.weight) // self.groups, dim=0)
        code, scale = self.weight_quantiser.encode((self.weight / unit[..., None, None]).flatten(1))
        return code.reshape(self.weight.shape), scale

    def sums(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Σ q·x of every window, what normalisation adds to it, and the scale of the two.

        Shapes (N, out_channels, H′, W′), (1, out_channels, H′, W′) and (out_channels,); without
        padding, all windows have the same constants, (1, out_channels, 1, 1).
        """
        code, scale = self.encode()
        # Separately: sums of integers are exact, so equal ones stay equal.
        rows, columns = axes_of(self.weight.shape[2:], self.stride, 0, self.dilation)
        side = x.shape[2:] if any(four(self.padding)) else (rows.span, columns.span)
        means = (-255 * x.new_tensor(self.mean))[None, :, None, None].expand(-1, -1, *side)
        # They nearly cancel, so they are not rounded in between, in whatever the rest is computed.
        with torch.autocast(x.device.type, enabled=False):
            sums, constants = (convolve(values, code, self) for values in (x, means))
        return sums, constants, scale

    def forward(self, x: Tensor) -> Tensor:
        """Map raw pixels ``x`` (N, in_channels, H, W) in 0…255 to (N, out_channels, H′, W′)."""
        sums, constants, scale = self.sums(x)
        return (sums + constants) * scale[:, None, None]


def _initialise(weight: Tensor) -> None:
    reach = weight[0].numel() ** -0.5
    nn.init.uniform_(weight, -reach, reach)
