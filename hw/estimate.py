"""What a design costs, estimated before anything is synthesised."""

from dataclasses import dataclass

import numpy as np

from xnorflow.hw.design import Design
from xnorflow.hw.device import Device, Family
from xnorflow.hw.integer_mvu import weight_coding
from xnorflow.hw.memory import MemoryStyle, block_rams, memory_style
from xnorflow.hw.steps import (
    Accumulate,
    Append,
    Bend,
    Compare,
    Copy,
    Divide,
    Gather,
    Merge,
    Multiply,
    Pad,
    Pool,
    Queue,
    Scale,
    Select,
    Skip,
    Slide,
    Step,
)
from xnorflow.hw.stream import value_shape
from xnorflow.network import BinaryConv, Bit, int_bits


__all__ = ["Resources", "estimate", "estimate_step"]

# Look-up tables per synapse and cycle: gate, popcount, and their share of registers without logic.
_LUTS_PER_SYNAPSE = {Family.ICE40: 2.6, Family.ECP5: 2.4, Family.GOWIN: 2.4, Family.XILINX7: 1.4}
_LUTS_PER_CONSTANT_SYNAPSE = 1.7
_CONTROL = 60
"""Counters and handshake of a unit."""
_WINDOW_CONTROL = 180
"""Counters, addresses and accounts of a sliding window."""
_LUTS_PER_SUM_BIT = 1.6
"""Of an adder in a tree, with its register."""


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
    guard = Resources(luts=120)
    return sum(
        (estimate_step(step, design.device, design.depths.get(step.name)) for step in design.steps),
        guard,
    )


def estimate_step(step: Step, device: Device, depth: int | None = None) -> Resources:
    """Resources of one step; a `Queue` must be given its depth."""
    match step:
        case Gather(source=source, lanes=lanes, ratio=ratio):
            return Resources(luts=lanes * ratio * _bits(source) + 20)
        case Divide(source=source, lanes=lanes, ratio=ratio):
            return Resources(luts=lanes * (ratio - 1) * _bits(source) + 20)
        case Copy(source=source, lanes=lanes):
            return Resources(luts=lanes * _bits(source) + 10)
        case Queue(source=source, lanes=lanes):
            return Resources(luts=40) + _buffer(device, lanes * _bits(source), depth)
        case Slide(source=source, lanes=lanes, windows=windows):
            # The depth is known only when the whole pipeline is; this is a good guess.
            depth = windows.least_depth + windows.stride * windows.row_words
            return Resources(luts=_WINDOW_CONTROL) + _buffer(device, lanes * _bits(source), depth)
        case Multiply():
            return _multiply(step, device)
        case Pool(node, source, lanes):
            words = source.width // node.size * (source.channels // lanes)
            return Resources(luts=3 * lanes + _CONTROL) + _buffer(device, lanes, words)
        case Compare(node, source, lanes):
            width = _width(node.thresholds)
            term = node.popcount_weights is not None
            row = width + (_width(node.popcount_weights) if term else 0)
            logic = Resources(2 * lanes * width + _CONTROL, multipliers=lanes if term else 0)
            classes = len(np.atleast_2d(node.thresholds))
            return logic + _memory(device, lanes * row, -(-source.channels // lanes) * classes)
        case Scale(node, source, lanes):
            term = node.popcount_scale is not None
            shared = len(set(node.scale.tolist())) == 1
            row = (0 if shared else _width(node.scale)) + (
                _width(node.popcount_scale) if term else 0
            )
            rounding = 2 * lanes * node.rounding.bits if node.rounding else 0
            logic = Resources(
                2 * lanes * _bits(source) + rounding + _CONTROL,
                multipliers=lanes * (term + (not shared)),
            )
            words = -(-source.channels // lanes)
            classes = len(np.atleast_2d(node.offset))
            logic += _memory(device, lanes * _width(node.offset), words * classes)
            return logic + _memory(device, lanes * row, words)
        case Bend(node, source, lanes):
            slopes = _width(np.concatenate([node.positive, node.negative]))
            logic = Resources(
                lanes * (slopes + 2 * node.rounding.bits) + _CONTROL, multipliers=lanes
            )
            return logic + _memory(device, 2 * lanes * slopes, -(-source.channels // lanes))
        case Skip():
            return Resources(luts=_CONTROL // 2)
        case Pad(source=source, lanes=lanes) | Append(source=source, lanes=lanes):
            return Resources(luts=lanes * _bits(source) + _CONTROL // 4)
        case Merge(node, _, _, lanes):
            return Resources(luts=2 * lanes * node.bits)
        case Accumulate(node, source, lanes):
            delivered = node.infer(source)
            sums, words = _bits(delivered) + 4, delivered.width * (source.channels // lanes)
            return Resources(luts=3 * lanes * sums + _CONTROL) + _buffer(
                device, lanes * sums, words
            )
        case Select(source=source, lanes=lanes):
            return Resources(luts=source.type.bits * (source.channels + 3 * lanes) + _CONTROL)


def _bits(source):
    """Bits of a value of a map."""
    return value_shape(source.type).width


def _width(values):
    """Bits of the narrowest integer that holds all values."""
    return int_bits(int(values.min()), int(values.max()))


def _memory(device, width, depth):
    """Read-only memory."""
    if depth == 1:
        return Resources()
    if memory_style(device, width, depth) is MemoryStyle.BLOCK:
        return Resources(block_rams=block_rams(device, width, depth))
    return Resources(luts=width * -(-depth // 16))


def _buffer(device, width, depth):
    """Memory that is written: distributed RAM where the device has it and the memory is shallow."""
    if device.family is not Family.ICE40 and depth <= 64:
        return Resources(luts=2 * width * -(-depth // 16))
    return Resources(block_rams=block_rams(device, width, depth))


def _multiply(step, device):
    pe, simd = step.folding.pe, step.folding.simd
    bits = _bits(step.source)
    total = Resources(luts=_CONTROL)
    if isinstance(step.node, BinaryConv):
        lanes = pe + step.node.popcount  # P is one more popcount
        constant = step.rows == 1
        synapse = _LUTS_PER_CONSTANT_SYNAPSE if constant else _LUTS_PER_SYNAPSE[device.family]
        sums = lanes * 2 * step.node.taps.bit_length()
        total += Resources(luts=round(synapse * lanes * simd) + sums)
        weight_bits = 1
    else:
        weight_bits, _, _ = weight_coding(step.matrix)
        result = _bits(step.node.infer(step.source))
        multiplied = weight_bits > 1 and not isinstance(step.source.type, Bit)
        product = max(bits, weight_bits) + 1 if not multiplied else bits + weight_bits
        adders = pe * (simd * product + result)
        total += Resources(
            luts=round(_LUTS_PER_SUM_BIT * adders), multipliers=pe * simd if multiplied else 0
        )
    total += _memory(device, pe * simd * weight_bits, step.rows)
    # The ring of activations: two words are registers, more are a memory.
    ring = 2 * step.synapse_fold
    if step.neuron_fold == 1 or ring == 2:
        return total + Resources(luts=2 * simd * bits)
    return total + _buffer(device, simd * bits, ring)
