"""Adders of a layer whose weights are constants and whose neurons all work in every cycle."""

from itertools import groupby
from operator import attrgetter

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.adder_netlist import ONE
from xnorflow.hw.arithmetic.carry_adders import CarryAdders, adder_halves, grouped
from xnorflow.hw.arithmetic.registers import registered
from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.ir import Gate


__all__ = ["LayerAdders", "layer_luts", "layer_registers"]


class LayerAdders(wiring.Component):
    """Count, for every neuron, what its constant weights match; takes a word every enabled cycle.

    Parameters
    ----------
    sums : :class:`xnorflow.hw.arithmetic.layer_sums.LayerSums`
        What is added.
    family : :class:`Family`
        Whose cells carry chains are made of.

    Attributes
    ----------
    latency : :class:`int`
        Enabled clock cycles from ``i`` to the results, which are registered.

    Members
    -------
    i : ``In(inputs)``
    en : ``In(1)``
        Clock enable of all registers.
    o : ``Out(ArrayLayout(width, neurons))``
        Counts, or bits that say whether they reach their thresholds.
    popcount : ``Out(...)``
        P, of as many bits as it has; none if it is not asked for.
    """

    def __init__(self, sums, family=ECP5):
        self.sums = sums
        self.family = family
        self.latency = sums.latency
        width = max(map(len, sums.results))
        super().__init__({
            "i": In(sums.netlist.inputs),
            "en": In(1),
            "o": Out(data.ArrayLayout(width, len(sums.results))),
            "popcount": Out(len(sums.popcount)),
        })

    def elaborate(self, platform):
        m = Module()
        netlist = self.sums.netlist
        ends = _ends(self.sums)
        values = {bit: self.i[bit] for bit in range(netlist.inputs)}
        stages = _by_time(adder for adder in netlist.adders if _is_needed(adder, ends))
        for stage in range(self.latency):
            for time in range(netlist.levels_per_stage):
                time += stage * netlist.levels_per_stage
                self._add(m, values, stages.get(time, []), time)
            kept = [bit for bit in values if ends.get(bit, 0) > stage]
            word = registered(m, self.en, Cat(values[bit] for bit in kept), f"stage{stage + 1}")
            values = {bit: word[n] for n, bit in enumerate(kept)}
        for target, result in zip(self.o, self.sums.results, strict=True):
            m.d.comb += target.eq(_word(values, result))
        m.d.comb += self.popcount.eq(_word(values, self.sums.popcount))
        return m

    def _add(self, m, values, adders, time):
        """Build the adders whose operands are there at a time."""
        full = [adder for adder in adders if adder.width == 1]
        if full:
            x, y, carry = (
                _word(values, literals)
                for literals in (
                    [adder.x[0] for adder in full],
                    [adder.y[0] for adder in full],
                    [adder.carry for adder in full],
                )
            )
            sums, carries = (
                Signal(len(full), name=f"{name}_{time}") for name in ("sums", "carries")
            )
            m.d.comb += [sums.eq(x ^ y ^ carry), carries.eq(x & y | x & carry | y & carry)]
            for n, adder in enumerate(full):
                values[adder.first], values[adder.first + 1] = sums[n], carries[n]
        chains = [adder for adder in adders if adder.width > 1]
        if self.family.carries_add_products:
            for n, group in enumerate(grouped(chains, attrgetter("width"))):
                self._chain(m, values, group, f"chain_{time}_{n}")
            return
        for n, adder in enumerate(chains):
            # With `keep`, each stays an adder.
            total = Signal(
                adder.width + 1, name=f"total_{time}_{n}", attrs={"keep": 1}, reset_less=True
            )
            x, y, carry = (_word(values, each) for each in (adder.x, adder.y, [adder.carry]))
            m.d.comb += total.eq(x + y + carry)
            values.update((adder.first + k, bit) for k, bit in enumerate(total))

    @staticmethod
    def _chain(m, values, adders, name):
        """Build adders of one chain of carry cells, which complement what they need."""
        m.submodules[name] = chain = CarryAdders(tuple(adder.width for adder in adders), Gate.XNOR)
        bits = iter(chain.sum)
        operands = {
            "x": [literal for adder in adders for literal in adder.x],
            "y": [literal for adder in adders for literal in adder.y],
            "c": [adder.carry for adder in adders],
        }
        for port, literals in operands.items():
            plain = [literal & ~1 for literal in literals]
            m.d.comb += [
                getattr(chain, port).eq(_word(values, plain)),
                getattr(chain, f"{port}w").eq(Cat(Const(each & 1, 1) for each in literals)),
            ]
        for adder in adders:
            for bit in range(adder.first, adder.first + adder.width + 1):
                values[bit] = next(bits)


def layer_luts(sums, family):
    """Look-up tables that a `LayerAdders` takes, without building one."""
    if not family.carries_add_products:
        return sums.cells
    ends = _ends(sums)
    adders = [adder for adder in sums.netlist.adders if _is_needed(adder, ends)]
    chains = [adder for adder in adders if adder.width > 1]
    together = sum(
        adder_halves(adder.width for adder in group)
        for adders in _by_time(chains).values()
        for group in grouped(adders, attrgetter("width"))
    )
    return sums.cells + together - sum(adder.width + 2 for adder in chains)


def layer_registers(sums):
    """Registers of a `LayerAdders` that are not directly behind the logic of their bits."""
    levels = sums.netlist.levels_per_stage
    held = (
        (bit, end - max(0, sums.netlist.times[bit] - 1) // levels)
        for bit, end in _ends(sums).items()
    )
    return sum(max(0, stages - (bit >= sums.netlist.inputs)) for bit, stages in held if bit >= 0)


def _ends(sums):
    """For each bit that is needed, the last stage in which it is."""
    netlist = sums.netlist
    ends = dict.fromkeys((literal >> 1 for literal in sums.literals), sums.latency)
    for adder in reversed(netlist.adders):
        if _is_needed(adder, ends):
            stage = adder.time // netlist.levels_per_stage
            for literal in (*adder.x, *adder.y, adder.carry):
                ends[literal >> 1] = max(ends.get(literal >> 1, 0), stage)
    return ends


def _is_needed(adder, ends):
    return any(adder.first + n in ends for n in range(adder.width + 1))


def _by_time(adders):
    """Adders by the time at which they start."""
    ordered = sorted(adders, key=attrgetter("time"))
    return {time: list(group) for time, group in groupby(ordered, attrgetter("time"))}


def _word(values, literals):
    """Literals as a word."""
    return Cat(_value(values, literal) for literal in literals)


def _value(values, literal):
    if literal < 0:
        return Const(literal == ONE, 1)
    bit = values[literal >> 1]
    return ~bit if literal & 1 else bit
