"""Products of matrices of bits and of −1, 0 and 1, in whichever way this machine is fastest.

They are products of bytes; of float32; or, for weights of −1 and 1, the counts of those of 64 taps
at a time that differ from their weights. Bits are packed where there are so many taps that most of
their words are full.
"""

import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


__all__ = ["bit_product"]

# From bits, (rows, taps) bool, to sums, (rows, filters) int32.
_Product = Callable[[Tensor], Tensor]

# With fewer, products of float32 are as fast as those of packed bits.
_PACKED_FROM = 128
# Words at work at once: more do not stay in a core's cache, and fewer are not worth a call.
_WORDS_AT_ONCE = 1 << 16


def bit_product(weights: Tensor) -> _Product:
    """Products of bits with ``weights`` of -1, 0 and 1, (taps, filters) int8."""
    return _fastest(len(weights) >= _PACKED_FROM and bool(weights.all()))(weights)


def _byte_product(weights: Tensor) -> _Product:
    return lambda bits: torch._int_mm(bits.view(torch.int8), weights)


def _float_product(weights: Tensor) -> _Product:
    floats = weights.to(torch.float32)
    return lambda bits: (bits.to(torch.float32) @ floats).to(torch.int32)


def _packed_product(weights: Tensor) -> _Product:
    """Σ u·w of bits u, for w of -1 and 1, is the number of 1s in w less that of u that differ."""
    positive = (weights > 0).numpy().T
    words = _packed(positive)
    most = positive.sum(axis=1, dtype=np.int32)[:, None]

    def product(bits: Tensor) -> Tensor:
        packed = _packed(bits.numpy())
        sums = np.repeat(most, len(bits), axis=1)
        step = max(1, _WORDS_AT_ONCE // max(1, len(bits)))
        for start in range(0, len(sums), step):
            part = sums[start : start + step]
            for first in range(0, len(words), 3):  # as many as a byte can count
                counts = np.zeros(part.shape, np.uint8)
                for n in range(first, min(first + 3, len(words))):
                    counts += np.bitwise_count(packed[n] ^ words[n, start : start + step, None])
                part -= counts
        return torch.from_numpy(sums).T.contiguous()

    return product


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Bits (rows, taps) as words of 64 taps, (words, rows); 0 where the last one is not full."""
    taps = bits.shape[1]
    octets = np.zeros((len(bits), -(-taps // 64) * 8), np.uint8)
    octets[:, : -(-taps // 8)] = np.packbits(bits, axis=1)
    return np.ascontiguousarray(octets.view(np.uint64).T)


@cache
def _fastest(packable: bool) -> Callable[[Tensor], _Product]:
    """The fastest kind of product on this machine, for weights that can be packed or cannot.

    Some multiply bytes four times as fast as float32, and some, which have no instructions for it,
    many times slower. To find out takes some ten milliseconds.
    """
    bits, weights = torch.ones(1024, 256, dtype=torch.bool), torch.ones(256, 64, dtype=torch.int8)
    kinds = [_byte_product, _float_product, *([_packed_product] if packable else [])]
    return min(kinds, key=lambda kind: _seconds(kind(weights), bits))


def _seconds(product: _Product, bits: Tensor) -> float:
    """Least time of several products, so that what else the machine does matters little."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product(bits)
        times.append(time.perf_counter() - start)
    return min(times)
