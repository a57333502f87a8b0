from dataclasses import replace

import pytest

from xnorflow.hw.arithmetic.constants import MemoryStyle
from xnorflow.hw.arithmetic.memory import automatic_style, block_rams, buffer_style, memory_style
from xnorflow.hw.families.device import Cell
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K


@pytest.mark.parametrize(
    ("device", "width", "depth", "blocks"),
    [
        (UP5K, 16, 256, 1),
        (UP5K, 17, 256, 2),
        (UP5K, 16, 257, 2),
        (UP5K, 2, 2048, 1),
        (UP5K, 8, 512, 1),
        (UP5K, 1, 4096, 2),  # words of 2 bits are the narrowest
        (ECP5_85F, 36, 512, 1),
        (ECP5_85F, 18, 1024, 1),
        (ECP5_85F, 1, 16384, 1),
        (ECP5_85F, 128, 784, 8),
    ],
)
def test_block_rams_take_the_best_aspect(device, width, depth, blocks):
    assert block_rams(device, width, depth) == blocks


def test_shallow_and_small_memories_are_logic():
    assert memory_style(ECP5_85F, 512, 16) is MemoryStyle.LOGIC
    assert memory_style(UP5K, 8, 150) is MemoryStyle.LOGIC
    assert memory_style(UP5K, 8, 160) is MemoryStyle.BLOCK


def test_deep_memories_are_logic_only_where_asked_for():
    assert memory_style(UP5K, 1, 256) is MemoryStyle.LOGIC
    assert memory_style(UP5K, 1, 257) is MemoryStyle.BLOCK
    assert memory_style(replace(UP5K, memories=Cell.LUT), 1, 257) is MemoryStyle.LOGIC


def test_wide_memories_are_not_logic():
    # A smaller part of the look-up tables than of the block RAMs, but there is no end to that.
    assert memory_style(ECP5_85F, 2048, 36) is MemoryStyle.BLOCK


def test_without_block_rams_there_are_other_places():
    none = {"block_rams": 0, "block_ram_bits": 0, "block_ram_widths": ()}
    ecp5, ice40 = replace(ECP5_85F, **none), replace(UP5K, **none)
    assert memory_style(ecp5, 2048, 36) is MemoryStyle.LOGIC
    assert memory_style(ice40, 2048, 36) is MemoryStyle.LOGIC
    for style in buffer_style, automatic_style:
        assert style(ecp5, 64, 1024) is MemoryStyle.DISTRIBUTED
        assert style(ice40, 16, 16) is MemoryStyle.LOGIC


def test_shallow_buffers_are_distributed():
    assert buffer_style(ECP5_85F, 64, 64) is MemoryStyle.DISTRIBUTED
    assert buffer_style(ECP5_85F, 64, 128) is MemoryStyle.BLOCK
    assert buffer_style(UP5K, 16, 16) is MemoryStyle.BLOCK
