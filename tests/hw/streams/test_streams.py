# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.sim import Simulator

from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.fork import Fork
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.width_converters import WidthConverter, WidthDivider
from xnorflow.hw.streams.words import check_lanes, map_layout
from xnorflow.ir import Bit, Counts, FeatureMap, Int, UInt
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
@pytest.mark.parametrize("popcount", [False, True])
@pytest.mark.parametrize(("lanes", "ratio", "words"), [(1, 2, 4), (2, 3, 7), (3, 4, 1), (1, 8, 16)])
def test_width_divider_divides_each_vector(lanes, ratio, words, popcount, stall):
    rng = np.random.default_rng(words)
    source = FeatureMap(1, 1, lanes * words, Counts(20, popcount))
    vectors, shared = rng.integers(0, 21, (5, words, lanes)), rng.integers(0, 21, 5).tolist()
    spare = np.full((5, -words % ratio, lanes), 20)
    wide = np.concatenate([vectors, spare], axis=1).reshape(5, -1, lanes * ratio)
    inputs = [
        {"lanes": word} | ({"popcount": p} if popcount else {})
        for vector, p in zip(wide.tolist(), shared, strict=True)
        for word in vector
    ]

    dut = WidthDivider(source, lanes=lanes, ratio=ratio, words=words)
    outputs = transact(dut, inputs, 5 * words, stall=stall)

    assert [list(out.lanes) for out in outputs] == vectors.reshape(-1, lanes).tolist()
    if popcount:
        assert [out.popcount for out in outputs] == np.repeat(shared, words).tolist()


def test_width_divider_delivers_a_word_every_cycle():
    source = FeatureMap(1, 1, 5, Counts(20))
    dut = WidthDivider(source, lanes=1, ratio=2, words=5)
    transact(dut, [{"lanes": [1, 2]}] * 30, 50, max_cycles=50 + dut.latency)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_fifo_keeps_order(depth, stall):
    inputs = list(range(50))
    assert transact(Fifo(8, depth), inputs, 50, stall=stall) == inputs


@pytest.mark.parametrize("depth", [3, 20])
def test_fifo_takes_a_word_every_cycle(depth):
    transact(Fifo(8, depth), list(range(50)), 50, max_cycles=50 + Fifo.latency)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_skid_buffer_keeps_order(stall):
    inputs = list(range(50))
    limit = 20_000 if stall else 50 + SkidBuffer.latency
    assert transact(SkidBuffer(8), inputs, 50, stall=stall, max_cycles=limit) == inputs


def test_skid_buffer_cuts_both_directions():
    dut = SkidBuffer(8)

    async def bench(ctx):
        for valid in (0, 1, 1, 1, 0, 1, 0, 0):
            before = []
            for ready in (0, 1):
                ctx.set(dut.i.valid, valid ^ ready)
                ctx.set(dut.o.ready, ready)
                before.append((ctx.get(dut.i.ready), ctx.get(dut.o.valid)))
            assert before[0] == before[1]
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.o.ready, 0)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_fork_hands_every_word_to_everybody(stall):
    dut = Fork(8, 3)
    rng = np.random.default_rng(1)
    waits = rng.random((4, 2000)) < stall
    taken = [[], [], []]

    ready_cycles = []

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
                ready_cycles.append(ready)
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
    if stall == 0.0:
        assert all(ready_cycles)


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
            "The ratio of widths must be at least 2, not 1",
        ),
        (
            lambda: WidthConverter(1, lanes=0, ratio=2, words=1),
            "Lanes and words must be at least 1, not 0 and 1",
        ),
        (
            lambda: WidthDivider(FeatureMap(1, 1, 2, Bit()), lanes=1, ratio=1, words=1),
            "The ratio of widths must be at least 2, not 1",
        ),
        (
            lambda: WidthDivider(FeatureMap(1, 1, 2, Bit()), lanes=1, ratio=2, words=0),
            "Lanes and words must be at least 1, not 1 and 0",
        ),
        (lambda: Fifo(8, 0), "Depth of a FIFO must be at least 1, not 0"),
        (lambda: Fork(8, 1), "A fork must have at least 2 consumers, not 1"),
    ],
)
def test_rejects_impossible_sizes(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()


@pytest.mark.parametrize("lanes", [3, 8, 0, -2])
def test_rejects_lanes_that_cut_pixels(lanes):
    source = FeatureMap(2, 2, 4, Bit())
    check_lanes(source, 2)
    with pytest.raises(ValueError, match=f"^Lanes must divide the 4 channels, not {lanes}$"):
        check_lanes(source, lanes)
