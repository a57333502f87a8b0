# amaranth: UnusedElaboratable=no

from dataclasses import replace

import numpy as np
import pytest
from amaranth import *

from tests.hw.loading import DESIGN, FRAMES, OTHER, Driver
from tests.hw.networks import random_conv_net
from xnorflow.hw.arithmetic.loaded_memory import FOLD_BITS, LoadedRam, Loading, folded
from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.weights import load_image, loaded_tables
from xnorflow.hw.families.device import Cell
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import BinaryConv
from xnorflow.sw.golden import golden


SCORES = golden(OTHER, FRAMES).scores.numpy()
ALL_IN_BLOCKS = replace(DESIGN.device, memories=Cell.BLOCK_RAM)
BLOCKS = plan(DESIGN.network, DESIGN.foldings, DESIGN.input_lanes, ALL_IN_BLOCKS)


def loads_into(accelerator):
    """Whether a load of the other network is good, and whether it is there."""
    driver, good = Driver(accelerator), []
    image = load_image(accelerator.design, OTHER)

    async def main(ctx):
        await driver.more(ctx, 2)
        good.append(await driver.load(ctx, image))
        await ctx.tick()
        assert ctx.get(accelerator.weights_valid) == good[0]

        if good[0]:
            await driver.more(ctx, 3)

    results = driver.run(main)
    if good[0]:
        np.testing.assert_array_equal(results[-1], SCORES[(len(results) - 1) % len(FRAMES)])
    return good[0]


def damage(monkeypatch, width, address, half, chunk):
    """Let a cell of the memory of that width take the wrong bit."""
    healthy = LoadedRam.elaborate

    def elaborate(self, platform):
        if self.width != width or getattr(self, "is_inside", False):
            return healthy(self, platform)
        m = Module()
        options = {"loading": self.loading, "style": self.style}
        m.submodules.inside = inside = LoadedRam(self.width, self.rows, **options)
        inside.is_inside = True
        for name in set(self.signature.members) - {"data", "write_data"}:
            m.d.comb += getattr(inside, name).eq(getattr(self, name))
        written = self.address if self.loading.halved else self.write_address
        wrong = (written == address) & (self.half == half) & self.write[chunk]
        m.d.comb += [inside.write_data.eq(self.write_data ^ wrong), self.data.eq(inside.data)]
        return m

    monkeypatch.setattr(LoadedRam, "elaborate", elaborate)


@pytest.mark.parametrize("design", [DESIGN, BLOCKS], ids=["whole", "halved"])
def test_what_is_written_is_read_back(design):
    halved = design is BLOCKS
    assert loaded_tables(design)["fc1"].loading.halved == halved
    assert loads_into(Accelerator(design))


def test_folds_tell_the_places_of_bits_apart():
    rng = np.random.default_rng(0)
    bits = 5 * FOLD_BITS + 3
    word = int.from_bytes(rng.bytes(21), "little") & (1 << bits) - 1
    folds = {folded(word ^ 1 << n, bits) ^ folded(word, bits) for n in range(bits)}
    assert folds == {1 << n for n in range(FOLD_BITS)}
    part = 0x1234_5678
    assert folded(part | part << FOLD_BITS, bits) != 0


def test_halves_are_loaded_one_after_the_other():
    halved = Loading(4, halved=True)
    assert halved.words(11, [0b10110_011001]) == [0b011001, 0b10110]
    assert halved.chunks(11) == [4, 2]
    assert Loading(4).chunks(11) == [4, 4, 3]


@pytest.mark.parametrize(
    ("width", "address", "half", "chunk"),
    [(24, 0, 0, 0), (24, 3, 1, 0), (24, 2, 0, 0), (18, 1, 1, 0), (6, 3, 1, 0)],
)
def test_a_cell_that_takes_the_wrong_bit_is_found(monkeypatch, width, address, half, chunk):
    damage(monkeypatch, width, address, half, chunk)
    assert not loads_into(Accelerator(BLOCKS))


@pytest.mark.parametrize("chunk", [0, 1])
def test_it_is_found_in_rows_of_several_chunks(monkeypatch, chunk):
    damage(monkeypatch, 24, 1, 1, chunk)
    assert not loads_into(Accelerator(DESIGN))


def test_thresholds_of_border_classes_are_read_back_in_the_order_of_pixels():
    network = random_conv_net(6)
    device = replace(ECP5_85F, runtime_weights=True)
    design = fold(network, device, cycles=400)
    nodes = [
        replace(node, weights=~node.weights) if isinstance(node, BinaryConv) else node
        for node in network.nodes
    ]
    other = replace(network, nodes=tuple(nodes))
    assert any(table.order is not None for table in loaded_tables(design).values())
    frames = np.random.default_rng(1).integers(0, 256, (4, *network.input.shape), np.uint8)
    driver = Driver(Accelerator(design), frames=frames)

    async def main(ctx):
        await driver.more(ctx, 1)
        assert await driver.load(ctx, load_image(design, other))
        await driver.more(ctx, 4)

    results = driver.run(main)
    expected = golden(other, frames).scores.numpy()
    np.testing.assert_array_equal(results[-1], expected[(len(results) - 1) % 4])
