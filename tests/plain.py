"""Models without shortcuts, with random parameters and any pair of quantisers."""

import re

import numpy as np
import torch
from torch import nn

from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.data import values_of
from xnorflow.sw.frontend.reader import observe
from xnorflow.sw.models.mlp import MLP
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


__all__ = [
    "FRAME",
    "FRAMES",
    "PAIRS",
    "PATTERNS",
    "WEIGHTS",
    "dyadic",
    "frame_of",
    "layers_of",
    "norms_of",
    "perceptron",
    "randomise_norms",
    "small_conv_net",
    "ties_of",
    "wild",
]

WEIGHTS = {
    "sign": lambda _filters, shared: SignWeight(shared_scale=shared),
    "adabin": lambda _filters, shared: AdaBinWeight(fraction=3, shared_scale=shared),
    "half": lambda filters, shared: SiManWeight(filters, SiManForm.HALF, shared_scale=shared),
    "bipolar": lambda filters, shared: SiManWeight(filters, SiManForm.BIPOLAR, shared_scale=shared),
}
ACTIVATIONS = {
    "sign": lambda _channels, _last: Sign(),
    "rsign": lambda channels, _last: RSign(channels),
    "polarised": lambda channels, _last: RSign(channels, polarised=True),
    "adabin": lambda _channels, last: AdaBinActivation(2 if last else None),
}
PAIRS = [(weight, activation) for weight in WEIGHTS for activation in ACTIVATIONS]

FRAME = FeatureMap(2, 3, 1, UInt(8))
"""Six pixels: all patterns of bits can be tried."""
PATTERNS = torch.tensor([[n >> k & 1 for k in range(6)] for n in range(64)])
FRAMES = (255 * PATTERNS).to(torch.uint8).reshape(64, *FRAME.shape)


def frame_of(spec):
    """What an input of a model is like."""
    channels, height, width = spec.task.shape
    return FeatureMap(height, width, channels, UInt(8))


def layers_of(model):
    """Convolutions and dense layers in their order."""
    return [module for module in model.modules() if hasattr(module, "weight_quantiser")]


def norms_of(model):
    """Batch norms in their order."""
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]


def randomise_norms(model):
    """Random gains and biases of batch norms."""
    with torch.no_grad():
        for norm in norms_of(model):
            norm.weight.normal_()
            norm.bias.normal_()


def ties_of(model, frame, frames):
    """Inputs of layers that meet their threshold, but for pixels."""
    distances, _ = observe(model, frame, values_of(frames.double()))
    _, *following = distances.values()
    return sum(int((distance == 0).sum()) for distance in following)


def perceptron(weight, activation, hidden=(5, 4, 4), classes=3):
    """A model in float64 with any pair of quantisers, in evaluation mode."""
    model = MLP(FRAME.size, hidden, classes)
    for n, layer in enumerate(layers_of(model)):
        last = n == len(hidden)
        filters, taps = layer.weight.shape
        layer.weight_quantiser = WEIGHTS[weight](filters, last)
        if n > 0:
            layer.activation_quantiser = ACTIVATIONS[activation](taps, last)
    return model.double().eval()


@torch.no_grad()
def _fill(model, rng, draw, weights, positive):
    """Set all parameters: ``draw(shape)`` and so on give their values."""
    for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
        shape = tuple(parameter.shape)
        if name.endswith((".level", "_tracked", ".polarity")):
            continue
        if name.endswith((".weight_quantiser.log_scale", "log_temperature")):
            values = np.log(positive(shape))
        elif name.endswith("running_var"):
            values = positive(shape)
        elif re.fullmatch(r"fc\d\.weight", name):
            values = weights(shape)
        elif name.endswith("alpha"):
            values = positive(shape) * rng.choice([-1, 1])
        else:
            values = draw(shape)
        parameter.copy_(torch.as_tensor(np.asarray(values)))


def wild(weight, activation, seed):
    """A perceptron with parameters of all sizes and signs, zero among them."""
    rng = np.random.default_rng(seed)

    def positive(shape):
        return 10.0 ** rng.choice([-30.0, -3.0, 0.0, 0.0, 0.3, 5.0], shape)

    def draw(shape):
        values = rng.normal(size=shape) * 10.0 ** rng.choice([-30.0, -1.0, 0.0, 0.0, 1.0], shape)
        return np.where(rng.random(shape) < 0.2, 0.0, values)

    def weights(shape):
        # Some filters are all 0, so that their scale is, but not the layer's.
        values = rng.normal(size=shape)
        values[1:] *= rng.random((shape[0] - 1, 1)) < 0.9
        return values

    model = perceptron(weight, activation)
    _fill(model, rng, draw, weights, positive)
    return model


def dyadic(weight, activation, seed):
    """A perceptron whose float64 arithmetic is exact, and whose values often meet a threshold."""
    rng = np.random.default_rng(seed)

    def draw(shape):
        return rng.integers(-6, 7, shape) / 2.0

    def weights(shape):
        if weight in ("half", "bipolar"):
            return rng.normal(size=shape)
        # Half of a row is 1 above its mean, and half 1 below: the deviation is 1.
        rows = rng.permuted(np.resize([1.0, -1.0], shape), axis=1)
        return rows if weight == "sign" else rows + rng.integers(-2, 3, (shape[0], 1)) / 4

    model = perceptron(weight, activation, hidden=(4, 6, 4))
    for norm in norms_of(model):
        norm.eps = 0.0
    _fill(model, rng, draw, weights, lambda shape: 4.0 ** rng.integers(-1, 2, shape))
    for layer in layers_of(model):
        if isinstance(layer.weight_quantiser, SiManWeight):
            layer.weight_quantiser.log_scale.data.zero_()
    return model


def small_conv_net(*, pixels: IntegerPixels | None = None, **options):
    """Spec and model of two convolutions and two dense layers, on 8×8×2 pixels."""
    torch.manual_seed(0)
    options = {"convs": [[4, 3, 1, 1, 2], [6, 3, 1, 1]], "hidden": [5]} | options
    spec = ModelSpec("conv-net", Task((2, 8, 8), 3, pixels), options)
    model = spec.build()
    randomise_norms(model)
    return spec, model
