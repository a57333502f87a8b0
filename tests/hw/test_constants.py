# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import *
from amaranth.sim import Simulator

from xnorflow.hw.constants import ConstantTable, MemoryStyle, channel_rows


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
