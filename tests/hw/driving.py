"""Drives whole accelerators in Amaranth's simulator."""

import random

import numpy as np
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from xnorflow.hw.compile.accelerator import Accelerator


def words_of(frame, lanes, *, spare=255):
    """Words of a frame; whatever is in the spare lanes of the last one must not matter."""
    flat = frame.flatten()
    padded = np.append(flat, np.full(-len(flat) % lanes, spare))
    return padded.reshape(-1, lanes).tolist()


def run(design, frames, *, stall=0.0, errors=(), hold=0, rest=0, limit=20_000, reset=None):
    """Send frames (lists of words); gives the cycles in which they start, and the results.

    Nobody takes a result for the first ``hold`` cycles. An accelerator that is not done after
    ``limit`` cycles hangs; it has ``rest`` cycles more for frames that are still in it. In front
    of the word ``reset`` (of a frame, in it) it is reset, and then gets the next frame.
    """
    dut = Accelerator(design)
    cleared = Signal()
    waits = random.Random(stall)
    starts, results = [], []
    clock = 0

    async def tick_counter(ctx):
        nonlocal clock
        while True:
            await ctx.tick()
            clock += 1

    async def put(ctx):
        for n, frame in enumerate(frames):
            for k, word in enumerate(frame):
                if (n, k) == reset:
                    ctx.set(cleared, 1)
                    await ctx.tick()
                    ctx.set(cleared, 0)
                    results.clear()
                    break
                while waits.random() < stall:
                    await ctx.tick()
                last = k == len(frame) - 1
                ctx.set(dut.i.p, {"data": word, "last": last, "error": last and n in errors})
                ctx.set(dut.i.valid, 1)
                ready = False
                while not ready:
                    *_, ready = await ctx.tick().sample(dut.i.ready)
                if k == 0:
                    starts.append(clock)
                ctx.set(dut.i.valid, 0)
        # What is full of frames takes longer to become empty.
        soon = int((1.25 if stall else 1) * design.latency) + 2 * design.cycles_per_frame
        left = 2 * design.latency if hold else min(2 * design.latency, soon)
        for _ in range(left + hold + rest):
            await ctx.tick()
        # There may be more of them in it than follows from the latency.
        missing = len(frames) - len(errors) - len(results)
        for _ in range(2 * missing * design.cycles_per_frame if reset is None else 0):
            await ctx.tick()

    async def get(ctx):
        while True:
            ready = clock >= hold and waits.random() >= stall
            ctx.set(dut.o.ready, ready)
            *_, valid, result, gone = await ctx.tick().sample(dut.o.valid, dut.o.p, cleared)
            # What is taken in the cycle of the reset is of a frame before it.
            if valid and ready and not gone:
                label = result.label if design.labelled else None
                results.append((clock, label, list(result.scores)))

    async def watch(ctx):
        while clock < limit:
            await ctx.tick()
        raise TimeoutError("the accelerator hangs")

    sim = Simulator(ResetInserter(cleared)(dut))
    sim.add_clock(1e-6)
    sim.add_testbench(tick_counter, background=True)
    sim.add_testbench(put)
    sim.add_testbench(get, background=True)
    sim.add_testbench(watch, background=True)
    sim.run()
    return starts, results
