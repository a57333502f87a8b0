"""Memories on a device: block RAMs, distributed RAMs, or look-up tables."""

from amaranth.utils import ceil_log2

from xnorflow.hw.arithmetic.loaded_memory import Loading
from xnorflow.hw.arithmetic.memory_style import MemoryStyle
from xnorflow.hw.families.device import Cell


__all__ = [
    "automatic_style",
    "block_rams",
    "buffer_style",
    "distributed_luts",
    "loading",
    "logic_luts",
    "memory_style",
    "register_luts",
    "weight_style",
    "written_style",
]

_LUTS_PER_DISTRIBUTED_RAM = 6
"""Four hold them, two make way for the port that writes."""

_LOGIC_CHUNK = 16
"""Bits that are loaded at once where there are no block RAMs."""

_MOST_LOGIC_ROWS = 128
"""Rows up to which read-only memories of more than half a block RAM may be logic."""

_MOST_FAST_ROWS = 256
"""Rows up to which logic is not the longest path; more are only chosen where LUTs are asked for."""


def block_rams(device, width, depth):
    """Block RAMs that ``depth`` words of ``width`` bits take, in the best aspect ratio."""
    blocks = []
    for port in device.block_ram_widths:
        rows = 1 << (device.block_ram_bits // port).bit_length() - 1
        blocks.append(-(-width // port) * -(-depth // rows))
    return min(blocks)


def logic_luts(width, depth):
    """Look-up tables that read-only contents take, if they look random."""
    if depth <= 16:
        # Columns of equal contents are one, and there are only so many different ones.
        return min(width, 1 << depth)
    # A sixteenth for the contents, more than twice as much for choosing among them.
    return round(0.14 * width * depth)


def distributed_luts(width, depth):
    """Look-up tables that a memory takes in distributed RAM, with what chooses among its parts."""
    parts = -(-depth // 16)
    choice = width * (parts - 1) * 2 // 3
    return _distributed_rams(width, depth) * _LUTS_PER_DISTRIBUTED_RAM + choice


def register_luts(device, width, depth):
    """Look-up tables that a memory takes in flip-flops, with what chooses among them."""
    return round((1 + device.family.luts_per_register) * width * depth)


def memory_style(device, width, depth):
    """Place of read-only contents: see `Device.memories`.

    They may be logic if they are of few rows, or small: up to half a block RAM. If nothing is said,
    those up to a LUT's depth are, and small ones of not too many rows that take a smaller part of
    the LUTs than of the block RAMs.
    """
    if not device.block_rams:
        return MemoryStyle.LOGIC
    small = width * depth <= device.block_ram_bits // 2
    if device.memories is Cell.BLOCK_RAM or not (small or depth <= _MOST_LOGIC_ROWS):
        return MemoryStyle.BLOCK
    if device.memories is Cell.LUT or depth <= 16:
        return MemoryStyle.LOGIC
    fast = small and depth <= _MOST_FAST_ROWS
    if fast and _spares_blocks(device, logic_luts(width, depth), width, depth):
        return MemoryStyle.LOGIC
    return MemoryStyle.BLOCK


def weight_style(device, width, depth):
    """Place of weights or thresholds, which may be loaded at run time."""
    return (buffer_style if device.runtime_weights else memory_style)(device, width, depth)


def loading(device, width, depth, *, in_order=True):
    """How such weights or thresholds are loaded, if they are.

    Halves of rows need an address for both, which those have that are needed ``in_order``.
    """
    if not device.runtime_weights:
        return None
    widths = device.block_ram_widths if device.block_rams else (_LOGIC_CHUNK,)
    if not device.family.dual_ports:
        return Loading(max(widths))
    (chunk, *_) = sorted(widths)[-2:]  # the widest one takes both ports
    block = depth > 1 and weight_style(device, width, depth) is MemoryStyle.BLOCK
    return Loading(chunk, halved=block and in_order and width > chunk)


def buffer_style(device, width, depth):
    """Place of a memory that is written, too: see `Device.memories`."""
    if not device.block_rams:
        return _without_blocks(device)
    if not device.family.distributed_rams or device.memories is Cell.BLOCK_RAM:
        return MemoryStyle.BLOCK
    if device.memories is Cell.LUT:
        return MemoryStyle.DISTRIBUTED
    if _spares_blocks(device, distributed_luts(width, depth), width, depth):
        return MemoryStyle.DISTRIBUTED
    return MemoryStyle.BLOCK


def written_style(device, width, depth):
    """The same where distributed RAMs are a choice; elsewhere, what Yosys does by itself."""
    style = buffer_style if device.family.distributed_rams else automatic_style
    return style(device, width, depth)


def automatic_style(device, width, depth):
    """Place where Yosys puts a memory that is written, if nobody asks for one."""
    if not device.block_rams:
        return _without_blocks(device)
    if not device.family.distributed_rams:
        by_registers = width * depth <= device.family.register_ram_bits
        return MemoryStyle.LOGIC if by_registers else MemoryStyle.BLOCK
    # Yosys counts rows up to a power of two.
    rows = 1 << ceil_log2(depth)
    small = _distributed_rams(width, rows) < 32 * block_rams(device, width, depth)
    return MemoryStyle.DISTRIBUTED if small else MemoryStyle.BLOCK


def _without_blocks(device):
    """Place of a memory that is written, if there are no block RAMs."""
    return MemoryStyle.DISTRIBUTED if device.family.distributed_rams else MemoryStyle.LOGIC


def _distributed_rams(width, depth):
    """Distributed RAMs, of 16 words of 4 bits."""
    return -(-width // 4) * -(-depth // 16)


def _spares_blocks(device, luts, width, depth):
    """Whether LUTs are a smaller part of the device than the block RAMs that they stand for."""
    return luts * device.block_rams <= block_rams(device, width, depth) * device.luts
