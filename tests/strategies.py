"""Random networks for property tests."""

from functools import partial

import numpy as np
from hypothesis import strategies as st

from tests.random_nodes import random_affine, random_threshold
from tests.random_residuals import random_residual
from xnorflow.ir import (
    INPUT,
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
            add(BinaryConv(f"conv{n}", source(), weights, gate=gate, popcount=popcount, **windows))
    add(random_affine(rng, "scores", nodes[-1].name, x))
    accuracy = float(rng.random())
    labels = ()
    if rng.random() < 0.8:
        add(ArgMax("label", "scores"))
        labels = tuple(f"class {n}" for n in range(max(2, filters)))
    return Network(
        name=f"random-{seed}",
        input=frame,
        nodes=tuple(nodes),
        labels=labels,
        provenance=Provenance(recipe="none", seed=seed, float_accuracy=accuracy),
    )


chains = st.integers(0, 2**32 - 1).map(random_network)
residuals = st.integers(0, 2**32 - 1).map(random_residual)
dynamics = st.integers(0, 2**32 - 1).map(partial(random_residual, dynamic=True))
networks = chains | residuals | dynamics


def random_frames(rng: np.random.Generator, frame: FeatureMap, count: int) -> np.ndarray:
    """Frames over the whole range of an input, (count, height, width, channels)."""
    dtype = np.uint8 if frame.type.low == 0 and frame.type.high <= 255 else np.int64
    return rng.integers(
        frame.type.low, frame.type.high, (count, *frame.shape), endpoint=True
    ).astype(dtype)
