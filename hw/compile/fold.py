"""Choose the folding: as cheap as a rate allows, or as fast as a device allows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import inf

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.plan import plan, segment_of
from xnorflow.hw.families.device import Cell, Device
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.hw.ops.matrix import is_dense, layers
from xnorflow.hw.ops.registry import STAGES
from xnorflow.hw.ops.stage import divisors
from xnorflow.hw.streams.fifo import FifoStage
from xnorflow.ir import INPUT, Network


__all__ = ["FILL", "fold", "fold_fastest"]

FILL = 0.75
"""Part of a device's look-up tables that may be used: placing and routing needs room."""

_BLOCK_RAM_PRICES = (0.5, 1.0, 2.0)
"""Worth of a device's block RAMs, that of its look-up tables being 1: first, logic is spared."""

_LOGIC_ROM_ROWS = 128
"""Rows of weights that may be logic if a design has too few block RAMs otherwise."""

_NAMED_BUFFERS = 3
"""Frame buffers that are named where a design does not fit."""


def fold(
    network: Network,
    device: Device,
    *,
    cycles: int,
    fill: float = FILL,
    single_buffered: bool = False,
    beside: Callable[[Design], Resources] | None = None,
) -> Design:
    """Find a cheap folding that takes at most ``cycles`` clock cycles a frame.

    It is the cheapest by the sum of its estimated shares of the device's resources, for the fewest
    input lanes, a power of two, that keep the rate.

    Parameters
    ----------
    network : :class:`Network`
        What to build.
    device : :class:`Device`
        What it must fit.
    cycles : :class:`int`
        Most clock cycles a frame.
    fill : :class:`float`
        Part of the device's look-up tables that may be used.
    single_buffered : :class:`bool`
        Whether what waits for its frame's parameters may not hold more than a frame; see `plan`.
        Layers are so much faster that the rate is kept all the same. Where nothing waits, this
        changes nothing.
    beside : callable, optional
        What else the device must have room for, given a design.

    Raises
    ------
    DesignError
        If no folding keeps the rate, or the cheapest one does not fit.
    """
    if cycles < 1:
        raise DesignError(f"a frame takes at least 1 cycle, not {cycles}")
    room = _Room(fill, beside)
    design = _cheapest(network, device, cycles, room, single_buffered)
    while design.cycles_per_frame > cycles:
        design = _faster(design, cycles, room)
    _check_fit(design, room)
    return design


def fold_fastest(
    network: Network,
    device: Device,
    *,
    fill: float = FILL,
    single_buffered: bool = False,
    beside: Callable[[Design], Resources] | None = None,
) -> Design:
    """Find the folding of fewest clock cycles a frame that fits, among those that `fold` finds.

    Parameters
    ----------
    network, device, fill, single_buffered, beside
        As for `fold`.

    Raises
    ------
    DesignError
        If even the slowest folding does not fit.
    """
    slowest = max(
        [x.size for x in network.maps.values()]
        + [network.maps[node.name].size * node.taps for node in layers(network)]
    )
    room = _Room(fill, beside)
    best = _cheapest(network, device, slowest, room, single_buffered)
    _check_fit(best, room)
    # Fewer cycles cost more: bisect for the fewest that fit.
    unfit, fit = 0, slowest
    while fit - unfit > 1:
        middle = (unfit + fit) // 2
        try:
            design = _cheapest(network, device, middle, room, single_buffered)
        except DesignError:  # no folding is that fast
            unfit = middle
            continue
        if _excess(design, room):
            unfit = middle
        else:
            fit, best = middle, design
    return best


@dataclass(frozen=True)
class _Room:
    """Resources that a design may use: a part of the look-up tables, and all else that is left."""

    fill: float
    beside: Callable[[Design], Resources] | None

    def needs(self, design: Design) -> Resources:
        """Of a design, and of what goes beside it."""
        need = estimate(design)
        return need if self.beside is None else need + self.beside(design)


def _cheapest(network, device, cycles, room, single_buffered):
    """The first folding that fits, of those for several prices of block RAMs; else the last one.

    Where block RAMs alone are too few, weights of few rows may be logic.
    """
    for price in _BLOCK_RAM_PRICES:
        design = _cheapest_at(network, device, cycles, price, single_buffered)
        excess = _excess(design, room)
        if not excess:
            return design
    if [what for what, *_ in excess] == [Cell.BLOCK_RAM.value]:
        device = replace(device, logic_rom_rows=_LOGIC_ROM_ROWS)
        sparing = _cheapest_at(network, device, cycles, price, single_buffered)
        if not _excess(sparing, room):
            return sparing
    return design


def _faster(design, cycles, room):
    """The cheapest folding whose slowest stage is faster; frames should take ``cycles`` cycles."""
    network, slowest = design.network, max(stage.busy for stage in design.stages)
    try:
        return _cheapest(network, design.device, slowest - 1, room, design.single_buffered)
    except DesignError:  # no folding is that fast
        raise DesignError(
            f"{network.name} takes more than {cycles} cycles a frame with buffers of one frame, "
            "however it is folded"
        ) from None


def _cheapest_at(network, device, cycles, price, single_buffered):
    """Folding of little cost each of whose stages takes at most ``cycles`` cycles a frame.

    PE of a layer are the lanes that feed the next one, so that the choice of one depends on those
    behind it, up to where the lanes are given anyway: streams of integers have the fewest that keep
    the pace. Between such places it is the cheapest.
    """
    users = {name: [] for name in network.maps}
    for node in network.nodes:
        for source in node.sources:
            users[source].append(node)

    @cache
    def behind(node, lanes):
        """Least cost of a node that is fed so many lanes, and of what depends on them behind it."""
        if len(node.sources) > 1:
            return 0.0  # its lanes depend on both
        return min((cost for cost, _ in choices(node, lanes)), default=inf)

    @cache
    def choices(node, lanes):
        """Costs and foldings of a node that is fed so many lanes."""
        kind, source = STAGES[type(node)], network.maps[node.source]
        found = []
        for folding in kind.foldings(node, source, lanes, cycles):
            try:
                segment = segment_of(network, node, (lanes,), folding, cycles)
            except DesignError:  # the lanes do not suit the node
                continue
            cost = _cost(segment.stages, device, price)
            if kind.hands_on or source.size == source.channels:
                cost += sum(behind(user, segment.lanes) for user in users[node.name])
            found.append((cost, folding))
        return found

    lanes = {INPUT: _input_lanes(network, cycles)}
    foldings = {}
    folded = {node.name for node in layers(network)}
    for node in network.nodes:
        fed = tuple(lanes[source] for source in node.sources)
        folding = None
        if node.name in folded:
            options = choices(node, *fed)
            if not options:
                raise DesignError(
                    f"{node.name} takes more than {cycles} cycles a frame, however it is folded"
                )
            _, folding = min(options, key=lambda option: option[0])
            foldings[node.name] = folding
        lanes[node.name] = segment_of(network, node, fed, folding, cycles).lanes
    design = plan(
        network, foldings, lanes[INPUT], device, pace=cycles, single_buffered=single_buffered
    )
    slowest = max(design.stages, key=lambda stage: stage.busy)
    if slowest.busy > cycles:
        raise DesignError(f"{slowest.name} takes {slowest.busy} cycles a frame, more than {cycles}")
    return design


def _cost(stages, device, price):
    """Sum of the estimated shares of the device's resources, that of block RAMs at a price."""
    total = 0.0
    for stage in stages:
        if isinstance(stage, FifoStage):  # its depth is known when the whole pipeline is
            continue
        resources = stage.resources(device)
        total += _share(resources.luts, device.luts)
        total += price * _share(resources.block_rams, device.block_rams)
        total += _share(resources.multipliers, device.multipliers)
    return total


def _share(need, there):
    """Part of a resource that is needed: all there is in the world, of what there is none."""
    if not need:
        return 0.0
    return need / there if there else inf


def _input_lanes(network, cycles):
    """Fewest lanes that keep the rate: a power of two, but not across pixels that windows need."""
    size, channels = network.input.size, network.input.channels
    if not all(is_dense(node, network.maps[node.source]) for node in layers(network)):
        lanes = next((n for n in divisors(channels) if size // n <= cycles), None)
        if lanes is None:
            raise DesignError(
                f"{network.name}: a frame's {size // channels} pixels come one a cycle, "
                f"so it takes more than {cycles} cycles"
            )
        return lanes
    lanes = 1
    while -(-size // lanes) > cycles:
        lanes *= 2
    return min(lanes, size)


def _largest_buffers(design):
    """A sentence on where the memory goes, if whole frames wait for their parameters."""
    needs = {
        stage.name: stage.resources(design.device, design.depths[stage.name]).block_rams
        for stage in design.stages
        if isinstance(stage, FrameBufferStage)
    }
    if not needs:
        return ""
    largest = sorted(needs, key=lambda name: -needs[name])[:_NAMED_BUFFERS]
    named = ", ".join(f"{name} with {needs[name]}" for name in largest)
    return (
        f"; {sum(needs.values())} block RAMs are for frames that wait for their parameters, "
        f"the most of them for {named}"
    )


def _check_fit(design, room):
    """Refuse a design that needs more than the device has."""
    if excess := _excess(design, room):
        wants = " and ".join(f"{used} {what} of {there}" for what, used, there in excess)
        link = "" if room.beside is None else "with the link to the host, "
        raise DesignError(
            f"{design.network.name} does not fit {design.device.name} at "
            f"{design.cycles_per_frame} cycles a frame: {link}it would use about {wants} "
            f"that it may use{_largest_buffers(design)}"
        )


def _excess(design, room):
    """Resources of which a design needs more than it may use: (resource, needed, available)."""
    need, device = room.needs(design), design.device
    budget = [
        (Cell.LUT.value, need.luts, int(room.fill * device.luts)),
        (Cell.BLOCK_RAM.value, need.block_rams, device.block_rams),
        (Cell.MULTIPLIER.value, need.multipliers, device.multipliers),
    ]
    return [entry for entry in budget if entry[1] > entry[2]]
