"""Lowering of average pools: sums of windows, and a divisor that what follows absorbs."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from xnorflow.ir import FeatureMap
from xnorflow.ir.windows import Axis, axes_of, four, pair
from xnorflow.sw.frontend.graph import AveragePool
from xnorflow.sw.lowering.edges import Levels, Sums, total
from xnorflow.sw.lowering.roots import ONE, Root, RootSum


__all__ = ["averaged", "level_sums"]


def level_sums(x: Levels) -> Sums:
    """Levels as sums of one bit or code each."""
    channels = x.map.channels
    scales = x.scales or (ONE,) * channels
    return Sums(
        x.node,
        x.map,
        tuple(scale * Root(x.step) for scale in scales),
        (tuple(RootSum.rational(x.low) * scale for scale in scales),),
        np.zeros(x.map.shape[:2], np.int64),
        ((x.map.type.low, x.map.type.high),) * channels,
    )


def averaged(pool: AveragePool, x: Sums, name: str, delivered: FeatureMap) -> Sums:
    """Averages of ``x``, of whose integers the node ``name`` has delivered sums of windows.

    Windows that have the same pixels of each border class, and the same divisor, are of one class.
    """
    rows, columns = axes_of(pair(pool.size), pool.stride or pool.size, pool.padding)
    height, width = x.map.shape[:2]
    kinds = x.classes[:, :, np.newaxis] == np.arange(len(x.offsets))
    # (rows, columns, border classes) of the windows
    met = np.einsum(
        "ih,jw,hwk->ijk", _inside(rows, height), _inside(columns, width), kinds.astype(np.int64)
    )
    top, bottom, left, right = four(pool.counted)
    counted = np.outer(_count(rows, height, top, bottom), _count(columns, width, left, right))
    divisors = counted if pool.divisor is None else np.full_like(counted, pool.divisor)
    together = np.concatenate([met, divisors[:, :, np.newaxis]], axis=2)
    found, classes = np.unique(together.reshape(-1, together.shape[2]), axis=0, return_inverse=True)
    shares = [Fraction(1, int(n)) for n in found[:, -1]]
    offsets = tuple(
        tuple(
            total([each * Root(int(n) * share) for each, n in zip(column, row, strict=True)])
            for column in zip(*x.offsets, strict=True)
        )
        for row, share in zip(found[:, :-1].tolist(), shares, strict=True)
    )
    pixels = met.sum(axis=2)
    few, many = int(pixels.min()), int(pixels.max())
    same = len(set(shares)) == 1
    return replace(
        x,
        node=name,
        map=delivered,
        gains=tuple(gain * Root(shares[0]) for gain in x.gains) if same else x.gains,
        offsets=offsets,
        classes=classes.reshape(divisors.shape),
        bounds=tuple(
            (min(few * low, many * low), max(few * high, many * high)) for low, high in x.bounds
        ),
        shares=() if same else tuple(shares),
    )


def _inside(axis: Axis, side: int) -> NDArray[np.int64]:
    """1 for each pixel of a side that a window has: (windows, pixels)."""
    places = axis.places(side)
    first, last = places[:, :1], places[:, -1:]
    pixels = np.arange(side)
    return ((pixels >= first) & (pixels <= last)).astype(np.int64)


def _count(axis: Axis, side: int, before: int, after: int) -> NDArray[np.int64]:
    """Places of each window that are on a side, or so many before and behind it."""
    places = axis.places(side)
    return ((places >= -before) & (places < side + after)).sum(axis=1)
