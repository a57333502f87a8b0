"""How memories fall on a device: block RAMs, or look-up tables."""

from xnorflow.hw.constants import MemoryStyle


__all__ = ["block_rams", "memory_style"]


def block_rams(device, width, depth):
    """Block RAMs that ``depth`` words of ``width`` bits take, in the best aspect ratio."""
    blocks = []
    for port in device.block_ram_widths:
        rows = 1 << (device.block_ram_bits // port).bit_length() - 1
        blocks.append(-(-width // port) * -(-depth // rows))
    return min(blocks)


def memory_style(device, width, depth):
    """Where read-only contents belong: in logic up to a LUT's depth, or half a block RAM."""
    if depth <= 16 or width * depth <= device.block_ram_bits // 2:
        return MemoryStyle.LOGIC
    return MemoryStyle.BLOCK
