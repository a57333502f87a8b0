"""Random networks whose activations have 1 to 4 bits, and models of them."""

import numpy as np
import torch
from torch import nn

from tests.random_nodes import random_affine
from xnorflow import nn as layers
from xnorflow.ir import (
    INPUT,
    ArgMax,
    BinaryConv,
    Counts,
    FeatureMap,
    Gate,
    Int,
    IntegerConv,
    MaxPool,
    MultiThreshold,
    Network,
    UInt,
)


__all__ = ["FRAME", "low_bit_model", "low_bit_network", "random_multi_threshold"]

FRAME = FeatureMap(14, 14, 1, UInt(8))


def random_multi_threshold(rng, name, source, x, bits):
    """Thresholds within the range of ``x``; with and without classes, directions and levels."""
    steps = 2**bits - 1
    classes = None
    if rng.random() < 0.5:
        _, classes = np.unique(rng.integers(0, 3, (x.height, x.width)), return_inverse=True)
        classes = classes.reshape(x.height, x.width)
    shape = (steps, x.channels) if classes is None else (steps, classes.max() + 1, x.channels)
    # Where sums are, mostly.
    centre, spread = (x.type.low + x.type.high + 1) / 2, max(1, (x.type.high - x.type.low) / 8)
    thresholds = np.rint(rng.normal(centre, spread, shape)).astype(np.int64)
    thresholds = np.sort(thresholds.clip(x.type.low, x.type.high + 1), axis=0)
    inverted = rng.random(x.channels) < 0.4 if rng.random() < 0.5 else None
    levels = None
    if rng.random() < 0.3:
        codes = rng.choice(np.arange(1, 16), steps, replace=False)
        levels = (0, *sorted(codes.tolist()))
    return MultiThreshold(name, source, thresholds, inverted, classes, levels)


def low_bit_network(seed):
    """Convolutions of bit planes and of integers, pools, and a dense layer."""
    rng = np.random.default_rng([seed, 5])
    frame = FeatureMap(
        *map(int, rng.integers(3, 6, 2)), int(rng.choice([1, 2])), rng.choice([UInt(8), Int(5)])
    )
    nodes, x = [], frame

    def add(node):
        nonlocal x
        nodes.append(node)
        x = node.infer(x)
        return node.name

    last, layer_count = INPUT, int(rng.integers(1, 3))
    for n in range(layer_count + 1):
        bits = int(rng.integers(2, 5))
        last = add(random_multi_threshold(rng, f"act{n}", last, x, bits))
        if min(x.height, x.width) >= 4 and rng.random() < 0.5:
            inverted = rng.random(x.channels) < 0.5 if rng.random() < 0.5 else None
            last = add(MaxPool(f"pool{n}", last, 2, inverted))
        whole = n == layer_count
        kernel = (x.height, x.width) if whole else (min(x.height, 3), min(x.width, 2))
        filters = int(rng.choice([2, 4, 6]))
        shape = (filters, *kernel, x.channels)
        padding = 0 if whole else int(rng.integers(0, min(kernel)))
        if rng.random() < 0.3:
            weights = rng.integers(-3, 4, shape)
            last = add(IntegerConv(f"conv{n}", last, weights, padding=padding))
            continue
        gate, weights = list(Gate)[rng.integers(2)], rng.random(shape) < 0.5
        # Only scores can use P.
        popcount = bool(whole and rng.random() < 0.5)
        options = {"gate": gate, "popcount": popcount, "bits": x.type.bits}
        if gate is Gate.XNOR and not popcount and rng.random() < 0.5:
            options["mask"] = rng.random(shape) < 0.7
            weights &= options["mask"]
        last = add(BinaryConv(f"conv{n}", last, weights, padding=padding, **options))
    assert isinstance(x.type, Counts | Int)
    add(random_affine(rng, "scores", last, x))
    add(ArgMax("label", "scores"))
    labels = tuple(map(str, range(max(2, filters))))
    return Network(f"low-bit-{seed}", frame, tuple(nodes), labels)


def low_bit_model(weight_bits, activation_bits, *, seed=0, **options):
    """Model in float64, trained batch norms and all, with pools at both sides of a batch norm."""
    torch.manual_seed(seed)

    def weights():
        return layers.SignWeight() if weight_bits == 1 else layers.IntegerWeight(weight_bits)

    def activations():
        return layers.IntegerActivation(activation_bits, scale=0.5, **options)

    model = nn.Sequential(
        layers.IntegerConv2d(1, 6, 3, mean=(0.4,), deviation=(0.3,)),
        nn.BatchNorm2d(6),
        nn.Hardtanh() if options.get("signed") else nn.ReLU(),
        activations(),
        nn.MaxPool2d(2),
        layers.BinaryConv2d(6, 8, 3, weights(), padding=1),
        nn.BatchNorm2d(8),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(8),
        activations(),
        nn.Flatten(),
        layers.BinaryLinear(8 * 9, 12, weights()),
        nn.BatchNorm1d(12),
        layers.IntegerLinear(12, 5, activations(), bits=weight_bits),
    ).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    pixels = torch.randint(0, 256, (200, 1, 14, 14)).double()
    model.train()(pixels)
    return model.eval()
