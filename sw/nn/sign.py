"""Plain signs: XNOR-Net's weights, and Bi-Real's and ReActNet's activations."""

from fractions import Fraction

import torch
from torch import Tensor, nn

from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.gradients import sign_clipped
from xnorflow.sw.nn.quantiser import (
    ActivationLevels,
    ActivationQuantiser,
    WeightLevels,
    WeightQuantiser,
    exact_rows,
    share,
    share_exactly,
)


__all__ = ["RSign", "Sign", "SignWeight"]


class SignWeight(WeightQuantiser):
    """``s·sign(w)`` with s = mean|w| of each filter, through which no gradient flows.

    Gradient: s on |w| ≤ 1, 0 elsewhere. Source: XNOR-Net, arXiv 1603.05279, with the gradient of
    ReActNet, arXiv 2003.03488.

    Parameters
    ----------
    shared_scale : bool
        One s for the whole layer.

    Examples
    --------
    >>> weight = torch.tensor([[0.5, -1.5, 1.0, -1.0]])
    >>> nn.SignWeight()(weight).tolist()
    [[1.0, -1.0, 1.0, -1.0]]
    """

    def __init__(self, *, shared_scale: bool = False) -> None:
        super().__init__()
        check_kind("shared_scale", shared_scale, bool)
        self.shared_scale = shared_scale

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Code (filters, synapses) and scale (filters,) of ``weight`` (filters, synapses)."""
        scale = weight.detach().abs().mean(dim=1)
        return sign_clipped(weight), share(scale) if self.shared_scale else scale

    def levels(self, weight: Tensor) -> WeightLevels:
        """Exact levels of the float64 ``weight`` (filters, synapses)."""
        rows, unit = exact_rows(weight)
        scales = [unit * sum(map(abs, row)) / len(row) for row in rows]
        return WeightLevels(
            bits=weight.detach() >= 0,
            scale_squared=tuple(
                scale**2 for scale in (share_exactly(scales) if self.shared_scale else scales)
            ),
            centres=torch.zeros(len(scales), dtype=torch.int64),
        )


class Sign(ActivationQuantiser):
    """``sign(x)``, with Bi-Real's gradient.

    Source: Bi-Real Net, arXiv 1808.00278.

    Examples
    --------
    >>> x = torch.tensor([[-1.5, -0.25, 0.0, 2.0]])
    >>> nn.Sign()(x).tolist()
    [[-1.0, -1.0, 1.0, 1.0]]
    """

    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` is above the threshold; same shape."""
        return x

    def levels(self) -> ActivationLevels:
        """Levels −1 and +1, threshold 0."""
        return ActivationLevels(Fraction(-1), Fraction(2), (Fraction(0),), (False,))


class RSign(ActivationQuantiser):
    """``sign(x + b_c)`` with a learned b for every channel, at first 0; or ``sign(±(x + b_c))``.

    Gradient: Bi-Real's, for x and for b. Source: ReActNet, arXiv 2003.03488.

    Parameters
    ----------
    channels : int
    polarised : bool
        Whether half of the channels are compared the other way round. Neighbouring channels and
        pixels are bright together; with weights {0, 1}, all filters of a window have half of its
        sum in common, and that would drown what they differ in. Channels of both polarities keep
        it small. It costs nothing in hardware: a threshold's output is inverted.

    Attributes
    ----------
    polarity : (channels,) of ±1, or None
        At first they take turns.

    Examples
    --------
    >>> x = torch.tensor([[-1.5, -0.25, 0.0, 2.0]])
    >>> quantiser = nn.RSign(4)
    >>> quantiser(x).tolist()
    [[-1.0, -1.0, 1.0, 1.0]]
    """

    polarity: Tensor | None

    def __init__(self, channels: int, *, polarised: bool = False) -> None:
        super().__init__()
        check_sizes(channels=channels)
        check_kind("polarised", polarised, bool)
        self.bias = nn.Parameter(torch.zeros(channels))
        turns = 1.0 - 2.0 * (torch.arange(channels) % 2)
        self.register_buffer("polarity", turns if polarised else None)

    def distance(self, x: Tensor) -> Tensor:
        """How far ``x`` is above the threshold, or below it where the polarity is −1."""
        y = x + self.bias
        return y if self.polarity is None else y * self.polarity

    def levels(self) -> ActivationLevels:
        """Levels −1 and +1, threshold −b of each channel."""
        falling = (self.bias.new_ones(1) if self.polarity is None else self.polarity) < 0
        biases, falling = torch.broadcast_tensors(self.bias.detach().double(), falling)
        thresholds = tuple(-Fraction(bias) for bias in biases.tolist())
        return ActivationLevels(Fraction(-1), Fraction(2), thresholds, tuple(falling.tolist()))
