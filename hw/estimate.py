"""What a design costs, estimated before anything is synthesised."""

from dataclasses import dataclass

from xnorflow.hw.design import Compare, Design, Gather, Multiply, Scale, Select, Step
from xnorflow.hw.device import Device, Family
from xnorflow.hw.memory import MemoryStyle, block_rams, memory_style
from xnorflow.network import Counts, int_bits


__all__ = ["Resources", "estimate", "estimate_step"]

# Look-up tables per synapse and cycle: gate, popcount, and their share of registers without logic.
_LUTS_PER_SYNAPSE = {Family.ICE40: 2.6, Family.ECP5: 2.4, Family.GOWIN: 2.4, Family.XILINX7: 1.4}
_LUTS_PER_CONSTANT_SYNAPSE = 1.7
_CONTROL = 60
"""Counters and handshake of a unit."""


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
    return sum((estimate_step(step, design.device) for step in design.steps), guard)


def estimate_step(step: Step, device: Device) -> Resources:
    """Resources of one step."""
    match step:
        case Gather(lanes=lanes, ratio=ratio):
            return Resources(luts=lanes * ratio + 20)
        case Multiply():
            return _multiply(step, device)
        case Compare(node, source, lanes):
            width = _width(node.thresholds)
            term = node.popcount_weights is not None
            row = width + (_width(node.popcount_weights) if term else 0)
            logic = Resources(2 * lanes * width + _CONTROL, multipliers=lanes if term else 0)
            return logic + _memory(device, lanes * row, -(-source.channels // lanes))
        case Scale(node, source, lanes):
            term = node.popcount_scale is not None
            shared = len(set(node.scale.tolist())) == 1
            row = _width(node.offset) + (_width(node.popcount_scale) if term else 0)
            multipliers = lanes * (term + (not shared))
            logic = Resources(2 * lanes * _bits(source) + _CONTROL, multipliers=multipliers)
            return logic + _memory(device, lanes * row, -(-source.channels // lanes))
        case Select(source=source, lanes=lanes):
            return Resources(luts=source.type.bits * (source.channels + 3 * lanes) + _CONTROL)


def _bits(source):
    """Bits of a value of a map."""
    if isinstance(source.type, Counts):
        return source.type.taps.bit_length()
    return source.type.bits


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


def _multiply(step, device):
    pe, simd = step.folding.pe, step.folding.simd
    lanes = pe + step.node.popcount  # P is one more popcount
    synapse = _LUTS_PER_CONSTANT_SYNAPSE if step.cycles == 1 else _LUTS_PER_SYNAPSE[device.family]
    total = Resources(
        luts=round(synapse * lanes * simd) + lanes * 2 * step.node.taps.bit_length() + _CONTROL
    )
    total += _memory(device, pe * simd, step.cycles)
    # The ring of activations: two words are registers, more are a memory.
    ring = 2 * step.synapse_fold
    if step.neuron_fold == 1 or ring == 2:
        total += Resources(luts=2 * simd)
    elif device.family is not Family.ICE40 and ring <= 64:
        total += Resources(luts=2 * simd * -(-ring // 16))
    else:
        total += Resources(block_rams=block_rams(device, simd, ring))
    return total
