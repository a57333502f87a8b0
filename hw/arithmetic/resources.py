"""Costs of logic, estimated before anything is synthesised."""

from dataclasses import dataclass
from math import prod

from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.memory import (
    automatic_style,
    block_rams,
    distributed_luts,
    loading,
    logic_luts,
    memory_style,
    register_luts,
    weight_style,
)
from xnorflow.hw.arithmetic.memory_style import MemoryStyle
from xnorflow.ir import int_bits


__all__ = [
    "CONTROL",
    "Resources",
    "bits_of",
    "buffer",
    "chain",
    "counters",
    "products",
    "registers",
    "table",
    "weights",
]

_LUTS_PER_COUNTER_BIT = 2.3
CONTROL = 20
"""Handshake of a unit, and what marks its words."""


@dataclass(frozen=True)
class Resources:
    """Look-up tables, block RAMs and hard multipliers."""

    luts: int = 0
    block_rams: int = 0
    multipliers: int = 0

    def __add__(self, other):
        return Resources(
            self.luts + other.luts,
            self.block_rams + other.block_rams,
            self.multipliers + other.multipliers,
        )


def bits_of(values):
    """Bits of the narrowest integer that holds all values."""
    return int_bits(int(values.min()), int(values.max()))


def registers(device, bits):
    """Registers without logic; where they do not take logic cells, there are enough."""
    return Resources(luts=round(bits * device.family.luts_per_register))


def counters(*lengths):
    """Counters that go round."""
    return Resources(luts=round(_LUTS_PER_COUNTER_BIT * sum(ceil_log2(n) for n in lengths)))


def chain(device, bits, *, carry_out=False):
    """Look-up tables of an adder in a carry chain."""
    if device.family.paired_chains:
        return bits + bits % 2 + 2 + 2 * carry_out
    return bits + 1


def products(device, count, *bits):
    """So many signed products of two operands of ``bits``.

    Of each operand a hard multiplier takes all bits but one, which is the sign of those that come
    above. Yosys makes what a single bit is too many for of look-up tables, and all products where
    a device has no multipliers.
    """
    if not device.multipliers:
        return Resources(luts=round(count * (device.family.luts_per_partial_product * prod(bits))))
    each = prod(max(1, -(-(width - 2) // (device.multiplier_bits - 1))) for width in bits)
    return Resources(multipliers=count * each)


def table(device, width, depth, *, filled=1):
    """Table of constants: read-only memory, and a register behind it.

    Of its constants, a part is ``filled``: others are 0, and cost nothing in logic.
    """
    if depth == 1 or width == 0:
        return Resources()
    contents = Resources(luts=round(filled * logic_luts(width, depth)))
    if memory_style(device, width, depth) is MemoryStyle.BLOCK:
        contents = Resources(block_rams=block_rams(device, width, depth))
    return contents + counters(depth) + registers(device, width)


def weights(device, width, depth):
    """Table of weights or thresholds, which may be loaded at run time."""
    if not device.runtime_weights:
        return table(device, width, depth)
    loaded = loading(device, width, depth)
    chunks, bits = loaded.chunks(width), loaded.word_bits(width)
    # The token goes through registers, and what is read back through XORs.
    total = Resources(luts=round(len(chunks) * device.family.luts_per_register + bits / 3) + 5)
    if depth == 1:
        return total + Resources(luts=register_luts(device, width, 1))
    words = 2 * depth if loaded.halved else depth
    for chunk in chunks:
        if weight_style(device, width, depth) is MemoryStyle.BLOCK:
            total += Resources(block_rams=block_rams(device, chunk, words))
        else:
            total += buffer(device, chunk, words, weight_style)
    return total + counters(depth) + registers(device, width)


def buffer(device, width, depth, style=automatic_style):
    """Memory that is written."""
    match style(device, width, depth):
        case MemoryStyle.BLOCK:
            return Resources(block_rams=block_rams(device, width, depth))
        case MemoryStyle.LOGIC:
            return Resources(luts=register_luts(device, width, depth))
        case _:
            return Resources(luts=distributed_luts(width, depth))
