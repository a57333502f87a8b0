"""What a design costs, estimated before anything is synthesised."""

from dataclasses import dataclass
from math import prod

import numpy as np
from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.memory import (
    MemoryStyle,
    automatic_style,
    block_rams,
    buffer_style,
    distributed_luts,
    logic_luts,
    memory_style,
    register_luts,
)
from xnorflow.hw.arithmetic.popcount import counts_triples
from xnorflow.hw.design import Design
from xnorflow.hw.families.device import Device
from xnorflow.hw.integer_mvu import weight_coding
from xnorflow.hw.mvu import counted_lanes
from xnorflow.hw.peak import peak_words
from xnorflow.hw.postprocess import scale_is_shift, slopes_are_shifts
from xnorflow.hw.steps import (
    Accumulate,
    Append,
    Bend,
    Compare,
    Copy,
    Cut,
    Divide,
    DynamicBend,
    DynamicCompare,
    Gather,
    Hold,
    Merge,
    Multiply,
    Pad,
    Peak,
    Pool,
    Queue,
    Scale,
    Select,
    Skip,
    Slide,
    Step,
)
from xnorflow.hw.streams.words import value_shape
from xnorflow.hw.swu import ring_size
from xnorflow.network import BinaryConv, Bit, int_bits


__all__ = ["Resources", "estimate", "estimate_step"]

_LUTS_PER_CONSTANT_SYNAPSE = 1.7
_LUTS_PER_COUNTER_BIT = 2.3
_CONTROL = 20
"""Handshake of a unit, and what marks its words."""
_WINDOW_CONTROL = 150
"""Counters, addresses and accounts of a sliding window."""
_GUARD = 240
"""Guard, verdicts and gate."""


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


def estimate(design: Design) -> Resources:
    """Resources of the whole accelerator."""
    guard = Resources(luts=_GUARD)
    return sum(
        (estimate_step(step, design.device, design.depths.get(step.name)) for step in design.steps),
        guard,
    )


def estimate_step(step: Step, device: Device, depth: int | None = None) -> Resources:
    """Resources of one step; a `Queue` must be given its depth."""
    match step:
        case Gather(source=source, lanes=lanes, ratio=ratio):
            return Resources(luts=12) + _registers(device, lanes * ratio * _bits(source))
        case Divide(source=source, lanes=lanes, ratio=ratio):
            return Resources(luts=lanes * (ratio - 1) * _bits(source) + 20)
        case Copy(source=source, lanes=lanes):
            return Resources(luts=lanes * _bits(source) + 10)
        case Cut(source=source, lanes=lanes):
            width = lanes * _bits(source)
            return Resources(luts=width + 3) + _registers(device, width)
        case Queue(source=source, lanes=lanes):
            return Resources(luts=40) + _buffer(device, lanes * _bits(source), depth)
        case Hold(source=source, lanes=lanes):
            return Resources(luts=60) + _buffer(device, lanes * _bits(source), depth)
        case Slide(node=node, source=source, lanes=lanes, windows=windows):
            if depth is None:
                # It is known only when the whole pipeline is; this is a good guess.
                depth = windows.least_depth + windows.stride * windows.row_words
            width = lanes * _bits(source)
            control = _WINDOW_CONTROL + 4 * node.padding * depth.bit_length()
            buffer = _buffer(device, width, ring_size(depth), buffer_style)
            return Resources(luts=control) + buffer + _registers(device, width)
        case Multiply():
            return _multiply(step, device)
        case Pool(node, source, lanes):
            words = source.width // node.size * (source.channels // lanes)
            return Resources(luts=2 * lanes + 60) + _buffer(device, lanes, words)
        case Compare():
            return _compare(step, device)
        case Scale(node, source, lanes):
            term = node.popcount_scale is not None
            shared = len(set(node.scale.tolist())) == 1
            row = (0 if shared else _width(node.scale)) + (
                _width(node.popcount_scale) if term else 0
            )
            rounding = 2 * lanes * node.rounding.bits if node.rounding else 0
            logic = Resources(luts=lanes * _chain(device, _bits(node.infer(source))) + rounding)
            if not scale_is_shift(node):
                logic += _products(device, lanes, _bits(source), _width(node.scale))
            if term:
                logic += _products(device, lanes, _bits(source), _width(node.popcount_scale))
            words = -(-source.channels // lanes)
            classes = len(np.atleast_2d(node.offset))
            logic += _memory(device, lanes * _width(node.offset), words * classes)
            return logic + _memory(device, lanes * row, words)
        case Bend(node, source, lanes):
            slopes = _width(np.concatenate([node.positive, node.negative]))
            words = -(-source.channels // lanes)
            logic = Resources(luts=lanes * (slopes + 2 * node.rounding.bits) + _CONTROL)
            if slopes_are_shifts(node):
                return logic
            logic += _products(device, lanes, _bits(source), slopes)
            return logic + _memory(device, 2 * lanes * slopes, words)
        case Skip():
            return Resources(luts=_CONTROL // 2)
        case Pad(source=source, lanes=lanes) | Append(source=source, lanes=lanes):
            return Resources(luts=lanes * _bits(source) + _CONTROL // 4)
        case Merge(node, _, _, lanes):
            return Resources(luts=2 * lanes * node.bits)
        case Peak(_, source, lanes):
            width = lanes * _bits(source)
            # In each direction a comparison, a choice, and another one of what is kept.
            logic = 2 * (lanes * _chain(device, _bits(source), carry_out=True) + 2 * width)
            memories = (_buffer(device, width, words) for words in peak_words(source, lanes))
            return sum(memories, Resources(luts=logic + 3 * _CONTROL))
        case Accumulate(node, source, lanes):
            delivered = node.infer(source)
            sums, words = _bits(delivered) + 4, delivered.width * (source.channels // lanes)
            return Resources(luts=3 * lanes * sums + _CONTROL) + _buffer(
                device, lanes * sums, words
            )
        case DynamicCompare(node, source, parameters, lanes):
            shift = node.scale.bit_length() - 1
            bits = max(_bits(source) + shift, _bits(parameters))
            logic = Resources(luts=lanes * _chain(device, bits, carry_out=True))
            if node.scale != 1 << shift:
                logic += _products(device, lanes, _bits(source), _width(np.array(node.scale)))
            shared = parameters.channels == 1
            return logic + _frame_table(device, step, columns=1, lanes=1 if shared else lanes)
        case DynamicBend(node, source, parameters, lanes):
            slopes = _width(np.concatenate([node.positive, node.negative]))
            shifts = 2 * _chain(device, _bits(parameters) + node.rounding.shift)
            logic = Resources(luts=lanes * (slopes + 2 * node.rounding.bits + shifts))
            logic += _products(device, lanes, _bits(source), slopes)
            logic += _memory(device, 2 * lanes * slopes, source.channels // lanes)
            return logic + _frame_table(device, step, columns=2, lanes=lanes)
        case Select(source=source, lanes=lanes):
            bits = _bits(source)
            comparison = _chain(device, bits, carry_out=True) + bits + ceil_log2(source.channels)
            return Resources(luts=lanes * comparison) + _registers(
                device, bits * (source.channels + 2 * lanes)
            )


def _bits(source):
    """Bits of a value of a map."""
    return value_shape(source.type).width


def _width(values):
    """Bits of the narrowest integer that holds all values."""
    return int_bits(int(values.min()), int(values.max()))


def _registers(device, bits):
    """Registers without logic; where they do not take logic cells, there are enough."""
    return Resources(luts=bits if device.family.packed_registers else 0)


def _counters(*lengths):
    """Counters that go round."""
    return Resources(luts=round(_LUTS_PER_COUNTER_BIT * sum(ceil_log2(n) for n in lengths)))


def _chain(device, bits, *, carry_out=False):
    """Look-up tables of an adder in a carry chain."""
    if device.family.paired_chains:
        return bits + bits % 2 + 2 + 2 * carry_out
    return bits + 1


def _products(device, count, *bits):
    """So many signed products of two operands of ``bits``.

    Of each operand a hard multiplier takes all bits but one, which is the sign of those that come
    above. Yosys makes what a single bit is too many for of look-up tables, and all products where
    a device has no multipliers.
    """
    if not device.multipliers:
        each = device.family.luts_per_partial_product * prod(bits)
        return Resources(luts=round(count * each))
    each = prod(max(1, -(-(width - 2) // (device.multiplier_bits - 1))) for width in bits)
    return Resources(multipliers=count * each)


def _memory(device, width, depth):
    """Table of constants: read-only memory, and a register behind it."""
    if depth == 1 or width == 0:
        return Resources()
    contents = Resources(luts=logic_luts(width, depth))
    if memory_style(device, width, depth) is MemoryStyle.BLOCK:
        contents = Resources(block_rams=block_rams(device, width, depth))
    return contents + _counters(depth) + _registers(device, width)


def _frame_table(device, step, *, columns, lanes):
    """Parameters of two frames, and what counts and chooses them."""
    width = lanes * _bits(step.parameters)
    rows = max(1, step.source.channels // lanes)
    table = _buffer(device, width, 2 << ceil_log2(rows))
    counters = _counters(step.parameters.channels, step.source.height * step.source.width, rows)
    tables = sum([table] * columns, Resources(luts=2 * _CONTROL))
    return tables + counters + _registers(device, columns * width)


def _buffer(device, width, depth, style=automatic_style):
    """Memory that is written."""
    match style(device, width, depth):
        case MemoryStyle.BLOCK:
            return Resources(block_rams=block_rams(device, width, depth))
        case MemoryStyle.LOGIC:
            return Resources(luts=register_luts(width, depth))
        case _:
            return Resources(luts=distributed_luts(width, depth))


def _compare(step, device):
    """A comparison a lane, behind words that wait for their thresholds."""
    node, source, lanes = step.node, step.source, step.lanes
    term = node.popcount_weights is not None
    classes = len(np.atleast_2d(node.thresholds))
    words = -(-source.channels // lanes) * classes
    shift = _trailing_zeros(node.thresholds) if node.fraction == 0 else 0
    bits = max(1, _bits(source) - shift)
    threshold = _width(node.thresholds)
    total = Resources(luts=_CONTROL) + _registers(device, 2 * lanes * bits)
    if term:
        weight = _width(node.popcount_weights)
        product = weight + _bits(source)
        chains = _chain(device, threshold) + _chain(device, max(threshold, product))
        total += Resources(luts=lanes * chains)
        total += _products(device, lanes, _bits(source), weight)
        return total + _memory(device, lanes * (threshold + weight), words)
    if words == 1:
        return total + Resources(luts=lanes * -(-(bits - 1) // 3))
    total += Resources(luts=lanes * _chain(device, bits, carry_out=True))
    return total + _memory(device, lanes * threshold, words)


def _trailing_zeros(values):
    """Low bits that are 0 in all values."""
    together = int(np.bitwise_or.reduce(np.ravel(values)))
    return (together & -together).bit_length() - 1 if together else 0


def _multiply(step, device):
    pe, simd = step.folding.pe, step.folding.simd
    width = simd * _bits(step.source)
    if isinstance(step.node, BinaryConv):
        weight_bits = 1
        total = _popcounts(step, device)
    else:
        weight_bits, _, _ = weight_coding(step.matrix)
        total = _sums(step, device, weight_bits)
    total += Resources(luts=_CONTROL) + _memory(device, pe * simd * weight_bits, step.rows)
    total += _counters(step.synapse_fold, step.neuron_fold)
    # The ring of activations, with five numbers that say where it is written and read.
    ring = 2 if step.neuron_fold == 1 else 2 * step.synapse_fold
    total += _counters(*[ring] * 5) + _registers(device, width)
    if ring == 2:
        return total + Resources(luts=width) + _registers(device, 2 * width)
    return total + _buffer(device, width, ring)


def _popcounts(step, device):
    """Gates, popcounts and accumulators of a layer of bits."""
    simd = step.folding.simd
    neurons = step.folding.pe + step.node.popcount  # P is one more popcount
    count = step.node.taps.bit_length()
    counted = counted_lanes(simd)
    shared = 0
    if step.rows == 1:
        popcount = _LUTS_PER_CONSTANT_SYNAPSE * counted
    elif not counts_triples(counted, device.family):
        popcount = device.family.luts_per_added_synapse * counted
    else:
        # Each adder takes three bits to two. The first ones share parities.
        triples, adders = counted // 3, counted - counted.bit_length()
        popcount = 3 * triples + 2 * (adders - triples) + counted % 3
        shared = simd
    luts = round(neurons * popcount) + shared
    if step.synapse_fold > 1 or counted < simd:
        luts += neurons * _chain(device, count + (counted < simd))
    # The sum of a vector waits beside the one that is under way.
    return Resources(luts=luts) + _registers(device, neurons * count)


def _sums(step, device, weight_bits):
    """Products, adders and accumulators of a layer of integers."""
    pe, simd = step.folding.pe, step.folding.simd
    bits, result = _bits(step.source), _bits(step.node.infer(step.source))
    terms = simd
    if weight_bits == 1:
        # Two activations make a term, and their sum and difference are shared.
        terms, term = -(-simd // 2), bits + 2
        luts = pe * terms * term + (simd // 2) * 2 * _chain(device, bits + 1)
        products = Resources(luts=luts)
    elif isinstance(step.source.type, Bit):
        term, products = weight_bits, Resources(luts=pe * simd * weight_bits)
    else:
        term, products = bits + weight_bits, _products(device, pe * simd, bits, weight_bits)
    carry = weight_bits == 1
    adders = (terms - 1) * _chain(device, term + 1 + carry) + _chain(device, result + carry)
    return products + Resources(luts=pe * adders)
