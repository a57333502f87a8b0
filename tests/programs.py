"""PyTorch models that are built call by call, and layers with random options for them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tests.windows import random_axis, windows_by
from xnorflow import nn as layers
from xnorflow.ir import FeatureMap


__all__ = [
    "Add",
    "Builder",
    "Cat",
    "Constant",
    "Program",
    "chance",
    "pick",
    "pool",
    "settle",
    "weights_of",
    "windows",
]


class Program(nn.Module):
    """Layers, each with the values that it takes, and what is made of the last ones."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList()
        self.sources = []
        self.ends = {}
        self.returns = dict

    def forward(self, x):
        values = [x]
        for layer, sources in zip(self.layers, self.sources, strict=True):
            values.append(layer(*(values[n] for n in sources)))
        ends = {name: values[n] for name, n in self.ends.items()}
        return self.returns(ends)


class Cat(nn.Module):
    def forward(self, *maps):
        return torch.cat(maps, dim=1)


class Add(nn.Module):
    def forward(self, x, y):
        return x + y


class Constant(nn.Module):
    """A scale or a shift, one number or one for each channel."""

    def __init__(self, values, *, scale, vector=False):
        super().__init__()
        values = torch.as_tensor(np.asarray(values))
        self.register_buffer("values", values if vector else values.reshape(-1, 1, 1))
        self.scale = scale

    def forward(self, x):
        return x * self.values if self.scale else x + self.values


@dataclass(frozen=True)
class Builder:
    """A `Program`, the shapes of all values so far, and where random choices come from."""

    rng: np.random.Generator
    frame: FeatureMap
    model: Program
    shapes: list

    @classmethod
    def of(cls, rng, frame):
        return cls(rng, frame, Program(), [(frame.channels, frame.height, frame.width)])

    def add(self, layer, *sources):
        """Number of what a ``layer`` makes of the values with these numbers."""
        layer = layer.double().eval()
        zeros = (torch.zeros(1, *self.shapes[n], dtype=torch.float64) for n in sources)
        with torch.no_grad():
            self.shapes.append(tuple(layer(*zeros).shape[1:]))
        self.model.layers.append(layer)
        self.model.sources.append(sources)
        return len(self.shapes) - 1


def chance(rng, share):
    """Whether something that happens with such a probability does."""
    return bool(rng.random() < share)


def pick(rng, options):
    """One of them; not as an array's element."""
    return options[int(rng.integers(len(options)))]


def windows(rng, sides, *, same=False):
    """Kernel and options of a convolution of a map of such ``sides``, or of one that keeps them."""
    if same:
        rows, columns = (int(rng.choice([1, 3])) for _ in range(2))
        return (rows, columns), {"padding": (rows // 2, columns // 2)}
    axes = [random_axis(rng, side, most=4) for side in sides]
    return tuple(axis.taps for axis in axes), windows_by(*axes)


def pool(rng, kind, sides):
    """Pool or upsampling of PyTorch's, of a map of such ``sides``, with all of its options."""
    if kind is nn.Upsample:
        factors = tuple(float(n) if side < 5 else 1.0 for n, side in
                        zip(rng.integers(1, 3, 2), sides, strict=True))  # fmt: skip
        return nn.Upsample(scale_factor=factors)
    if kind is nn.AdaptiveAvgPool2d:
        divisors = [[n for n in range(1, s) if s % n == 0] or [1] for s in sides]
        return kind(tuple(pick(rng, each) for each in divisors))
    least = 2 if kind is nn.AvgPool2d else 1
    size = tuple(min(side, int(rng.integers(least, 4))) for side in sides)
    stride = None if chance(rng, 0.3) else tuple(int(n) for n in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, n // 2 + 1)) for n in size)
    options = {"ceil_mode": chance(rng, 0.5)}
    if kind is nn.AvgPool2d:
        options["count_include_pad"] = chance(rng, 0.7)
        options["divisor_override"] = int(rng.integers(1, 9)) if chance(rng, 0.2) else None
    return kind(size, stride, padding, **options)


def weights_of(rng, filters, *, groups=1, shared=False):
    """Quantiser of weights for a layer."""
    few = int(rng.integers(1, 5))
    kinds = [
        lambda: layers.SignWeight(shared_scale=shared),
        lambda: layers.IntegerWeight(few, shared_scale=shared),
        lambda: layers.SiManWeight(filters, layers.SiManForm.HALF, shared_scale=shared),
        lambda: layers.SiManWeight(filters, layers.SiManForm.BIPOLAR, shared_scale=shared),
        lambda: layers.AdaBinWeight(int(rng.integers(0, 9)), shared_scale=shared),
    ]
    return pick(rng, kinds[: 4 if groups > 1 else 5])()


@torch.no_grad()
def settle(b, frames_of):
    """Random parameters, statistics of random frames, and batch norms at their edges."""
    rng = b.rng
    for module in b.model.modules():
        _fill(rng, module)
    frames = frames_of(rng, b.frame, 64).double().movedim(-1, 1)
    b.model.train()(frames)
    for module in b.model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            _to_its_edge(rng, module)


def _fill(rng, module):
    match module:
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            module.momentum = 1.0
            if module.affine:
                module.weight.uniform_(0.5, 2).mul_(torch.randn_like(module.weight).sign())
                module.bias.normal_(std=0.3)
        case nn.PReLU():
            module.weight.uniform_(0, 1)
        case layers.RSign():
            module.bias.normal_(std=0.3)
        case layers.InputThreshold():
            module.level.normal_(std=0.3)
        case layers.AdaBinActivation():
            # Multiples of a few fractions, so that scores have a unit.
            module.alpha.fill_(float(rng.choice([0.5, -1.0, 1.0, 2.0])))
            module.beta.fill_(float(rng.integers(-4, 5)) / 8)
        case layers.BinaryConv2d() | layers.BinaryLinear() if module.bias is not None:
            module.bias.normal_(std=0.3)


def _to_its_edge(rng, norm):
    channel = int(rng.integers(norm.num_features))
    match int(rng.integers(8)):
        case 0 if norm.affine:
            norm.weight[channel] = 0.0
        case 1:
            norm.running_var[channel] = 1e-12
        case 2 if float(norm.running_var.min()) > 0:
            norm.eps = 0.0
