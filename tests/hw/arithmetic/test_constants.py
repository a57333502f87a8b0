# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import *
from amaranth.sim import Simulator

from xnorflow.hw.arithmetic.constants import ConstantTable, MemoryStyle, channel_rows


@pytest.mark.parametrize("style", MemoryStyle)
@pytest.mark.parametrize("rows", [[5], [1, 2, 3], [7, 0, 7, 1]])
def test_table_goes_round_and_holds(rows, style):
    dut = ConstantTable(3, rows, style=style)
    rng = np.random.default_rng(len(rows))
    seen, expected = [], []

    async def bench(ctx):
        steps, pipeline = 0, [None] * dut.latency
        for en, step in rng.integers(0, 2, (200, 2)).tolist():
            ctx.set(dut.en, en)
            ctx.set(dut.step, step)
            await ctx.tick()
            if en:
                pipeline = [rows[steps % len(rows)], *pipeline[:-1]]
                steps += step
            if pipeline[-1] is not None:
                seen.append(ctx.get(dut.row))
                expected.append(pipeline[-1])

    top = Module()
    top.domains.sync = ClockDomain()  # a single row needs none
    top.submodules.dut = dut
    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()

    assert seen == expected


@pytest.mark.parametrize(
    "classes",
    [
        [[0, 1, 1, 2], [3, 4, 4, 5], [3, 4, 4, 5], [6, 7, 7, 8]],
        [[0, 0, 1]],
        [[0], [1], [1]],
        [[0, 1], [1, 0]],
    ],
)
@pytest.mark.parametrize("words", [1, 3])
def test_rows_are_those_of_the_pixels_class(classes, words):
    classes = np.array(classes)
    rows = np.random.default_rng(words).integers(0, 256, (classes.max() + 1) * words).tolist()
    dut = ConstantTable(8, rows, classes=classes)
    expected = [rows[k * words + n] for k in classes.flatten() for n in range(words)] * 2
    seen = []

    async def bench(ctx):
        ctx.set(dut.en, 1)
        ctx.set(dut.step, 1)
        for _ in range(dut.latency - 1):
            await ctx.tick()
        for _ in expected:
            await ctx.tick()
            seen.append(ctx.get(dut.row))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()

    assert seen == expected


def test_rejects_rows_that_classes_cannot_share():
    with pytest.raises(ValueError, match=r"^3 rows cannot be shared out to 2 classes$"):
        ConstantTable(8, [1, 2, 3], classes=np.array([[0, 1]]))


def test_a_single_row_is_for_all_classes():
    columns = {"threshold": np.array([[5, 5], [5, 5]])}
    layout, rows = channel_rows(columns, lanes=1, vector=2)
    assert rows == [5]
    ConstantTable(layout, rows, classes=np.array([[0, 1]]))


def test_channel_rows_of_classes_follow_each_other():
    columns = {"threshold": np.array([[1, 2], [-3, 4]]), "flip": np.array([0, 1])}

    layout, rows = channel_rows(columns, lanes=1, vector=2)

    contents = [layout.from_bits(row) for row in rows]
    assert [list(row.threshold) for row in contents] == [[1], [2], [-3], [4]]
    assert [list(row.flip) for row in contents] == [[0], [1], [0], [1]]


def test_channel_rows_follow_the_lanes():
    columns = {"threshold": np.array([1, -2, 3]), "flip": np.array([1, 0, 0])}

    layout, rows = channel_rows(columns, lanes=2, vector=3)

    assert layout["threshold"].shape.elem_shape.signed
    contents = [layout.from_bits(row) for row in rows]
    assert [list(row.threshold) for row in contents] == [[1, -2], [3, 1]]
    assert [list(row.flip) for row in contents] == [[1, 0], [0, 1]]


def test_channel_rows_of_whole_pixels_repeat():
    columns = {"threshold": np.array([4, 5, 6])}
    assert len(channel_rows(columns, lanes=3, vector=12)[1]) == 1
    assert len(channel_rows(columns, lanes=2, vector=12)[1]) == 3
    assert len(channel_rows(columns, lanes=2, vector=15)[1]) == 8  # never lines up
    assert len(channel_rows({"threshold": np.array([4])}, lanes=5, vector=12)[1]) == 1


def test_rejects_an_empty_table():
    with pytest.raises(ValueError, match=r"^A table of constants must have at least one row$"):
        ConstantTable(3, [])
