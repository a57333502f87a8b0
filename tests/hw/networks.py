"""Small MLPs with random contents, for tests of whole accelerators."""

import numpy as np

from xnorflow.network import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    Gate,
    Network,
    Threshold,
    UInt,
)


def random_mlp(seed, *, side=4, widths=(6, 5), classes=3, gate=Gate.XNOR, popcount=False):
    """MLP on frames of side × side pixels whose thresholds lie where they decide something."""
    rng = np.random.default_rng(seed)
    nodes = [Threshold("input_bits", INPUT, np.array([128]))]
    shape = (side, side, 1)
    layers = (*widths, classes)
    for n, filters in enumerate(layers, 1):
        weights = rng.random((filters, *shape)) < 0.5
        conv = BinaryConv(f"fc{n}", nodes[-1].name, weights, gate, popcount)
        term = rng.integers(-60, 60, filters) if popcount else None
        middle = conv.taps // (2 if gate is Gate.XNOR else 4)
        nodes.append(conv)
        if n < len(layers):
            fraction = 8 if popcount else 0
            thresholds = (middle << fraction) + rng.integers(-1, 2, filters) * (1 << fraction)
            inverted = rng.random(filters) < 0.3
            nodes.append(Threshold(f"act{n}", conv.name, thresholds, term, fraction, inverted))
        shape = (1, 1, filters)
    offsets = rng.integers(-3, 4, classes)
    nodes.append(Affine("scores", conv.name, np.full(classes, 2), offsets, term))
    nodes.append(ArgMax("label", "scores"))
    return Network(
        name=f"random-mlp-{seed}",
        input=FeatureMap(side, side, 1, UInt(8)),
        nodes=tuple(nodes),
        labels=tuple(f"class {n}" for n in range(classes)),
    )
