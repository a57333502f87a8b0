"""Weight transfer: a model starts with the parameters of a trained one."""

import torch
from torch import Tensor, nn

from xnorflow.errors import DataError
from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.data import values_of
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.adabin import AdaBinActivation
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.sign import RSign
from xnorflow.sw.nn.windows import window_sums


__all__ = ["transfer"]

_SPREAD = 0.1
"""Standard deviation that latent weights get: some bits flip soon, but not all at once."""

_FAMILIES = (
    {ResidualMethod.ADABIN},
    {ResidualMethod.REACTNET, ResidualMethod.DYBNN, ResidualMethod.DYBNN_SEPARATE},
    {ResidualMethod.SIMAN_BIPOLAR, ResidualMethod.SIMAN_MEAN},
    {ResidualMethod.SIMAN},
    {Method.SIGN, Method.ADABIN},
    {Method.SIMAN},
    {Method.SIMAN_BIPOLAR},
)
"""Methods whose weights, and thresholds of the same name, mean the same."""

_SLOPES = "act.weight", "act.negative"
"""Names that the negative slope has in PReLU and in Maxout."""


@torch.no_grad()
def transfer(
    model: nn.Module, spec: ModelSpec, start: Checkpoint, images: Tensor | None = None
) -> list[str]:
    """Let ``model`` start with those parameters of ``start`` that have a place in it.

    They are those of the same name and shape: all, where only the grid differs. Where the method of
    a residual model does, its weights may have to be converted. That is a start, not an equal. Of
    AdaBin's, the term of the popcount, ρ·P, and Maxout's positive slope have no place elsewhere.
    Signs are taken of its weights as they are, not about their mean, so that each filter has about
    as many of either as ρ asks for; SiMaN's magnitudes are ranked as the weights are. SiMaN's
    {0, 1} weights stand for ±1: what all filters have in common is lost, and the polarities of its
    thresholds are chosen so that this is little.

    Parameters
    ----------
    model : Module
        What ``spec`` builds, on a grid or not.
    spec : ModelSpec
        What that is.
    start : Checkpoint
        A trained model.
    images : uint8 tensor, (n, height, width, channels), optional
        By which polarities are chosen; otherwise they alternate.

    Returns
    -------
    list of str
        Names of the parameters that keep their first values.

    Raises
    ------
    DataError
        If no weights of convolutions and dense layers have a place, if ``start`` has another shape
        and its weights must be converted, or if a model without shortcuts has weights that would
        be other bits.
    """
    converted = start.spec is not None and not _same(start.spec, spec)
    if converted and spec.methods is Method:
        assert start.spec is not None
        raise DataError(
            f"as {spec.method}, the weights of a {start.spec.method} model would be other bits: "
            "train one from its first parameters"
        )
    theirs = start.model.state_dict()
    state = model.state_dict()
    fitting = {}
    for name, value in state.items():
        given = theirs.get(name, theirs.get(_other_slope(name)))
        if given is not None and given.shape == value.shape:
            fitting[name] = given.detach().clone()
    if not any(name.endswith("weight") and fitting[name].dim() > 1 for name in fitting):
        raise DataError("nothing of the model to start from fits the one to be trained")
    model.load_state_dict(state | fitting)
    if converted:
        _convert_all(model, start.model, images)
    return sorted(state.keys() - fitting.keys())


def _same(start: ModelSpec, spec: ModelSpec) -> bool:
    """Whether the weights of two models mean the same."""
    ways = {start.methods(start.method), spec.methods(spec.method)}
    return len(ways) == 1 or any(ways <= family for family in _FAMILIES)


def _other_slope(name: str) -> str:
    for one, other in (_SLOPES, _SLOPES[::-1]):
        if name.endswith(one):
            return name.removesuffix(one) + other
    return name


def _convert_all(model: nn.Module, start: nn.Module, images: Tensor | None) -> None:
    """Convert the weights and thresholds of all binary convolutions."""
    distances = {} if images is None else _distances(start, images)
    theirs = dict(start.named_modules())
    for name, conv in model.named_modules():
        if isinstance(conv, BinaryConv2d):
            other = theirs.get(name)
            if not isinstance(other, BinaryConv2d) or other.weight.shape != conv.weight.shape:
                raise DataError(
                    "a model of another method can start only with one of the same shape"
                )
            _convert(conv, other, distances.get(name))


def _distances(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """How far the inputs of binary convolutions are above their thresholds, by their names."""
    found: dict[str, Tensor] = {}
    hooks = []
    for name, conv in model.named_modules():
        if isinstance(conv, BinaryConv2d):

            def note(conv: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                x, *bias = inputs
                x = x + bias[0][:, None, None] if bias else x
                assert isinstance(conv, BinaryConv2d)
                distance = conv.activation_quantiser.distance(x.movedim(1, -1))
                found[name] = distance.movedim(-1, 1)

            hooks.append(conv.register_forward_pre_hook(note))
    training = model.training
    model.eval()(values_of(images))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return found


def _convert(ours: BinaryConv2d, theirs: BinaryConv2d, distance: Tensor | None) -> None:
    read, binarise = (conv.activation_quantiser for conv in (theirs, ours))
    weight = theirs.weight_quantiser.to_signed(theirs.weight.flatten(1))
    weight = (weight * (_SPREAD / weight.std())).view_as(theirs.weight)
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
    latent = ours.weight_quantiser.from_signed(weight.flatten(1))
    ours.weight.copy_(latent.view_as(weight))


def _balance(distance: Tensor, conv: BinaryConv2d) -> Tensor:
    """Polarities (channels,) for which sums over whole windows vary little.

    ``distance`` (N, channels, height, width) is ≥ 0 where a bit is 1. The variance is a quadratic
    form of the polarities; one after the other is inverted, as long as that makes it smaller.
    """
    frames, channels = distance.shape[:2]
    signs = torch.where(distance >= 0, 1.0, -1.0).double().flatten(0, 1)[:, None]
    sums = window_sums(signs, conv).view(frames, channels, -1).transpose(0, 1).flatten(1)
    covariance = sums.cov().view(channels, channels).fill_diagonal_(0)
    # A channel is worth inverting only for more than rounding errors, or the loop might not end.
    least = 1e-9 * covariance.abs().max()
    polarity = torch.ones(channels, dtype=signs.dtype)
    polarity[1::2] = -1
    changed = True
    while changed:
        changed = False
        for channel in range(channels):
            if (covariance[channel] @ polarity) * polarity[channel] > least:
                polarity[channel] *= -1
                changed = True
    return polarity
