from dataclasses import replace

import numpy as np
import pytest

from tests.hw.loading import DESIGN, FOLDINGS, FRAMES, NETWORK, OTHER, Driver
from tests.hw.networks import random_mlp
from xnorflow.errors import DesignError
from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.weights import load_image, network_crc
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import Gate
from xnorflow.sw.golden import golden


IMAGE, OTHER_IMAGE = load_image(DESIGN), load_image(DESIGN, OTHER)
SCORES = {n: golden(each, FRAMES).scores.numpy() for n, each in enumerate((NETWORK, OTHER))}


def runs(results):
    """Which network has given the results, for as many as go together."""
    found = []
    for n, scores in enumerate(results):
        (which,) = [
            w for w, expected in SCORES.items() if (expected[n % len(FRAMES)] == scores).all()
        ]
        if not found or found[-1][0] != which:
            found.append([which, 0])
        found[-1][1] += 1
    return found


def test_frames_tell_the_networks_apart():
    assert (SCORES[0] != SCORES[1]).any(axis=1).all()


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_networks_are_swapped_while_frames_go_through(stall):
    driver = Driver(Accelerator(DESIGN), stall)

    async def main(ctx):
        await driver.more(ctx, 3)
        for network, image in [(OTHER, OTHER_IMAGE), (NETWORK, IMAGE)]:
            assert await driver.load(ctx, image)
            assert ctx.get(driver.dut.weights_valid)
            assert ctx.get(driver.dut.weights_crc) == network_crc(network)
            await driver.more(ctx, 5)

    found = runs(driver.run(main))
    assert [which for which, _ in found] == [0, 1, 0]
    assert found[1][1] >= 5


def spoilt(place):
    image = bytearray(OTHER_IMAGE)
    image[place] ^= 4
    return bytes(image)


async def delivers_nothing(driver, ctx):
    done = len(driver.results)
    await ctx.tick().repeat(60)
    return len(driver.results) == done and not ctx.get(driver.dut.weights_valid)


def test_a_load_that_fails_stops_frames_until_the_next():
    driver = Driver(Accelerator(DESIGN))
    images = [
        OTHER_IMAGE[:6],
        OTHER_IMAGE[:-1],
        OTHER_IMAGE + b"\0",
        spoilt(len(IMAGE) // 2),
        spoilt(-6),
        spoilt(-1),
    ]

    async def main(ctx):
        await driver.more(ctx, 2)
        for image in images:
            assert not await driver.load(ctx, image)
            assert await delivers_nothing(driver, ctx)
        assert await driver.load(ctx, OTHER_IMAGE)
        await driver.more(ctx, 5)

    assert [which for which, _ in runs(driver.run(main))] == [0, 1]


def test_what_is_not_for_this_shape_changes_nothing():
    driver = Driver(Accelerator(DESIGN))

    async def main(ctx):
        for image in [b"\0", spoilt(0), spoilt(3), IMAGE[:4]]:
            assert not await driver.load(ctx, image)
            assert ctx.get(driver.dut.weights_valid)
            assert ctx.get(driver.dut.weights_crc) == network_crc(NETWORK)
            await driver.more(ctx, 2)

    assert [which for which, _ in runs(driver.run(main))] == [0]


@pytest.mark.parametrize("sent", [5, len(IMAGE) // 2, len(IMAGE) - 1])
def test_a_reset_in_a_load_lets_no_frame_in(sent):
    driver = Driver(Accelerator(DESIGN))

    async def main(ctx):
        await driver.more(ctx, 2)
        await driver.send(ctx, OTHER_IMAGE[:sent], whole=False)
        await driver.restart(ctx)
        assert await delivers_nothing(driver, ctx)
        assert await driver.load(ctx, OTHER_IMAGE)
        await driver.more(ctx, 3)

    assert [which for which, _ in runs(driver.run(main))] == [0, 1]


def test_a_reset_leaves_what_has_been_loaded():
    driver = Driver(Accelerator(DESIGN))

    async def main(ctx):
        assert await driver.load(ctx, OTHER_IMAGE)
        await driver.more(ctx, 2)
        await driver.restart(ctx)
        assert ctx.get(driver.dut.weights_valid)
        assert ctx.get(driver.dut.weights_crc) == network_crc(OTHER)
        await driver.more(ctx, 5)

    assert runs(driver.run(main))[-1][0] == 1


def test_networks_of_other_shapes_are_refused():
    nodes = {node.name: node for node in NETWORK.nodes}

    def changed(name, **fields):
        other = replace(nodes[name], **fields)
        return replace(NETWORK, nodes=tuple(other if n.name == name else n for n in NETWORK.nodes))

    for network, reason in [
        (random_mlp(2, widths=(5,), classes=4), "fc1 has other weights"),
        (random_mlp(2, side=5, widths=(6,), classes=4), "its input is"),
        (random_mlp(2, widths=(6, 6), classes=4), "its nodes are"),
        (changed("fc1", gate=Gate.AND), "fc1 has other gate, which cannot be loaded"),
        (changed("scores", offset=np.array([1, 2, 3, 7])), "scores has other offset, which cannot"),
    ]:
        with pytest.raises(DesignError, match=reason):
            load_image(DESIGN, network)


def test_names_of_nodes_are_no_part_of_the_shape():
    names = {node.name: f"{node.name}_2" for node in OTHER.nodes}
    nodes = (
        replace(node, name=names[node.name], source=names.get(node.source, node.source))
        for node in OTHER.nodes
    )
    renamed = replace(OTHER, nodes=tuple(nodes))
    # The CRC names the network, and its names are part of it.
    assert load_image(DESIGN, renamed)[:-8] == OTHER_IMAGE[:-8]


def test_layers_that_are_constants_are_refused():
    with pytest.raises(DesignError, match=r"^fc2: weights that are loaded at run time need"):
        plan(NETWORK, {"fc1": Folding(3, 8), "fc2": Folding(4, 6)}, 4, DESIGN.device)


def test_directions_may_be_missing():
    nodes = [replace(node, inverted=None) if node.name == "act1" else node for node in OTHER.nodes]
    without = replace(OTHER, nodes=tuple(nodes))
    with pytest.raises(DesignError, match="act1 has other inverted"):
        load_image(plan(without, FOLDINGS, 4, DESIGN.device), OTHER)
    none = np.zeros(6, bool)
    nodes = [replace(node, inverted=none) if node.name == "act1" else node for node in OTHER.nodes]
    zeros = replace(OTHER, nodes=tuple(nodes))
    rows = slice(4, -8)
    assert load_image(DESIGN, without)[rows] == load_image(DESIGN, zeros)[rows]
