"""Scores of a last layer, as integers that are in the order of the logits."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import LoweringError
from xnorflow.ir import Affine
from xnorflow.sw.lowering.edges import Sums, scaled
from xnorflow.sw.lowering.roots import Root, RootSum


__all__ = ["scores"]

# Scores of weights and activations on grids have far fewer steps to a unit.
_FINEST = 1 << 16
_FINEST_SHARE = 16


def scores(joined: Sequence[Sums], names: Sequence[str], origin: str) -> list[Affine]:
    """Nodes that make integer scores of ``joined`` sums: logits times a positive number.

    There is a node for each of them, of the ``names``. The number is the same for all classes and
    frames. Where biases have no common unit with the
    sums, scores are rounded down to one in which no two classes that differ become equal, whatever
    the sums are: the order of the classes is that of the logits, and so is the label.

    Raises
    ------
    LoweringError
        If classes have different scales, or a scale of 0.
    """
    parts = [scaled(sums, origin) for sums in joined]
    for sums in parts:
        if sums.map.height != 1 or sums.map.width != 1:
            raise LoweringError(
                f"the output is a map of {sums.map.height}×{sums.map.width} pixels from {origin}: "
                "it must be one value for each class"
            )
    gains = [gain for sums in parts for gain in sums.gains]
    first = gains[0]
    if not all(gain.sign for gain in gains):
        raise LoweringError(f"the scale of {origin} is 0, so its scores are all equal")
    unit = Root(abs(first.factor), first.radicand).inverse
    slopes = [RootSum.of(gain * unit).as_rational() for gain in gains]
    known = [slope for slope in slopes if slope is not None]
    if len(known) < len(slopes) or not _simple(known):
        raise LoweringError(
            f"the classes of {origin} have different scales, so its scores are no integers: give "
            "its weights one scale, as in SignWeight(shared_scale=True), and no batch "
            "normalisation, or put the model on a fixed-point grid with prepare(model, grid)"
        )
    centres = [
        Fraction(centre, 1 << sums.fraction)
        for sums in parts
        for centre in sums.centres or (0,) * sums.map.channels
    ]
    popcounts = [slope * centre for slope, centre in zip(known, centres, strict=True)]
    # A kernel that covers the whole map has one window, and so one border class.
    exact = [offset * unit for sums in parts for offset in sums.offsets[0]]
    times, offsets = _offsets(exact, [*known, *popcounts])
    nodes, start = [], 0
    for sums, name in zip(parts, names, strict=True):
        where = slice(start, start + sums.map.channels)
        factors = [each * times for each in popcounts[where]] if any(sums.centres) else None
        nodes.append(
            Affine(
                name,
                sums.node,
                scale=_integers([slope * times for slope in known[where]], origin),
                offset=_integers(offsets[where], origin),
                popcount_scale=None if factors is None else _integers(factors, origin),
            )
        )
        start += sums.map.channels
    return nodes


def _simple(slopes: list[Fraction]) -> bool:
    """Whether all slopes are small multiples of one number."""
    share = math.lcm(*(slope.denominator for slope in slopes))
    return max(abs(slope) * share for slope in slopes) <= _FINEST


def _offsets(exact: list[RootSum], others: list[Fraction]) -> tuple[int, list[int]]:
    """Steps to a unit, and offsets in such steps, so that ``others`` are whole numbers of them."""
    rational = [offset.as_rational() for offset in exact]
    if None not in rational:
        known = [each for each in rational if each is not None]
        steps = math.lcm(*(term.denominator for term in [*others, *known]))
        if steps <= _FINEST:
            return steps, [int(each * steps) for each in known]
    whole = math.lcm(*(term.denominator for term in others))
    in_steps = [offset * Root(Fraction(whole)) for offset in exact]
    floors = [offset.floor() for offset in in_steps]
    shares = [
        offset - RootSum.rational(floor) for offset, floor in zip(in_steps, floors, strict=True)
    ]
    for bits in range(_FINEST_SHARE + 1):
        rounded = [(share * Root(Fraction(1 << bits))).floor() for share in shares]
        if _same_order(rounded, shares):
            return whole << bits, [
                (floor << bits) + share for floor, share in zip(floors, rounded, strict=True)
            ]
    raise LoweringError(
        f"the biases of the classes differ by less than 2^-{_FINEST_SHARE} of the sums' unit: put "
        "the centres of activations and weights on coarser grids, as in "
        "AdaBinActivation(fraction=4)"
    )


def _same_order(rounded: list[int], exact: list[RootSum]) -> bool:
    """Whether values that were rounded down are equal only where they were before."""
    order = sorted(range(len(rounded)), key=rounded.__getitem__)
    return all(
        rounded[a] < rounded[b] or (exact[a] - exact[b]).sign == 0 for a, b in pairwise(order)
    )


def _integers(values: Sequence[Fraction | int], origin: str) -> NDArray[np.int64]:
    integers = [int(value) for value in values]
    if max(map(abs, integers)) >= 1 << 63:
        raise LoweringError(f"the biases of {origin} are too large for its scale: over 64 bits")
    return np.array(integers, np.int64)
