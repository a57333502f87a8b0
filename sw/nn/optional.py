"""Parameters that a layer of PyTorch may have been made without, as what they stand for."""

from torch import Tensor, nn


__all__ = ["affine_of", "bias_of", "per_channel"]

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def affine_of(norm: BatchNorm, like: Tensor) -> tuple[Tensor, Tensor]:
    """γ and β of a batch normalisation, (channels,); 1 and 0 where it has none of its own.

    They are of the type of ``like``, and where it is.
    """
    weight: Tensor | None = norm.weight
    bias: Tensor | None = norm.bias
    return (
        like.new_ones(norm.num_features) if weight is None else weight,
        like.new_zeros(norm.num_features) if bias is None else bias,
    )


def bias_of(layer: nn.Linear) -> Tensor:
    """Bias of a dense layer, (outputs,); 0 where it has none."""
    bias: Tensor | None = layer.bias
    return layer.weight.new_zeros(layer.out_features) if bias is None else bias


def per_channel(values: Tensor, channels: int) -> Tensor:
    """Values (channels,) of a parameter that has one for all channels, or one for each."""
    return values.expand(channels) if values.numel() == 1 else values
