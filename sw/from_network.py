"""From a network back to a model: a start for further training."""

import torch
from torch import Tensor, nn

from xnorflow.errors import DataError
from xnorflow.ir import BinaryConv, IntegerConv, MaxPool, Network, Threshold
from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.data import ImageData, values_of
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.linear import BinaryLinear


__all__ = ["model_of"]

_SPREAD = 0.1
"""Standard deviation of latent weights: some bits flip soon, but not all at once."""

_MEASURED_ON = 1000
"""Training images of which batch normalisation gets the statistics."""

_Layer = IntegerConv2d | BinaryConv2d | BinaryLinear
_Norm = nn.BatchNorm1d | nn.BatchNorm2d


@torch.no_grad()
def model_of(network: Network, spec: ModelSpec, data: ImageData, *, seed: int = 1) -> Checkpoint:
    """A model that lowering turns into a ``network`` with the same bits and thresholds.

    What lowering leaves out is chosen: latent weights are normally distributed, with the signs of
    the network's, or are its integers, times a scale; statistics of batch normalisation are those
    of training images; and its shift lets the sign change halfway between the two sums that a
    threshold separates.

    Parameters
    ----------
    network : Network
        Without shortcuts, with plain signs.
    spec : ModelSpec
        The model that it once was: a named one that is an `torch.nn.Sequential`.
    data : ImageData
        What that was trained on.
    seed : int
        Decides the latent weights.

    Returns
    -------
    Checkpoint
        In evaluation mode; it can be the ``start`` of `xnorflow.train`.

    Raises
    ------
    DataError
        If the model has other layers than the network, another method than plain signs, or
        thresholds that differ between border and inside.
    """
    if spec.methods is not Method or spec.method != Method.SIGN.value:
        raise DataError(f"{spec.name} by {spec.method} cannot be made of a network: only by sign")
    generator = torch.Generator().manual_seed(seed)
    model = spec.build().double().eval()
    layers = [each for each in model.children() if isinstance(each, _Layer)]
    nodes = [each for each in network.nodes if isinstance(each, BinaryConv | IntegerConv)]
    if [each.weight.numel() for each in layers] != [each.weights.size for each in nodes]:
        raise DataError(f"{spec.name} has other layers than the network")
    behind = {each.source: each for each in network.nodes if isinstance(each, Threshold)}
    pools = {each.source: each for each in network.nodes if isinstance(each, MaxPool)}
    if "input" in behind:
        _set_input(model, behind["input"])
    x = values_of(data.train_images[:_MEASURED_ON].double(), data.quantisation)
    at = iter(zip(layers, nodes, strict=True))
    # Halfway sums of the last layer, in the values that it returns.
    halfway = sign = torch.empty(0)
    for module in model.children():
        if isinstance(module, _Layer):
            layer, node = next(at)
            sign = _signs(node, pools.get(behind[node.name].name) if node.name in behind else None)
            _set_weight(layer, node, sign, generator)
            if node.name in behind:
                halfway = _halfway(layer, node, sign, behind[node.name], spec.name)
        elif isinstance(module, _Norm):
            axes = [axis for axis in range(x.ndim) if axis != 1]
            module.running_mean = mean = x.mean(dim=axes)
            module.running_var = variance = x.var(dim=axes)
            module.weight.copy_(sign)
            module.bias.copy_(sign * (mean - halfway) / (variance + module.eps).sqrt())
        x = module(x)
    return Checkpoint(
        model.float(), data.frame, data.classes, network.provenance, data.quantisation, None, spec
    )


def _set_input(model: nn.Module, node: Threshold) -> None:
    """Let the first layer compare pixels with the same threshold."""
    (quantiser,) = (each for each in model.modules() if isinstance(each, InputThreshold))
    # It is rounded up.
    share = torch.tensor((float(node.thresholds[0]) - 0.5) / 255, dtype=torch.float64)
    quantiser.level.copy_(share.logit())


def _signs(node: BinaryConv | IntegerConv, pool: MaxPool | None) -> Tensor:
    """−1 for filters that have the weights of the model inverted, else 1; (filters,).

    Where batch norm has a negative scale, lowering inverts the weights, and with them the sums. The
    largest of a max-pool is then the smallest, which the pool's ``inverted`` tells.
    """
    signs = torch.ones(node.filters, dtype=torch.float64)
    if pool is not None and pool.inverted is not None:
        signs[torch.tensor(pool.inverted)] = -1
    return signs


def _set_weight(
    layer: _Layer, node: BinaryConv | IntegerConv, sign: Tensor, generator: torch.Generator
) -> None:
    # Dense layers behind a map have its channels first, too.
    weights = torch.tensor(node.weights.astype(int)).permute(0, 3, 1, 2)
    if isinstance(layer, IntegerConv2d) and layer.weight_quantiser.bits > 1:
        values = sign[:, None, None, None] * weights
        values *= values.new_tensor(layer.deviation)[:, None, None]
        layer.weight.copy_(_SPREAD / values.std() * values)
        return
    weights = torch.where(sign[:, None, None, None] > 0, weights > 0, weights <= 0)
    signs = weights.reshape(layer.weight.shape)
    sizes = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64).abs()
    layer.weight.copy_(_SPREAD * torch.where(signs, sizes, -sizes))


def _halfway(
    layer: _Layer,
    node: BinaryConv | IntegerConv,
    sign: Tensor,
    threshold: Threshold,
    model: str,
) -> Tensor:
    """What a layer returns halfway between the two sums that a threshold separates; (filters,)."""
    if any(
        each is not None
        for each in (threshold.classes, threshold.popcount_weights, threshold.inverted)
    ):
        raise DataError(f"{model} cannot be made of the network: {threshold.name} is no plain sign")
    limits = torch.tensor(threshold.thresholds).double() / 2**threshold.fraction - 0.5
    if isinstance(layer, IntegerConv2d):
        nothing = layer.weight.new_zeros(1, len(layer.mean), *layer.weight.shape[2:])
        _, constants, scale = layer.sums(nothing)
        return (sign * limits + constants.flatten()) * scale
    assert isinstance(node, BinaryConv)
    _, scale = layer.weight_quantiser.encode(layer.weight.flatten(1))
    return sign * (2 * limits - node.taps) * scale
