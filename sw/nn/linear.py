"""Dense layers on binary activations: of binary weights, and of integers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from xnorflow.sw.nn.arguments import check_kind, check_sizes
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.quantiser import ActivationQuantiser, WeightQuantiser


__all__ = ["BinaryLinear", "IntegerLinear"]


class BinaryLinear(nn.Module):
    """Binarise the input, then multiply with binarised weights: ``y = Q_a(x) · Q_w(w)ᵀ``.

    Any pair of quantisers goes together. Gradients: those of the quantisers. The input's binariser
    is part of the layer, as in AdaBin, Bi-Real and ReActNet, and there is no bias: batch
    normalisation or the next threshold has it.

    Parameters
    ----------
    in_features, out_features : int
    weight_quantiser : WeightQuantiser
    activation_quantiser : ActivationQuantiser

    Attributes
    ----------
    weight : (out_features, in_features)
        Latent real weights, at first uniform on ±1/√in_features.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_quantiser: WeightQuantiser,
        activation_quantiser: ActivationQuantiser,
    ) -> None:
        super().__init__()
        check_sizes(in_features=in_features, out_features=out_features)
        check_kind("weights", weight_quantiser, WeightQuantiser)
        check_kind("activations", activation_quantiser, ActivationQuantiser)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.weight_quantiser = weight_quantiser
        self.activation_quantiser = activation_quantiser
        nn.init.uniform_(self.weight, -(in_features**-0.5), in_features**-0.5)
        weight_quantiser.reset(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., in_features) to (..., out_features)."""
        activation, activation_scale = self.activation_quantiser.encode(x)
        weight, weight_scale = self.weight_quantiser.encode(self.weight)
        # Codes first: their sums are exact, so equal sums stay equal after scaling.
        return functional.linear(activation, weight) * (activation_scale * weight_scale)


class IntegerLinear(nn.Module):
    """Binarise the input, then multiply with integer weights that share one scale: a last layer.

    Parameters
    ----------
    in_features, out_features : int
    activation_quantiser : ActivationQuantiser
    bits : int
        Width of the weights.

    Attributes
    ----------
    weight : (out_features, in_features)
        Latent real weights, at first uniform on ±1/√in_features.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation_quantiser: ActivationQuantiser,
        *,
        bits: int = 8,
    ) -> None:
        super().__init__()
        check_sizes(in_features=in_features, out_features=out_features)
        check_kind("activations", activation_quantiser, ActivationQuantiser)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.weight_quantiser = IntegerWeight(bits, shared_scale=True)
        self.activation_quantiser = activation_quantiser
        nn.init.uniform_(self.weight, -(in_features**-0.5), in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., in_features) to (..., out_features)."""
        activation, activation_scale = self.activation_quantiser.encode(x)
        weight, weight_scale = self.weight_quantiser.encode(self.weight)
        return functional.linear(activation, weight) * (activation_scale * weight_scale)
