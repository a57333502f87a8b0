"""Random PyTorch models of all layers that have a place on a fixed-point grid."""

import torch
from torch import nn

from tests.programs import Add, Builder, Cat, Constant, chance, pick, pool, windows
from xnorflow import nn as layers
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.nn.grid import Grid


__all__ = ["grid_graph"]


def grid_graph(rng, frame, frames_of):
    """A model on a grid, in evaluation mode, with statistics of random frames."""
    b = Builder.of(rng, frame)
    x = _stepped(b, _first(b))
    for _ in range(int(rng.integers(1, 4))):
        x = pick(rng, [_plain, _residual, _branches, _moved])(b, x)
    heads = 2 if chance(rng, 0.2) else 1
    whole = b.shapes[x][1] * b.shapes[x][2] > 12 or chance(rng, 0.6)
    x = b.add(nn.AdaptiveAvgPool2d(1), x) if whole else x
    x = b.add(nn.Flatten(), x)
    x = b.add(nn.BatchNorm1d(b.shapes[x][0]), x) if chance(rng, 0.3) else x
    for n in range(heads):
        count = int(rng.integers(2, 6))
        last = nn.Linear(b.shapes[x][0], count, bias=chance(rng, 0.5))
        b.model.ends[f"head{n}"] = b.add(last, x)
    b.model.returns = (lambda ends: ends["head0"]) if heads == 1 else dict
    _settle(b, frames_of)
    bits = int(rng.integers(8, 17))
    fraction, slopes = int(rng.integers(2, bits - 3)), int(rng.integers(2, 11))
    grid = Grid(bits, fraction, slopes, narrow=chance(rng, 0.3))
    return prepare(b.model.eval(), grid, frame)


def _first(b):
    channels, *sides = b.shapes[0]
    filters = int(b.rng.integers(2, 5))
    if chance(b.rng, 0.5):
        statistics = {
            name: tuple(b.rng.uniform(0.1, 0.6, channels)) for name in ("mean", "deviation")
        }
        kernel, options = windows(b.rng, sides)
        return b.add(layers.IntegerConv2d(channels, filters, kernel, **statistics, **options), 0)
    kernel, options = windows(b.rng, sides, same=True)
    return b.add(nn.Conv2d(channels, filters, kernel, bias=chance(b.rng, 0.5), **options), 0)


def _convolved(b, x, *, same=False, filters=None):
    rng, (channels, *sides) = b.rng, b.shapes[x]
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    groups = pick(rng, [1, *divisors]) if filters is None else 1
    filters = filters or groups * int(rng.integers(1 + (groups < 2), 5))
    if chance(rng, 0.25):
        kernel, options = windows(rng, sides, same=True)
        return b.add(nn.Conv2d(channels, filters, kernel, groups=groups, **options), x)
    kernel, options = windows(rng, sides, same=same)
    kinds = [
        lambda: layers.SignWeight(),
        lambda: layers.SiManWeight(filters, layers.SiManForm.HALF),
        lambda: layers.SiManWeight(filters, layers.SiManForm.BIPOLAR),
        lambda: layers.AdaBinWeight(None),
    ]
    weights = pick(rng, kinds[: 3 if groups > 1 else 4])()
    act = pick(rng, [layers.Sign(), layers.RSign(channels, polarised=chance(rng, 0.5))])
    border = pick(rng, list(layers.Border))
    options |= {"groups": groups, "border": border, "bias": chance(rng, 0.2)}
    return b.add(layers.BinaryConv2d(channels, filters, kernel, weights, act, **options), x)


def _stepped(b, x):
    """A batch norm and what follows it."""
    rng = b.rng
    x = b.add(nn.BatchNorm2d(b.shapes[x][0]), x) if chance(rng, 0.8) else x
    for _ in range(int(rng.integers(0, 3))):
        x = b.add(_step(rng, b.shapes[x][0]), x)
    return x


def _step(rng, channels):
    kinds = [
        lambda: nn.BatchNorm2d(channels),
        lambda: pick(rng, [nn.ReLU(), nn.PReLU(), nn.PReLU(channels), nn.LeakyReLU(0.1)]),
        lambda: layers.RPReLU(channels),
        lambda: layers.Maxout(channels),
        lambda: nn.Hardtanh(),
        lambda: Constant(rng.choice([0.5, -1.0, 1.5], channels), scale=True),
        lambda: Constant(rng.normal(size=channels), scale=False),
    ]
    return pick(rng, kinds)()


def _plain(b, x):
    return _stepped(b, _convolved(b, x))


def _residual(b, x):
    y = b.add(nn.BatchNorm2d(b.shapes[x][0]), _convolved(b, x, same=True, filters=b.shapes[x][0]))
    y = _stepped(b, y) if chance(b.rng, 0.5) else y
    return _stepped(b, b.add(Add(), y, x))


def _branches(b, x):
    parts = [_stepped(b, _convolved(b, x, same=True)) for _ in range(int(b.rng.integers(1, 3)))]
    return b.add(Cat(), *parts, x)


def _moved(b, x):
    sides = b.shapes[x][1:]
    kinds = [
        lambda: pool(b.rng, nn.MaxPool2d, sides),
        lambda: pool(b.rng, nn.Upsample, sides),
        lambda: layers.PadChannels(int(b.rng.integers(0, 3)), int(b.rng.integers(0, 3))),
        lambda: layers.RepeatChannels(),
        lambda: layers.Subsample(2),
        *([lambda: nn.AvgPool2d(2)] if min(sides) > 1 else []),
    ]
    return b.add(pick(b.rng, kinds)(), x)


@torch.no_grad()
def _settle(b, frames_of):
    """Random parameters, and statistics of random frames."""
    for name, parameter in b.model.named_parameters():
        if parameter.dim() == 1 and "quantiser" not in name:
            parameter.normal_(std=0.5)
            if name.endswith("weight"):
                parameter.add_(0.5)
    for module in b.model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    b.model.train()(frames_of(b.rng, b.frame, 64).double().movedim(-1, 1))
