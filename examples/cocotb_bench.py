"""A plain cocotb bench of a generated accelerator, to start your own from.

It needs cocotb, numpy and a simulator, and of xnorflow only what ``xnorflow generate`` has written.
The folder that $DESIGN names holds, beside accelerator.v and design.json:

- frames.npy: frames (N, height, width, channels) of uint8
- scores.npy: the scores (N, classes) that are expected, as ``xnorflow eval --output`` writes them

With cocotb's runner::

    from cocotb_tools.runner import get_runner

    runner = get_runner("icarus")
    timescale = ("1ns", "1ps")
    runner.build(
        sources=["rtl/accelerator.v"], hdl_toplevel="accelerator", timescale=timescale
    )
    runner.test(test_module="cocotb_bench", hdl_toplevel="accelerator", timescale=timescale)

$RESET is the number of clock cycles for which the reset is held: 1, unless you say otherwise.
"""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer


DESIGN = Path(os.environ["DESIGN"])
RESET = int(os.environ.get("RESET", "1"))


async def send(dut, frames, lanes):
    """Offer frames on ``s_axis``, ``lanes`` pixels a word; ``tlast`` ends each frame."""
    for frame in frames:
        pixels = frame.reshape(-1)
        pixels = np.pad(pixels, (0, -len(pixels) % lanes)).reshape(-1, lanes)
        for n, word in enumerate(pixels):
            dut.s_axis_tdata.value = int.from_bytes(word.tobytes(), "little")
            dut.s_axis_tlast.value = n == len(pixels) - 1
            dut.s_axis_tvalid.value = 1
            await RisingEdge(dut.clk)
            while not dut.s_axis_tready.value:
                await RisingEdge(dut.clk)
    dut.s_axis_tvalid.value = 0


async def receive(dut, count, element_bits):
    """Take results from ``m_axis``: the label, then the scores, ``element_bits`` each."""
    results = []
    dut.m_axis_tready.value = 1
    while len(results) < count:
        await RisingEdge(dut.clk)
        if dut.m_axis_tvalid.value:
            data = dut.m_axis_tdata.value.to_unsigned()
            size = len(dut.m_axis_tdata) // 8
            results.append(np.frombuffer(data.to_bytes(size, "little"), f"<i{element_bits // 8}"))
    return np.array(results)


@cocotb.test(timeout_time=int(os.environ.get("TIMEOUT_MS", "100")), timeout_unit="ms")
async def gives_the_expected_scores(dut):
    """Every score of every frame."""
    design = json.loads((DESIGN / "design.json").read_text())
    frames, scores = np.load(DESIGN / "frames.npy"), np.load(DESIGN / "scores.npy")
    dut.s_axis_tvalid.value = 0
    dut.s_axis_tlast.value = 0
    dut.s_axis_tuser.value = 0
    dut.m_axis_tready.value = 0
    dut.rst.value = RESET > 0
    await Timer(1, unit="ns")  # the clock must not find undefined inputs at its first edge
    Clock(dut.clk, 10, unit="ns").start()
    for _ in range(max(RESET, 1)):
        await RisingEdge(dut.clk)
    dut.rst.value = 0

    sender = cocotb.start_soon(send(dut, frames, design["input_lanes"]))
    results = await receive(dut, len(frames), design["result_element_bits"])
    await sender

    np.testing.assert_array_equal(results[:, 1:], scores)
    np.testing.assert_array_equal(results[:, 0], scores.argmax(axis=1))
    assert dut.dropped_frames.value == 0
