"""Products of matrices of bits and of −1, 0 and 1, in whichever type this machine is faster in."""

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor


__all__ = ["bit_product"]

# From bits, (rows, taps) bool, to sums, (rows, filters) int32.
_Product = Callable[[Tensor], Tensor]


def bit_product(weights: Tensor) -> _Product:
    """Products of bits with ``weights`` of -1, 0 and 1, (taps, filters) int8."""
    return _byte_product(weights) if _bytes_pay() else _float_product(weights)


def _byte_product(weights: Tensor) -> _Product:
    return lambda bits: torch._int_mm(bits.view(torch.int8), weights)


def _float_product(weights: Tensor) -> _Product:
    floats = weights.to(torch.float32)
    return lambda bits: (bits.to(torch.float32) @ floats).to(torch.int32)


@cache
def _bytes_pay() -> bool:
    """Whether this machine multiplies matrices of bytes faster than of float32.

    Some do it four times as fast, and some, which have no instructions for it, many times slower.
    To find out takes a few milliseconds.
    """
    bits, weights = torch.ones(256, 256, dtype=torch.bool), torch.ones(256, 64, dtype=torch.int8)
    return _seconds(_byte_product(weights), bits) < _seconds(_float_product(weights), bits)


def _seconds(product: _Product, bits: Tensor) -> float:
    """Least time of several products, so that what else the machine does matters little."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product(bits)
        times.append(time.perf_counter() - start)
    return min(times)
