"""Stream transactions in Amaranth's simulator, for unit tests of single components."""

import random
from collections.abc import Sequence
from typing import Any

from amaranth.sim import Simulator


__all__ = ["transact"]


def transact(
    dut: Any,
    inputs: Sequence[Any],
    count: int,
    *,
    other: Sequence[Any] = (),
    more: Sequence[Sequence[Any]] = (),
    parameters: Sequence[Any] = (),
    stall: float = 0.0,
    max_cycles: int = 20_000,
    seed: int = 0,
) -> list[Any]:
    """Offer ``inputs`` to the stream ``dut.i`` and take ``count`` payloads from ``dut.o``.

    The output is held to the rules of streams: once valid, it stays valid with the same payload
    until it is taken.

    Parameters
    ----------
    dut : Component
        With streams ``i`` and ``o`` in the ``sync`` domain.
    inputs : sequence
        Payloads: integers, or dicts and lists for layouts.
    count : int
        Payloads to take; the simulation ends with the last transfer of either side.
    other : sequence
        The same for the stream ``dut.i_other``, if there is one.
    more : sequence of sequence
        The same for the streams ``dut.i_other2``, ``dut.i_other3``, ….
    parameters : sequence
        The same for the stream ``dut.i_parameters``.
    stall : float
        Probability with which each side waits, in every cycle in which it could transfer.
    max_cycles : int
        Clock cycles within which everything must have been transferred.
    seed : int
        Fixes the waits.

    Returns
    -------
    list of int or data.Const
        The payloads taken.

    Raises
    ------
    TimeoutError
        If a transfer is missing after ``max_cycles``: a deadlock, or less than the stated rate.
    AssertionError
        If the output breaks a rule of streams.
    """
    accepted = 0
    outputs: list[Any] = []

    def putting(name: str, payloads: Sequence[Any]) -> Any:
        stream = getattr(dut, name)

        async def put(ctx: Any) -> None:
            nonlocal accepted
            waits = random.Random(f"{seed} {name}")
            for payload in payloads:
                while waits.random() < stall:
                    await ctx.tick()
                ctx.set(stream.payload, payload)
                ctx.set(stream.valid, 1)
                ready = 0
                while not ready:
                    *_, ready = await ctx.tick().sample(stream.ready)
                ctx.set(stream.valid, 0)
                accepted += 1

        return put

    async def get(ctx: Any) -> None:
        waits = random.Random(f"{seed} o")
        offered = None
        while len(outputs) < count:
            ready = waits.random() >= stall
            ctx.set(dut.o.ready, ready)
            *_, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if offered is not None and not valid:
                raise AssertionError("the output's valid fell before the transfer")
            if offered is not None and payload != offered:
                raise AssertionError(f"the waiting payload changed from {offered!r} to {payload!r}")
            if valid and ready:
                outputs.append(payload)
            offered = payload if valid and not ready else None
        ctx.set(dut.o.ready, 0)

    async def watch(ctx: Any) -> None:
        # Plain ticks: `tick().repeat()` is noisy when the simulation ends in the middle of it.
        for _ in range(max_cycles):
            await ctx.tick()
        offered = len(inputs) + len(other) + sum(map(len, more)) + len(parameters)
        if accepted < offered or len(outputs) < count:
            raise TimeoutError(
                f"{accepted} of {offered} inputs and {len(outputs)} of {count} outputs "
                f"after {max_cycles} cycles"
            )

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(putting("i", inputs))
    if other:
        simulator.add_testbench(putting("i_other", other))
    for n, payloads in enumerate(more, 2):
        simulator.add_testbench(putting(f"i_other{n}", payloads))
    if parameters:
        simulator.add_testbench(putting("i_parameters", parameters))
    simulator.add_testbench(get)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return outputs
