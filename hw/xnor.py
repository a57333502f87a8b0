"""XNOR of three synapses at a time, and the first counters behind it.

Of three lanes a, b, c and a neuron's weights u, v, w, those that agree make the number
``one + 2 * two`` with

    one = not (a ^ b ^ c) ^ (u ^ v ^ w)
    two = not (a ^ u) ^ (((a ^ b) ^ (u ^ v)) & ((a ^ c) ^ (u ^ w)))

All neurons share the parities of the lanes, and those of the weights are what the weight memory
holds instead of v and w. So a neuron takes three look-up tables of four inputs, one behind the
other at most once. A full adder behind three XNORs takes four, or three in a row; synthesisers
prefer the four.
"""

import numpy as np
from amaranth import *


__all__ = ["count_triples", "encode_weights", "share_parities"]


def share_parities(lanes):
    """What all neurons share: a, a ^ b, a ^ c, a ^ b ^ c of every three lanes; spare lanes."""
    whole = len(lanes) // 3 * 3
    shared = []
    for n in range(0, whole, 3):
        a, b, c = lanes[n : n + 3]
        shared += [a, a ^ b, a ^ c, a ^ b ^ c]
    return shared + list(lanes[whole:])


def encode_weights(weights):
    """Weights (…, simd) as `count_triples` takes them: u, u ^ v, u ^ w for every u, v, w."""
    code = np.array(weights)
    whole = code.shape[-1] // 3 * 3
    first = code[..., 0:whole:3]
    code[..., 1:whole:3] ^= first
    code[..., 2:whole:3] ^= first
    return code


def count_triples(shared, code):
    """Count, in every three lanes and in every spare one, those that agree with the weights.

    Returns
    -------
    list of :class:`Value`
        The ones of every three lanes, then spare lanes; then the twos of every three.
    """
    triples = len(code) // 3
    ones, twos = [], []
    for n in range(triples):
        a, ab, ac, abc = shared[4 * n : 4 * n + 4]
        u, uv, uw = code[3 * n : 3 * n + 3]
        ones.append(~(abc ^ u ^ uv ^ uw))
        twos.append(~(a ^ u) ^ ((ab ^ uv) & (ac ^ uw)))
    ones += [~(a ^ u) for a, u in zip(shared[4 * triples :], code[3 * triples :], strict=True)]
    return ones + twos
