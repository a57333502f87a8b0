"""Random networks with pools of any windows, and upsampling."""

import numpy as np

from tests.low_bit import random_multi_threshold
from tests.random_nodes import random_threshold
from tests.windows import random_pool
from xnorflow.ir import (
    INPUT,
    ArgMax,
    BinaryConv,
    Bit,
    Counts,
    FeatureMap,
    Int,
    IntegerConv,
    MaxPool,
    Network,
    SumPool,
    UInt,
    Upsample,
)


__all__ = ["pool_network"]


def pool_network(seed):
    """Pools and upsampling of the input, of bits and of codes, between two layers."""
    rng = np.random.default_rng([seed, 7])
    sides = (int(n) for n in rng.integers(3, 6, 2))
    frame = x = FeatureMap(*sides, int(rng.choice([1, 2, 4])), rng.choice([UInt(8), Int(5)]))
    nodes = []

    def add(node):
        nonlocal x
        nodes.append(node)
        x = node.infer(x)

    def last():
        return nodes[-1].name if nodes else INPUT

    def move(name):
        kind = [MaxPool, SumPool, Upsample][rng.integers(3)]
        if kind is Upsample and x.height * x.width < 20:
            add(Upsample(name, last(), tuple(int(n) for n in rng.integers(1, 3, 2))))
        else:
            add(random_pool(rng, SumPool if kind is SumPool else MaxPool, x, name, last(), most=3))

    for n in range(2):
        if rng.random() < 0.5 and not isinstance(x.type, Counts):
            move(f"first{n}")
        bits = int(rng.integers(1, 3))
        if bits == 1:
            add(random_threshold(rng, f"act{n}", last(), x))
        else:
            add(random_multi_threshold(rng, f"act{n}", last(), x, bits))
        move(f"pool{n}")
        whole = n == 1
        kernel = (x.height, x.width) if whole else (1, min(2, x.width))
        shape = (3 if whole else 4, *kernel, x.channels)
        if isinstance(x.type, Bit) and rng.random() < 0.5:
            add(BinaryConv(f"conv{n}", last(), rng.random(shape) < 0.5))
        else:
            add(IntegerConv(f"conv{n}", last(), rng.integers(-9, 10, shape)))
    add(ArgMax("label", last()))
    return Network(f"pools-{seed}", frame, tuple(nodes), tuple("abc"))
