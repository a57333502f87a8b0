"""Random PyTorch models of all layers that can be lowered without a fixed-point grid."""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import torch
from torch import nn

from tests.programs import (
    Add,
    Builder,
    Cat,
    Constant,
    chance,
    pick,
    pool,
    settle,
    weights_of,
    windows,
)
from xnorflow import nn as layers
from xnorflow.ir import UInt


__all__ = ["exact_graph"]


class Kind(Enum):
    """What a value is."""

    PIXELS = "pixels"
    LEVELS = "levels"
    SUMS = "sums"


@dataclass(frozen=True)
class Value:
    """A value of the model, and what the layers behind it may be.

    Attributes
    ----------
    at : int
        Its number.
    kind : Kind
    scaled : bool
        Whether nothing but scales and shifts came behind the sums.
    centred : bool
        Whether the weights of the sums may have centres.
    """

    at: int
    kind: Kind
    scaled: bool = True
    centred: bool = False


def exact_graph(rng, frame, frames_of):
    """A model in evaluation mode, with statistics of random frames."""
    b = Builder.of(rng, frame)
    x = first(b)
    for _ in range(int(rng.integers(0, 3))):
        x = pick(rng, [plain, chained, branches, residual])(b, x)
    finish(b, x)
    settle(b, frames_of)
    return b.model.eval()


# -- parts of a model ------------------------------------------------------------------------------


def first(b):
    """Levels of pixels, of what a batch norm makes of them, or of sums of them."""
    x = Value(0, Kind.PIXELS)
    if chance(b.rng, 0.15):
        x = moved(b, x, nn.Upsample)
    match int(b.rng.integers(5)):
        case 0 if b.frame.type == UInt(8):
            return replace(x, at=b.add(layers.InputThreshold(), x.at), kind=Kind.LEVELS)
        case 0 | 1:
            x = replace(x, at=b.add(norm(b, x), x.at), kind=Kind.SUMS)
            return quantised(b, between(b, x, norms=False))
        case 2:
            return joined(b, [x] * int(b.rng.integers(2, 4)))
        case _:
            return quantised(b, between(b, convolved(b, x)))


def plain(b, x):
    """A convolution of levels, which may have a scale for each channel."""
    x = moved(b, x, nn.MaxPool2d, nn.Upsample) if chance(b.rng, 0.3) else x
    # Averages of single pixels would still be levels.
    if b.shapes[x.at][1:] != (1, 1) and chance(b.rng, 0.2):
        x = moved(b, x, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
        x = quantised(b, between(b, replace(x, kind=Kind.SUMS)))
    if chance(b.rng, 0.15):
        channels = b.shapes[x.at][0]
        scales = b.rng.choice([0.5, 1.0, -1.0, 2.0, 1.5], channels)
        x = replace(x, at=b.add(Constant(scales, scale=True), x.at))
        return quantised(b, between(b, convolved(b, x, tidy=True)))
    return quantised(b, between(b, convolved(b, x)))


def chained(b, x):
    """Two convolutions, of which the second one has its own quantiser."""
    x = between(b, convolved(b, x))
    return quantised(b, between(b, convolved(b, x, act=activation(b, x))))


def branches(b, x):
    """Convolutions of one map side by side, joined."""
    return joined(b, [x] * int(b.rng.integers(2, 4)))


def joined(b, sources):
    """Channels of several convolutions behind each other: of bits, of codes, or of sums."""
    maps = [between(b, convolved(b, x, same=True), pools=False) for x in sources]
    kind = int(b.rng.integers(3))
    if kind == 0:
        each = replace(maps[0], at=b.add(Cat(), *(x.at for x in maps)))
        each = replace(each, centred=any(x.centred for x in maps))
        each = replace(each, scaled=all(x.scaled for x in maps))
        return quantised(b, between(b, each))
    several = [layers.Sign, lambda: codes(2, signed=True), lambda: codes(2, scale=0.5)]
    alike = kind == 1 or any(x.centred for x in maps)
    acts = [layers.Sign() if alike else pick(b.rng, several)() for _ in maps]
    found = [b.add(act, x.at) for act, x in zip(acts, maps, strict=True)]
    return Value(b.add(Cat(), *found), Kind.LEVELS)


def residual(b, x):
    """A sum of two maps whose scales have a common unit: of levels, sums, or both."""
    x = quantised(b, between(b, convolved(b, x)), tidy=True)
    filters = b.shapes[x.at][0]
    y = convolved(b, x, same=True, tidy=True, filters=filters)
    if chance(b.rng, 0.4):
        y = quantised(b, between(b, y, pools=False), tidy=True)
    z = convolved(b, x, same=True, tidy=True, filters=filters) if chance(b.rng, 0.3) else x
    pair = (y, z) if chance(b.rng, 0.5) else (z, y)
    total = Value(b.add(Add(), *(each.at for each in pair)), Kind.SUMS)
    if chance(b.rng, 0.3):
        total = replace(total, at=b.add(Add(), total.at, x.at))
    return quantised(b, between(b, total))


def finish(b, x):
    """One output, or several, of what the model has made of its frame."""
    heads = int(b.rng.integers(2, 4)) if chance(b.rng, 0.2) else 1
    dense, act = chance(b.rng, 0.6), None
    if dense:
        x = replace(x, at=b.add(nn.Flatten(), x.at))
        if chance(b.rng, 0.4):
            x, act = hidden(b, x)
    for n in range(heads):
        b.model.ends[f"head{n}"] = dense_scores(b, x, act) if dense else scores(b, x)
    b.model.returns = _only if heads == 1 else pick(b.rng, [dict, _all])


def _only(ends):
    (end,) = ends.values()
    return end


def _all(ends):
    return tuple(ends.values())


def hidden(b, x):
    """A dense layer and its batch norm, and the quantiser that is left to the layers behind it."""
    width = int(b.rng.integers(2, 9))
    bias = chance(b.rng, 0.3)
    layer = layers.BinaryLinear(b.shapes[x.at][0], width, weights_of(b.rng, width), bias=bias)
    acts = [layers.Sign, lambda: layers.AdaBinActivation(4)]
    if not isinstance(layer.weight_quantiser, layers.AdaBinWeight):
        acts.append(lambda: codes(2, scale=0.5))
    act, at = pick(b.rng, acts), b.add(nn.BatchNorm1d(width), b.add(layer, x.at))
    if chance(b.rng, 0.5):
        return replace(x, at=at), act
    return replace(x, at=b.add(act(), at)), None


def some_classes(rng):
    return 1 if chance(rng, 0.15) else int(rng.integers(2, 6))


def dense_scores(b, x, act):
    """Number of the scores of a dense layer, which may have a quantiser of its own."""
    rng, features, count = b.rng, b.shapes[x.at][0], some_classes(b.rng)
    quantiser = None if act is None else act()
    if chance(rng, 0.5):
        last = layers.IntegerLinear(features, count, quantiser, bits=int(rng.integers(2, 9)))
    else:
        weights = weights_of(rng, count, shared=True)
        bias = chance(rng, 0.3)
        last = layers.BinaryLinear(features, count, weights, quantiser, bias=bias)
    at = b.add(last, x.at)
    if chance(rng, 0.3):
        at = b.add(Constant(rng.choice([0.5, 3.0]), scale=True, vector=True), at)
    return at


def scores(b, x):
    """Number of the scores of a layer of means, of the means of sums, or of a whole map."""
    count = some_classes(b.rng)
    channels, *sides = b.shapes[x.at]
    if chance(b.rng, 0.5):
        mean = b.add(nn.Flatten(), b.add(nn.AdaptiveAvgPool2d(1), x.at))
        return b.add(layers.IntegerLinear(channels, count), mean)
    if chance(b.rng, 0.5):
        conv = layers.BinaryConv2d(channels, count, sides, weights_of(b.rng, count, shared=True))
        return b.add(nn.Flatten(), b.add(conv, x.at))
    conv = layers.BinaryConv2d(channels, count, 1, layers.SignWeight(shared_scale=True))
    return b.add(nn.Flatten(), b.add(nn.AdaptiveAvgPool2d(1), b.add(conv, x.at)))


# -- layers ----------------------------------------------------------------------------------------


def moved(b, x, *kinds):
    return replace(x, at=b.add(pool(b.rng, pick(b.rng, kinds), b.shapes[x.at][1:]), x.at))


def norm(b, x):
    channels = b.shapes[x.at][0]
    return nn.BatchNorm2d(channels, affine=not chance(b.rng, 0.1))


def convolved(b, x, *, same=False, tidy=False, filters=None, act=None):
    """Sums of a layer, which may quantise what it gets; ``tidy`` ones have a scale of 0.5."""
    rng, (channels, *sides) = b.rng, b.shapes[x.at]
    kernel, options = windows(rng, sides, same=same)
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    groups = pick(rng, [1, *divisors] if filters is None else [1])
    filters = filters or groups * int(rng.integers(1 + (groups < 2), 5))
    options |= {"groups": groups}
    if x.kind is Kind.PIXELS:
        statistics = {
            name: tuple(rng.uniform(0.1, 0.6, channels)) for name in ("mean", "deviation")
        }
        bits = int(rng.choice([1, 2, 4, 8]))
        layer = layers.IntegerConv2d(channels, filters, kernel, bits=bits, **statistics, **options)
        return Value(b.add(layer, x.at), Kind.SUMS)
    if tidy:
        weights = pick(rng, [layers.SignWeight, layers.IntegerWeight])
        weights = weights(*([2] * (weights is layers.IntegerWeight)), shared_scale=True)
    else:
        weights = weights_of(rng, filters, groups=groups)
    options |= {"bias": chance(rng, 0.2) and not tidy}
    if not isinstance(act, layers.IntegerActivation | None):
        options |= {"border": pick(rng, list(layers.Border))}
    layer = layers.BinaryConv2d(channels, filters, kernel, weights, act, **options)
    if tidy:
        signs = np.sign(rng.normal(size=layer.weight.shape))
        layer.weight.data = torch.from_numpy(0.5 * signs)
    centred = isinstance(weights, layers.AdaBinWeight)
    return Value(b.add(layer, x.at), Kind.SUMS, centred=centred)


def between(b, x, *, pools=True, norms=True):
    """What comes between sums and their quantiser, in any order, with a batch norm somewhere."""
    rng = b.rng
    steps = [int(n) for n in rng.integers(0, 12 if pools else 7, rng.integers(0, 3))]
    where = len(steps) if chance(rng, 0.5) else int(rng.integers(0, len(steps) + 1))
    steps.insert(where, -1 if norms else 6)
    for step in steps:
        x = _step(b, x, step)
    return x


def _step(b, x, step):
    rng, channels = b.rng, b.shapes[x.at][0]
    match step:
        case -1 | 0:
            return replace(x, at=b.add(norm(b, x), x.at))
        case 1 | 2:
            act = [nn.PReLU(channels), nn.PReLU(), nn.ReLU(), nn.Hardtanh(-1.5, 1.0)]
            return replace(x, at=b.add(pick(rng, act), x.at), scaled=False)
        case 3 | 4:
            values = rng.choice([0.5, -1.0, 0.3, 2.0], channels if step == 3 else 1)
            return replace(x, at=b.add(Constant(values, scale=True), x.at))
        case 5:
            return replace(x, at=b.add(Constant(rng.normal(size=channels) / 3, scale=False), x.at))
        case 6:
            return replace(x, at=b.add(pick(rng, [nn.Dropout(), nn.Identity()]), x.at))
        case 7 | 8 if x.scaled and not x.centred:
            x = moved(b, x, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
            # What these deliver may have several divisors.
            return replace(x, scaled=False)
        case _:
            return replace(moved(b, x, nn.MaxPool2d, nn.Upsample), scaled=False)


def codes(bits, *, scale=1.0, **options):
    """Activations of a few bits, whose scale is exact."""
    found = layers.IntegerActivation(bits, scale=scale, **options).double()
    found.log_scale.data = torch.tensor(scale, dtype=torch.float64).log()
    return found


def quantised(b, x, *, tidy=False):
    """Levels of sums; the steps of ``tidy`` ones are powers of two."""
    return Value(b.add(activation(b, x, tidy=tidy), x.at), Kind.LEVELS)


def activation(b, x, *, tidy=False):
    """Quantiser of sums."""
    rng, channels = b.rng, b.shapes[x.at][0]
    acts = [
        layers.Sign,
        lambda: layers.RSign(channels, polarised=chance(rng, 0.5)),
        layers.AdaBinActivation,
        lambda: codes(1, scale=float(rng.choice([0.25, 1.0]))),
    ]
    acts = acts[:2] + acts[3:] if tidy else acts
    if not x.centred:
        options = {"signed": chance(rng, 0.5)}
        options |= {"narrow": options["signed"] and chance(rng, 0.5)}
        bits = int(rng.integers(2, 5))
        scale = float(rng.choice([0.25, 0.5]) if tidy else rng.uniform(0.2, 0.7))
        acts += [lambda: codes(bits, scale=scale, **options)] * 2
    return pick(rng, acts)()
