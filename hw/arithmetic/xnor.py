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
    """Terms that all neurons share: of every three lanes all a, a ^ b, a ^ c and a ^ b ^ c.

    Spare lanes follow them.
    """
    whole = len(lanes) // 3 * 3
    a, b, c = (lanes[n:whole:3] for n in range(3))
    return Cat(a, a ^ b, a ^ c, a ^ b ^ c, lanes[whole:])


def encode_weights(weights):
    """Weights (…, simd) as `count_triples` takes them: all u of every three, all u ^ v, all u ^ w,
    and the spare ones.
    """
    weights = np.asarray(weights)
    whole = weights.shape[-1] // 3 * 3
    u, v, w = (weights[..., n:whole:3] for n in range(3))
    return np.concatenate([u, u ^ v, u ^ w, weights[..., whole:]], axis=-1)


def count_triples(shared, code):
    """Count, in every three lanes and in every spare one, those that agree with the weights.

    Parameters
    ----------
    shared, code : :class:`Value`
        What `share_parities` and `encode_weights` give for a word.

    Returns
    -------
    :class:`Value`
        The ones of every three lanes, then spare lanes; then the twos of every three.
    """
    triples = len(code) // 3
    a, ab, ac, abc = (shared.word_select(n, triples) for n in range(4))
    u, uv, uw = (code.word_select(n, triples) for n in range(3))
    ones = ~(abc ^ u ^ uv ^ uw)
    twos = ~(a ^ u) ^ ((ab ^ uv) & (ac ^ uw))
    spare = ~(shared[4 * triples :] ^ code[3 * triples :])
    return Cat(ones, spare, twos)
