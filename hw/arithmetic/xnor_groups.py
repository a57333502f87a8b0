"""XNOR of up to nine synapses at a time, and the counters behind it, where parities come in.

Whether the number of lanes that agree with their weights is even or odd depends on the parity of
the lanes, which all neurons share, and on that of the weights, which their memory holds. So sums of
full adders cost nothing, and their carries two look-up tables of four inputs: of three lanes a, b,
c, weights u, v, w and p = u ^ v ^ w, those that agree make the number ``one + 2 * two`` with

    one = not (a ^ b ^ c) ^ p
    two = not a ^ p ^ (((a ^ b) ^ (u ^ v)) & ((a ^ c) ^ (u ^ w)) ^ (u ^ v) ^ (u ^ w))

Three such ones make a number in the same way, with the parities of their lanes and weights instead
of lanes and weights. Of nine lanes there are four twos and a one, for nine look-up tables and as
many bits of weights: p of the first three, where it differs from that of the others, and each
``u ^ v`` and ``u ^ w``. Groups of three, five and seven have members of a single lane.
"""

import numpy as np
from amaranth import *


__all__ = ["count_groups", "encode_groups", "group_counts", "group_parities", "share_groups"]

_SIZE = 9


def _parts(width):
    """First lane, size and number of equal groups; their sizes are odd."""
    whole, rest = divmod(width, _SIZE)
    sizes = [(_SIZE, whole), (rest - (rest % 2 == 0), rest > 0), (1, rest > 0 and rest % 2 == 0)]
    first = 0
    for size, count in sizes:
        if count:
            yield first, size, int(count)
            first += size * count


def _members(size):
    """Lanes of the members of a group: three, or one."""
    if size in (1, 3):
        return [range(size)]
    threes = (size - 3) // 2
    return [
        *(range(3 * n, 3 * n + 3) for n in range(threes)),
        *(range(lane, lane + 1) for lane in range(3 * threes, size)),
    ]


def group_counts(width):
    """Ones and twos that `count_groups` makes of so many lanes."""
    ones = sum(count for _, _, count in _parts(width))
    return ones, (width - ones) // 2


def group_parities(width):
    """Terms that `share_groups` makes of so many lanes, and how many of them are not lanes."""
    terms = made = 0
    for _, size, count in _parts(width):
        members = _members(size)
        threes = sum(len(member) == 3 for member in members)
        outer = 3 if len(members) == 3 else 0
        terms += count * (3 * threes + outer + 1)
        made += count * (2 * threes + outer + (size > 1))
    return terms, made


def share_groups(lanes):
    """Terms that all neurons share: see `count_groups`."""
    terms = []
    for first, size, count in _parts(len(lanes)):
        parities = []
        for member in _members(size):
            a, *others = (lanes[first + n : first + size * count : size] for n in member)
            if others:
                terms += [a, *(a ^ b for b in others)]
                a = a ^ others[0] ^ others[1]
            parities.append(a)
        parity, *others = parities
        if others:
            terms += [parity, *(parity ^ other for other in others)]
            parity = parity ^ others[0] ^ others[1]
        terms.append(parity)
    return Cat(terms)


def encode_groups(weights):
    """Weights (…, lanes) as `count_groups` takes them."""
    weights = np.asarray(weights)
    code = []
    for first, size, count in _parts(weights.shape[-1]):
        parities = []
        for member in _members(size):
            u, *others = (weights[..., first + n : first + size * count : size] for n in member)
            code += [u ^ v for v in others]
            parities.append(np.bitwise_xor.reduce([u, *others]))
        parity, *others = parities
        code += [parity, *(parity ^ other for other in others)]
    return np.concatenate(code, axis=-1)


def count_groups(shared, code):
    """Count in groups the lanes that agree with the weights.

    Parameters
    ----------
    shared, code : :class:`Value`
        What `share_groups` and `encode_groups` give for a word.

    Returns
    -------
    :class:`Value`
        The ones of all groups, then the twos: as many as `group_counts` says.
    """
    ones, twos = [], []
    shared, code = _Reader(shared), _Reader(code)
    for _, size, count in _parts(len(code.word)):
        carries = []
        members = _members(size)
        for member in members:
            if len(member) == 3:
                a, ab, ac = shared.take(3, count)
                uv, uw = code.take(2, count)
                carries.append(a ^ ((ab ^ uv) & (ac ^ uw) ^ uv ^ uw))
            else:
                carries.append(None)
        parities = parity, *differences = code.take(len(members), count)
        if differences:
            s, st, sr = shared.take(3, count)
            pq, pr = differences
            twos.append(~(s ^ parity) ^ (st ^ pq) & (sr ^ pr))
            parities = parity, parity ^ pq, parity ^ pr
        twos += [~(a ^ p) for a, p in zip(carries, parities, strict=True) if a is not None]
        (total,) = shared.take(1, count)
        ones.append(~(total ^ parity if not differences else total ^ parity ^ pq ^ pr))
    return Cat(ones, twos)


class _Reader:
    """Takes a word apart from its lowest bit on."""

    def __init__(self, word):
        self.word = word
        self._first = 0

    def take(self, parts, width):
        """The next parts, each of so many bits."""
        first = self._first
        self._first += parts * width
        return [self.word[first + n * width : first + (n + 1) * width] for n in range(parts)]
