"""Random networks for property tests."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from xnorflow.network import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    Bit,
    Counts,
    FeatureMap,
    Gate,
    Int,
    IntegerConv,
    MaxPool,
    Network,
    Node,
    Provenance,
    Threshold,
    UInt,
)


def random_network(seed: int) -> Network:
    """Small network of any shape and with every kind of node, the same for the same seed."""
    rng = np.random.default_rng(seed)
    frame = FeatureMap(
        *(int(side) for side in rng.integers(1, 6, 3)),
        rng.choice([UInt(8), UInt(3), Int(5), Bit()]),
    )
    nodes: list[Node] = []
    x = frame

    def add(node: Node) -> None:
        nonlocal x
        nodes.append(node)
        x = node.infer(x)

    def source() -> str:
        return nodes[-1].name if nodes else INPUT

    hidden = int(rng.integers(0, 3))
    for n in range(hidden + 1):
        integers = not isinstance(x.type, Counts) and len(nodes) == 0 and rng.random() < 0.3
        if not integers and not isinstance(x.type, Bit):
            add(random_threshold(rng, f"bits{n}", source(), x))
            side = min(x.height, x.width)
            if side >= 2 and rng.random() < 0.3:
                inverted = rng.random(x.channels) < 0.5 if rng.random() < 0.5 else None
                add(MaxPool(f"pool{n}", source(), int(rng.integers(2, side + 1)), inverted))
        whole = n == hidden
        kernel = [side if whole else int(rng.integers(1, side + 1)) for side in x.shape[:2]]
        filters = int(rng.integers(1, 20))
        shape = (filters, *kernel, x.channels)
        windows = {
            "stride": int(rng.integers(1, 4)),
            "padding": 0 if whole else int(rng.integers(0, min(kernel))),
        }
        if integers:
            add(IntegerConv(f"conv{n}", source(), rng.integers(-128, 128, shape), **windows))
        else:
            gate = Gate.XNOR if rng.random() < 0.5 else Gate.AND
            weights, popcount = rng.random(shape) < 0.5, bool(rng.random() < 0.5)
            add(BinaryConv(f"conv{n}", source(), weights, gate, popcount, **windows))
    add(random_affine(rng, "scores", nodes[-1].name, x))
    add(ArgMax("label", "scores"))
    return Network(
        name=f"random-{seed}",
        input=frame,
        nodes=tuple(nodes),
        labels=tuple(f"class {n}" for n in range(filters)),
        provenance=Provenance(recipe="none", seed=seed, float_accuracy=float(rng.random())),
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


networks = st.integers(0, 2**32 - 1).map(random_network)


def random_frames(rng: np.random.Generator, frame: FeatureMap, count: int) -> np.ndarray:
    """Frames over the whole range of an input, (count, height, width, channels)."""
    dtype = np.uint8 if frame.type.low == 0 and frame.type.high <= 255 else np.int64
    return rng.integers(
        frame.type.low, frame.type.high, (count, *frame.shape), endpoint=True
    ).astype(dtype)
