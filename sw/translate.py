"""Start a residual model of another method with the parameters of AdaBin's."""

import torch
from torch import Tensor

from xnorflow.errors import DataError
from xnorflow.sw.nn.activations import AdaBinActivation, RSign
from xnorflow.sw.nn.normed import NormedBinaryConv
from xnorflow.sw.nn.slopes import TwoSlope
from xnorflow.sw.nn.weights import SiManWeight
from xnorflow.sw.residual import Residual, ResidualConfig, ResidualMethod


__all__ = ["translate"]

_SPREAD = 0.1
"""Standard deviation that latent weights get: some bits flip soon, but not all at once."""


@torch.no_grad()
def translate(start: Residual, config: ResidualConfig) -> Residual:
    """Build the model of ``config`` with the weights and thresholds of the AdaBin model ``start``.

    It is a start, not an equal: AdaBin's term of the popcount, ρ·P, and Maxout's positive slope
    have no place elsewhere. Signs are taken of the weights as they are, not about their mean, so
    that each filter has about as many of either as ρ asks for; SiMaN's magnitudes are ranked as
    the weights are.

    Raises
    ------
    DataError
        If ``start`` is of another method, or the shapes differ.
    """
    model = Residual(config)
    ours, theirs = model.state_dict(), start.state_dict()
    shared = {name: theirs[name].clone() for name in ours if name in theirs}
    if start.config.method is not ResidualMethod.ADABIN or any(
        ours[name].shape != value.shape for name, value in shared.items()
    ):
        raise DataError("only an AdaBin model of the same shape can be translated")
    model.load_state_dict(ours | shared)
    for slopes in model.modules():
        if isinstance(slopes, TwoSlope):
            slopes.positive.fill_(1)
    if model.stem_slopes is not None:
        model.stem_slopes.negative.zero_()
    convolutions = (
        [module for module in part.modules() if isinstance(module, NormedBinaryConv)]
        for part in (model, start)
    )
    for ours_conv, theirs_conv in zip(*convolutions, strict=True):
        _translate(ours_conv, theirs_conv)
    return model


def _translate(ours: NormedBinaryConv, theirs: NormedBinaryConv) -> None:
    read = theirs.conv.activation_quantiser
    binarise = ours.conv.activation_quantiser
    assert isinstance(read, AdaBinActivation)
    if isinstance(binarise, RSign):
        # α·sign((x − β)/α) is |α|·sign(x − β).
        binarise.bias.fill_(-read.beta.item())
    weight = theirs.conv.weight.flatten(1)
    weight = weight * (_SPREAD / weight.std())
    if isinstance(ours.conv.weight_quantiser, SiManWeight):
        weight = _magnitudes(weight)
    ours.conv.weight.copy_(weight.view_as(ours.conv.weight))


def _magnitudes(weight: Tensor) -> Tensor:
    """Weights (filters, synapses) of mean 0 whose magnitudes are in the order of ``weight``."""
    magnitude = weight - weight.amin(dim=1, keepdim=True)
    # Signs take turns from one rank to the next.
    rank = magnitude.argsort(dim=1).argsort(dim=1)
    return magnitude * (1 - 2 * (rank % 2))
