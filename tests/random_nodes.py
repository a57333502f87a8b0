"""Nodes with random contents."""

from dataclasses import replace

import numpy as np

from xnorflow.ir import (
    Affine,
    FeatureMap,
    Threshold,
)


def random_threshold(rng: np.random.Generator, name: str, source: str, x: FeatureMap) -> Threshold:
    """Threshold with values over the whole range that is allowed for ``x``."""
    carried = getattr(x.type, "popcount", False)
    node = Threshold(
        name,
        source,
        thresholds=np.zeros(x.channels, np.int64),
        popcount_weights=rng.integers(-300, 300, x.channels) if carried else None,
        fraction=int(rng.integers(0, 9)) if carried else 0,
        inverted=rng.random(x.channels) < 0.5 if rng.random() < 0.5 else None,
    )
    low, high = node.bounds(x)
    if rng.random() < 0.5:
        return replace(node, thresholds=rng.integers(low, high + 1, endpoint=True))
    _, classes = np.unique(rng.integers(0, 4, (x.height, x.width)), return_inverse=True)
    shape = classes.max() + 1, x.channels
    return replace(
        node,
        thresholds=rng.integers(low, high + 1, shape, endpoint=True),
        classes=classes.reshape(x.height, x.width),
    )


def random_affine(rng: np.random.Generator, name: str, source: str, x: FeatureMap) -> Affine:
    """Affine with scales of both signs and zero, so that scores often tie."""
    carried = getattr(x.type, "popcount", False)
    return Affine(
        name,
        source,
        scale=rng.integers(-3, 4, x.channels),
        offset=rng.integers(-9, 10, x.channels),
        popcount_scale=rng.integers(-3, 4, x.channels) if carried else None,
    )
