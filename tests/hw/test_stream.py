# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.sim import Simulator

from xnorflow.hw.stream import Fifo, Fork, WidthConverter, map_layout
from xnorflow.network import Bit, Counts, FeatureMap, Int, UInt
from xnorflow.sim.pysim import transact


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("lanes", "ratio", "words"), [(1, 2, 4), (2, 3, 7), (3, 4, 1), (1, 8, 16)])
def test_width_converter_gathers_each_vector(lanes, ratio, words, stall):
    rng = np.random.default_rng(words)
    vectors = rng.integers(0, 2, (3, words, lanes))
    wide = -(-words // ratio)

    outputs = transact(
        WidthConverter(1, lanes=lanes, ratio=ratio, words=words),
        [{"lanes": word.tolist()} for vector in vectors for word in vector],
        3 * wide,
        stall=stall,
    )

    for n, vector in enumerate(vectors):
        gathered = [bit for out in outputs[n * wide : (n + 1) * wide] for bit in out.lanes]
        assert gathered[: words * lanes] == vector.flatten().tolist()


def test_width_converter_takes_a_word_every_cycle():
    dut = WidthConverter(1, lanes=1, ratio=2, words=4)
    transact(dut, [{"lanes": [1]}] * 40, 20, max_cycles=40 + dut.latency)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_fifo_keeps_order(depth, stall):
    inputs = list(range(50))
    assert transact(Fifo(8, depth), inputs, 50, stall=stall) == inputs


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_fork_hands_every_word_to_everybody(stall):
    dut = Fork(8, 3)
    rng = np.random.default_rng(1)
    waits = rng.random((4, 2000)) < stall
    taken = [[], [], []]

    async def put(ctx):
        cycle = 0
        for word in range(30):
            while waits[3, cycle]:
                cycle += 1
                await ctx.tick()
            ctx.set(dut.i.payload, word)
            ctx.set(dut.i.valid, 1)
            ready = False
            while not ready:
                *_, ready = await ctx.tick().sample(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            cycle += 1

    def consumer(n):
        async def get(ctx):
            for wait in waits[n]:
                ctx.set(dut.o[n].ready, not wait)
                *_, valid, word = await ctx.tick().sample(dut.o[n].valid, dut.o[n].payload)
                if valid and not wait:
                    taken[n].append(word)

        return get

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(put)
    for n in range(3):
        sim.add_testbench(consumer(n))
    sim.run()

    assert taken == [list(range(30))] * 3


@pytest.mark.parametrize(
    ("type_", "width"), [(Bit(), 1), (UInt(8), 8), (Int(5), 5), (Counts(16), 5)]
)
def test_map_layout_has_the_values_width(type_, width):
    assert map_layout(FeatureMap(1, 1, 4, type_), 4)["lanes"].shape.size == 4 * width


def test_map_layout_carries_the_popcount():
    layout = map_layout(FeatureMap(1, 1, 4, Counts(16, popcount=True)), 2)
    assert layout["popcount"].shape.width == 5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: WidthConverter(1, lanes=1, ratio=1, words=1),
            "Ratio of a width converter must be at least 2, not 1",
        ),
        (
            lambda: WidthConverter(1, lanes=0, ratio=2, words=1),
            "Lanes and words must be at least 1, not 0 and 1",
        ),
        (lambda: Fifo(8, 0), "Depth of a FIFO must be at least 1, not 0"),
        (lambda: Fork(8, 1), "A fork must have at least 2 consumers, not 1"),
    ],
)
def test_rejects_impossible_sizes(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()
