"""Dense layers on binary activations: of binary weights, and of integers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.quantiser import ActivationQuantiser, Delivered, WeightQuantiser


__all__ = ["BinaryLinear", "IntegerLinear"]


class BinaryLinear(nn.Module):
    """Binarise the input, then multiply with binarised weights: ``y = Q_a(x) · Q_w(w)ᵀ``.

    Any pair of quantisers goes together. Gradients: those of the quantisers. The input's binariser
    is part of the layer, as in AdaBin, Bi-Real and ReActNet, or a module in front of it.

    Parameters
    ----------
    in_features, out_features : int
    weight_quantiser : WeightQuantiser
    activation_quantiser : ActivationQuantiser, optional
        Without one, the input must be what such a quantiser delivered.
    bias : bool
        Whether each output has a number, which is learned, added to its scaled sum.

    Attributes
    ----------
    weight : (out_features, in_features)
        Latent real weights, at first uniform on ±1/√in_features.
    bias : (out_features,), or None
        At first 0.

    Examples
    --------
    >>> layer = nn.BinaryLinear(4, 2, nn.SignWeight(), nn.Sign())
    >>> layer(torch.randn(5, 4)).shape
    torch.Size([5, 2])
    """

    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_quantiser: WeightQuantiser,
        activation_quantiser: ActivationQuantiser | None = None,
        *,
        bias: bool = False,
    ) -> None:
        super().__init__()
        activations = Delivered() if activation_quantiser is None else activation_quantiser
        check_sizes(in_features=in_features, out_features=out_features)
        check_kind("weights", weight_quantiser, WeightQuantiser)
        check_kind("activations", activations, ActivationQuantiser)
        check_kind("bias", bias, bool)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.weight_quantiser = weight_quantiser
        self.activation_quantiser = activations
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        nn.init.uniform_(self.weight, -(in_features**-0.5), in_features**-0.5)
        weight_quantiser.reset(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., in_features) to (..., out_features)."""
        activation, activation_scale = self.activation_quantiser.encode(x)
        weight, weight_scale = self.weight_quantiser.encode(self.weight)
        # Codes first: their sums are exact, so equal sums stay equal after scaling.
        y = functional.linear(activation, weight) * (activation_scale * weight_scale)
        return y if self.bias is None else y + self.bias


class IntegerLinear(nn.Module):
    """Binarise the input, then multiply with integer weights that share one scale: a last layer.

    Parameters
    ----------
    in_features, out_features : int
    activation_quantiser : ActivationQuantiser, optional
        Without one, the input must be what such a quantiser delivered.
    bits : int
        Width of the weights.

    Attributes
    ----------
    weight : (out_features, in_features)
        Latent real weights, at first uniform on ±1/√in_features.

    Examples
    --------
    >>> layer = nn.IntegerLinear(4, 2)
    >>> layer(torch.ones(5, 4)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation_quantiser: ActivationQuantiser | None = None,
        *,
        bits: int = 8,
    ) -> None:
        super().__init__()
        activations = Delivered() if activation_quantiser is None else activation_quantiser
        check_sizes(in_features=in_features, out_features=out_features)
        check_kind("activations", activations, ActivationQuantiser)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.weight_quantiser = IntegerWeight(bits, shared_scale=True)
        self.activation_quantiser = activations
        nn.init.uniform_(self.weight, -(in_features**-0.5), in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., in_features) to (..., out_features)."""
        activation, activation_scale = self.activation_quantiser.encode(x)
        weight, weight_scale = self.weight_quantiser.encode(self.weight)
        return functional.linear(activation, weight) * (activation_scale * weight_scale)
