import pytest
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.sim.pysim import transact


class Register(wiring.Component):
    """A register slice; ``bug`` names the rule of streams that it breaks."""

    def __init__(self, bug=None):
        self.bug = bug
        layout = data.StructLayout({"value": 8, "last": 1})
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, _platform):
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.p.eq(self.i.p)]
        with m.If(self.o.valid & ~self.o.ready):
            match self.bug:
                case "valid":
                    m.d.sync += self.o.valid.eq(0)
                case "payload":
                    m.d.sync += self.o.p.value.eq(self.o.p.value + 1)
                case "stuck":
                    m.d.sync += self.o.p.last.eq(self.o.p.last)
        if self.bug == "stuck":
            m.d.comb += self.i.ready.eq(0)
        return m


INPUTS = [{"value": n * 7 % 256, "last": n % 5 == 4} for n in range(40)]


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.8])
def test_transfers_everything_once(stall):
    outputs = transact(Register(), INPUTS, len(INPUTS), stall=stall)
    assert [{"value": out.value, "last": out.last} for out in outputs] == INPUTS


def test_runs_at_full_rate_without_stalls():
    transact(Register(), INPUTS, len(INPUTS), max_cycles=len(INPUTS) + 1)
    with pytest.raises(
        TimeoutError, match=r"^40 of 40 inputs and 39 of 40 outputs after 40 cycles$"
    ):
        transact(Register(), INPUTS, len(INPUTS), max_cycles=len(INPUTS))


def test_refuses_an_output_that_takes_back_its_valid():
    with pytest.raises(AssertionError, match=r"^the output's valid fell before the transfer$"):
        transact(Register("valid"), INPUTS, len(INPUTS), stall=0.5)


def test_refuses_a_payload_that_changes_while_it_waits():
    with pytest.raises(AssertionError, match=r"^the waiting payload changed from "):
        transact(Register("payload"), INPUTS, len(INPUTS), stall=0.5)


def test_ends_a_deadlock():
    with pytest.raises(TimeoutError, match=r"^0 of 40 inputs and 0 of 40 outputs after 99 cycles$"):
        transact(Register("stuck"), INPUTS, len(INPUTS), max_cycles=99)
