"""Start a residual model of another method with the parameters of a trained one."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from xnorflow.errors import DataError
from xnorflow.sw.nn.adabin import AdaBinActivation
from xnorflow.sw.nn.normed import NormedBinaryConv
from xnorflow.sw.nn.sign import RSign
from xnorflow.sw.nn.slopes import TwoSlope
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualConfig, ResidualMethod


__all__ = ["is_translated", "translate"]

_SPREAD = 0.1
"""Standard deviation that latent weights get: some bits flip soon, but not all at once."""


_FAMILIES = (
    {ResidualMethod.ADABIN},
    {ResidualMethod.REACTNET, ResidualMethod.DYBNN, ResidualMethod.DYBNN_APART},
    {ResidualMethod.SIMAN_BIPOLAR, ResidualMethod.SIMAN_MEAN},
    {ResidualMethod.SIMAN},
)
"""Methods whose weights, and thresholds of the same name, mean the same."""


def is_translated(start: ResidualMethod, to: ResidualMethod) -> bool:
    """Whether the weights of two methods mean different things, so that `translate` is needed."""
    return not any({start, to} <= family for family in _FAMILIES)


@torch.no_grad()
def translate(start: Residual, config: ResidualConfig, images: Tensor | None = None) -> Residual:
    """Build the model of ``config`` with the bits and thresholds of the model ``start``.

    It is a start, not an equal. Of AdaBin's, the term of the popcount, ρ·P, and Maxout's positive
    slope have no place elsewhere. Signs are taken of its weights as they are, not about their mean,
    so that each filter has about as many of either as ρ asks for; SiMaN's magnitudes are ranked as
    the weights are. SiMaN's {0, 1} weights stand for ±1: what all filters have in common is lost,
    and the polarities of its thresholds are chosen so that this is little.

    Parameters
    ----------
    start : Residual
        Of another method.
    config : ResidualConfig
        The same, except for method, grid and the width of the first layer's weights.
    images : uint8 tensor, (n, height, width, channels), optional
        By which polarities are chosen; otherwise they take turns.

    Raises
    ------
    DataError
        If the configurations differ in something else.
    """
    same = replace(start.config, method=config.method, grid=config.grid, pixels=config.pixels)
    if same != config:
        raise DataError("a model of another method can start only with one of the same shape")
    model = Residual(config)
    ours, theirs = model.state_dict(), start.state_dict()
    shared = {name: theirs[name].clone() for name in ours if name in theirs}
    model.load_state_dict(ours | shared)
    if start.config.method is ResidualMethod.ADABIN:
        for slopes in model.modules():
            if isinstance(slopes, TwoSlope):
                slopes.positive.fill_(1)
        if model.stem_slopes is not None:
            model.stem_slopes.negative.zero_()
    training = start.training
    trace = {} if images is None else start.eval().trace(images)
    start.train(training)
    for n, (unit, other) in enumerate(zip(model.units, start.units, strict=True), 1):
        for part, bits in (("conv", ""), ("first", "first_"), ("projection", "short_")):
            conv = getattr(unit, part)
            if conv is not None:
                _translate(conv, getattr(other, part), trace.get(f"unit{n}_{bits}bits"))
    return model


def _translate(ours: NormedBinaryConv, theirs: NormedBinaryConv, distance: Tensor | None) -> None:
    read, binarise = (part.conv.activation_quantiser for part in (theirs, ours))
    weight = theirs.conv.weight_quantiser.to_signed(theirs.conv.weight.flatten(1))
    weight = (weight * (_SPREAD / weight.std())).view_as(theirs.conv.weight)
    if isinstance(read, RSign) and read.polarity is not None:
        weight = weight * read.polarity[:, None, None]
    if isinstance(binarise, RSign):
        if isinstance(read, AdaBinActivation):
            # α·sign((x − β)/α) is |α|·sign(x − β).
            binarise.bias.fill_(-read.beta.item())
        if binarise.polarity is not None:
            if distance is not None:
                binarise.polarity.copy_(_balance(distance, ours))
            weight = weight * binarise.polarity[:, None, None]
    latent = ours.conv.weight_quantiser.from_signed(weight.flatten(1))
    ours.conv.weight.copy_(latent.view_as(weight))


def _balance(distance: Tensor, normed: NormedBinaryConv) -> Tensor:
    """Polarities (channels,) for which sums over whole windows vary little.

    ``distance`` (N, channels, height, width) is ≥ 0 where a bit is 1. The variance is a quadratic
    form of the polarities; one after the other is inverted, as long as that makes it smaller.
    """
    conv = normed.conv
    frames, channels = distance.shape[:2]
    signs = torch.where(distance >= 0, 1.0, -1.0).double().flatten(0, 1)[:, None]
    taps = torch.ones(1, 1, *conv.weight.shape[2:], dtype=signs.dtype)
    sums = functional.conv2d(signs, taps, stride=conv.stride, padding=conv.padding)
    sums = sums.view(frames, channels, -1).transpose(0, 1).flatten(1)
    covariance = sums.cov().view(channels, channels).fill_diagonal_(0)
    # A channel is worth turning only for more than rounding errors, or the loop might not end.
    least = 1e-9 * covariance.abs().max()
    polarity = torch.ones(channels, dtype=signs.dtype)
    polarity[1::2] = -1
    turned = True
    while turned:
        turned = False
        for channel in range(channels):
            if (covariance[channel] @ polarity) * polarity[channel] > least:
                polarity[channel] *= -1
                turned = True
    return polarity
