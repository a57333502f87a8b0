"""Choose the folding: as cheap as a rate allows, or as fast as a device allows."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.candidates import Candidates
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.graph import FoldingGraph
from xnorflow.hw.compile.recomputation import PASSES
from xnorflow.hw.compile.search import any_fits, cheapest_way
from xnorflow.hw.families.device import Cell, Device
from xnorflow.hw.ops.folding import is_dense, layers
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.hw.ops.stage import divisors
from xnorflow.ir import Network


__all__ = ["FILL", "budget_of", "fold", "fold_faster", "fold_fastest"]

FILL = 0.75
"""Part of a device's look-up tables that may be used: placing and routing needs room."""

_WORTH = np.array([1, 0.1, 1])
"""Of the shares of look-up tables, block RAMs and multipliers: logic is what fills up and must be
routed, while block RAMs that stay idle are of no use."""

_NAMED_BUFFERS = 3
"""Frame buffers that are named where a design does not fit."""

_LUTS_PER_PRODUCT = 8
"""About how many a fast design takes; it is only where the search for the fastest one begins."""

_MOST_PLANS = 5
"""Pipelines that are planned for a rate, at most, to learn what their buffers take."""


def fold(
    network: Network,
    device: Device,
    *,
    cycles: int,
    fill: float = FILL,
    single_buffered: bool = False,
    recompute: bool = False,
    beside: Callable[[Design], Resources] | None = None,
) -> Design:
    """Find the cheapest folding that takes at most ``cycles`` clock cycles a frame.

    Of all that fit, in look-up tables, block RAMs and multipliers at once, it has the least sum of
    estimated shares of what there is, that of block RAMs counting a tenth, for the fewest lanes of
    the input, a power of two, that keep the rate. Foldings of layers are chosen together, since the
    PE of one are the lanes that feed the next, and so is what memories are made of. What is not
    known before a pipeline is planned, the depth of queues and buffers and what layers with
    constant weights save by comparing themselves, counts as it does in the pipeline that was
    planned last.

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
    recompute : :class:`bool`
        Whether every second map that would wait is computed twice instead; see `plan`. Layers are
        more than twice as fast then.
    beside : callable, optional
        What else the device must have room for, given a design.

    Raises
    ------
    DesignError
        If no folding keeps the rate, or none of those that do fits.

    Examples
    --------
    >>> network = xnorflow.load("zoo/mnist-tfc-sign.xnf")
    >>> device = xnorflow.find_device("iCE40UP5K")
    >>> design = xnorflow.fold(network, device, cycles=784)
    >>> design.cycles_per_frame, design.latency
    (784, 2727)
    """
    if cycles < 1:
        raise DesignError(f"a frame takes at least 1 cycle, not {cycles}")
    folder = _Folder(network, device, _Room(device, fill, beside), single_buffered, recompute)
    design = folder.cheapest(max(1, cycles // folder.passes))
    while design.cycles_per_frame > cycles:
        try:
            design = folder.cheapest(_slowest(design) - 1)
        except DesignError:  # no folding is that fast
            raise DesignError(
                f"{network.name} takes more than {cycles} cycles a frame with buffers of one "
                "frame, however it is folded"
            ) from None
    _check_fit(design, folder.room)
    return design


def fold_fastest(
    network: Network,
    device: Device,
    *,
    fill: float = FILL,
    single_buffered: bool = False,
    recompute: bool = False,
    beside: Callable[[Design], Resources] | None = None,
) -> Design:
    """Find the cheapest folding of the fewest clock cycles a frame in which any fits.

    All numbers of cycles that layers and maps may take are in question; a slower design may need
    more than a faster one.

    Parameters
    ----------
    network, device, fill, single_buffered, recompute, beside
        As for `fold`.

    Raises
    ------
    DesignError
        If even the slowest folding does not fit.
    """
    folder = _Folder(network, device, _Room(device, fill, beside), single_buffered, recompute)
    rates, first, extra = folder.rates(), 0, np.zeros(3)
    while first < len(rates):
        first = folder.first(rates, first, extra)
        rate, extras = rates[min(first, len(rates) - 1)], []
        for any_lanes in (False, True):
            design = folder.cheapest(rate, any_lanes=any_lanes)
            if not _excess(design, folder.room):
                return design
            extras.append(folder.extra)
        extra, first = np.min(extras, axis=0), first + 1
    _check_fit(design, folder.room)
    return design


def fold_faster(
    design: Design,
    *,
    fill: float = FILL,
    beside: Callable[[Design], Resources] | None = None,
) -> Design | None:
    """Find the cheapest folding that is a step faster than a design, whether or not it fits.

    The parameters are those of `fold`. There is none where no folding is faster.
    """
    network, device = design.network, design.device
    room = _Room(device, fill, beside)
    folder = _Folder(network, device, room, design.single_buffered, design.recompute)
    try:
        return folder.cheapest(_slowest(design) - 1)
    except DesignError:
        return None


def budget_of(device: Device, fill: float = FILL) -> dict[Cell, int]:
    """What a design may use of each resource: a part of the look-up tables, and all else."""
    return {
        Cell.LUT: int(fill * device.luts),
        Cell.BLOCK_RAM: device.block_rams,
        Cell.MULTIPLIER: device.multipliers,
    }


def _slowest(design):
    """Cycles for which a frame keeps the slowest stage, or the input, busy."""
    return max([design.words_per_frame, *(stage.busy for stage in design.stages)])


@dataclass(frozen=True)
class _Room:
    """Resources that a design may use: a part of the look-up tables, and all else that is left."""

    device: Device
    fill: float
    beside: Callable[[Design], Resources] | None

    @property
    def budget(self) -> dict[Cell, int]:
        """What there is of each resource."""
        return budget_of(self.device, self.fill)

    def needs(self, design: Design) -> Resources:
        """Of a design, and of what goes beside it."""
        need = estimate(design)
        return need if self.beside is None else need + self.beside(design)


class _Folder:
    """Foldings of a network on a device; what was estimated for one rate is kept for others.

    Attributes
    ----------
    room : _Room
    extra : array of int, (3,)
        What the pipeline that was planned last takes beyond what was known before.
    """

    def __init__(self, network, device, room, single_buffered, recompute):
        self.network, self.device, self.room = network, device, room
        self._single_buffered = single_buffered
        self._budget = np.array([*room.budget.values()])
        self._candidates = Candidates(network, device, recompute=recompute)
        self.extra = np.zeros(3)

    @property
    def passes(self):
        """How often some of the layers work on a frame."""
        return PASSES if self._candidates.wiring.regions else 1

    def cheapest(self, cycles, *, any_lanes=False):
        """The cheapest design of at most so many cycles; one that nearly fits if none does.

        The input has the fewest lanes, or any that keep the rate.
        """
        lanes = _input_lanes(self.network, cycles)
        graph = FoldingGraph(self._candidates, cycles, lanes if any_lanes else lanes[:1])
        self.extra, before = np.zeros(3), None
        for _ in range(_MOST_PLANS):
            way = cheapest_way(graph.layers(self._budget, self.extra), _WORTH)
            if way.edges == before:
                break
            design = graph.design(way, single_buffered=self._single_buffered)
            need = self.room.needs(design)
            self.extra = _vector(need) - graph.costs(way)
            if not way.fits or not _excess(design, self.room):
                break
            before = way.edges
        return design

    def first(self, rates, first, extra):
        """Place of the first rate, from ``first`` on, that a design fits at, as far as is known.

        At a slower rate, layers may have all foldings that they may have at a faster one, and the
        input all lanes. Only streams of integers have fewer lanes from certain paces on. So the
        first rate is sought by bisection between these.
        """
        paces = sorted(self._candidates.paces())
        for end in [*(bisect_left(rates, pace) for pace in paces), len(rates)]:
            if first < end:
                place = self._bisected(rates, first, end, extra)
                if place < end:
                    return place
                first = end
        return len(rates)

    def _bisected(self, rates, first, last, extra):
        """Place of the first rate that fits, ``last`` if none does."""
        # What is far too fast takes long to estimate.
        guess = _LUTS_PER_PRODUCT * self._candidates.operations / max(1, self._budget[0])
        place, seen = bisect_left(rates, guess), set()
        while first < last:
            place = min(max(place, first), last - 1)
            fits = self._may_fit(rates[place], extra)
            seen.add(fits)
            first, last = (first, place) if fits else (place + 1, last)
            place = bisect_left(rates, rates[place] * (0.5 if fits else 2))
            if len(seen) == 2:
                place = (first + last) // 2
        return last

    def _may_fit(self, cycles, extra):
        """Whether a design may fit, with any lanes of the input that keep the rate."""
        try:
            lanes = _input_lanes(self.network, cycles)
            graph = FoldingGraph(self._candidates, cycles, lanes)
        except DesignError:  # no folding is that fast
            return False
        return any_fits(graph.layers(self._budget, extra))

    def rates(self):
        """Cycles that a frame may take, the fewest first."""
        maps = self.network.maps
        lanes = [1 << n for n in range(self.network.input.size.bit_length() + 1)]
        words = {-(-self.network.input.size // n) for n in lanes}
        sizes = {m.size // n for m in maps.values() for n in divisors(m.channels)}
        return sorted(words | sizes | self._candidates.cycles())


def _vector(resources):
    return np.array([resources.luts, resources.block_rams, resources.multipliers])


def _input_lanes(network, cycles):
    """Lanes that keep the rate, the fewest first: powers of two, or parts of pixels for windows."""
    size, channels = network.input.size, network.input.channels
    if all(is_dense(node, network.maps[node.source]) for node in layers(network)):
        lanes = [*(1 << n for n in range((size - 1).bit_length())), size]
    else:
        lanes = divisors(channels)
    lanes = [n for n in lanes if -(-size // n) <= cycles]
    if not lanes:
        raise DesignError(
            f"{network.name}: a frame's {size // channels} pixels come one a cycle, "
            f"so it takes more than {cycles} cycles"
        )
    return lanes


def _largest_buffers(design):
    """A sentence on where the memory goes, if whole frames wait for their parameters."""
    needs = {
        stage.name: design.resources(stage).block_rams
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
    needs = _vector(room.needs(design)).tolist()
    budget = zip(room.budget.items(), needs, strict=True)
    return [(cell.value, need, there) for (cell, there), need in budget if need > there]
