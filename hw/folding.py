"""Choose the folding: as cheap as a rate allows, or as fast as a device allows."""

from xnorflow.errors import DesignError
from xnorflow.hw.design import Design
from xnorflow.hw.device import Device
from xnorflow.hw.estimate import estimate, estimate_step
from xnorflow.hw.steps import (
    Compare,
    Folding,
    Multiply,
    Pool,
    Scale,
    Select,
    Slide,
    is_dense,
)
from xnorflow.network import (
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    IntegerConv,
    MaxPool,
    Network,
    Threshold,
)


__all__ = ["fold", "fold_fastest"]


def fold(network: Network, device: Device, *, cycles: int, fill: float = 0.75) -> Design:
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
        Part of the device's look-up tables that may be used; placing and routing needs room.

    Raises
    ------
    DesignError
        If no folding keeps the rate, or the cheapest one does not fit.
    """
    if cycles < 1:
        raise DesignError(f"a frame takes at least 1 cycle, not {cycles}")
    design = _cheapest(network, device, cycles)
    if excess := _excess(design, fill):
        wants = " and ".join(f"{used} {what} of {there}" for what, used, there in excess)
        raise DesignError(
            f"{network.name} does not fit {device.name} at {design.cycles_per_frame} cycles "
            f"a frame: it would use about {wants} that it may use"
        )
    return design


def fold_fastest(network: Network, device: Device, *, fill: float = 0.75) -> Design:
    """Find the folding of fewest clock cycles a frame that fits, among those that `fold` finds.

    Parameters
    ----------
    network : :class:`Network`
        What to build.
    device : :class:`Device`
        What it must fit.
    fill : :class:`float`
        Part of the device's look-up tables that may be used; placing and routing needs room.

    Raises
    ------
    DesignError
        If even the slowest folding does not fit.
    """
    slowest = max(
        [network.input.size]
        + [
            network.maps[node.name].size * node.taps
            for node in network.nodes
            if isinstance(node, BinaryConv | IntegerConv)
        ]
    )
    best = fold(network, device, cycles=slowest, fill=fill)
    # Fewer cycles cost more: bisect for the fewest that fit.
    unfit, fit = 0, slowest
    while fit - unfit > 1:
        middle = (unfit + fit) // 2
        try:
            design = _cheapest(network, device, middle)
        except DesignError:  # no folding is that fast
            unfit = middle
            continue
        if _excess(design, fill):
            unfit = middle
        else:
            fit, best = middle, design
    return best


def _cheapest(network, device, cycles):
    """Folding of least cost with at most ``cycles`` cycles a frame.

    Dynamic programming along the chain: PE of a layer are the lanes that feed the next one.
    """
    # For each number of lanes that a layer can deliver: least cost so far, and its foldings.
    lanes = _input_lanes(network, cycles)
    fronts = {lanes: (0.0, {})}
    for node in network.nodes:
        source = network.maps[node.source]
        following = {}
        for fed, (cost, foldings) in fronts.items():
            match node:
                case BinaryConv() | IntegerConv():
                    options = [
                        _layer(node, source, folding)
                        for folding in _options(node, source, fed, cycles)
                    ]
                case MaxPool():
                    options = [[Pool(node, source, fed)]]
                case Threshold():
                    options = [[Compare(node, source, fed)]]
                case Affine():
                    options = [[Scale(node, source, fed)]]
                case ArgMax():
                    options = [[Select(node, source, fed)]]
            for steps in options:
                total = cost
                for step in steps:
                    resources = estimate_step(step, device)
                    total += resources.luts / device.luts
                    total += resources.block_rams / device.block_rams
                    total += resources.multipliers / device.multipliers
                delivered, chosen = fed, foldings
                if isinstance(steps[-1], Multiply):
                    delivered = steps[-1].folding.pe
                    chosen = foldings | {node.name: steps[-1].folding}
                if delivered not in following or total < following[delivered][0]:
                    following[delivered] = total, chosen
        if not following:
            raise DesignError(
                f"{node.name} takes more than {cycles} cycles a frame, however it is folded"
            )
        fronts = following
    _, foldings = min(fronts.values(), key=lambda front: front[0])
    return Design(network, foldings, lanes, device)


def _input_lanes(network, cycles):
    """Fewest lanes that keep the rate: a power of two, but not across pixels that windows need."""
    size, channels = network.input.size, network.input.channels
    slides = not all(
        is_dense(node, network.maps[node.source])
        for node in network.nodes
        if isinstance(node, BinaryConv | IntegerConv)
    )
    if slides:
        lanes = next((n for n in _divisors(channels) if size // n <= cycles), None)
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


def _layer(node, source: FeatureMap, folding):
    """Steps of a layer that depend on its folding."""
    multiply = Multiply(node, source, folding)
    return [multiply] if is_dense(node, source) else [Slide(node, source, folding.simd), multiply]


def _options(node, source, lanes, cycles):
    """Foldings of a layer that is fed ``lanes`` values a word: the least SIMD for each PE."""
    if is_dense(node, source):
        pes = sorted({-(-node.filters // fold) for fold in range(1, min(node.filters, cycles) + 1)})
        for pe in pes:
            simd = -(-node.taps // (cycles // -(-node.filters // pe)))
            yield Folding(pe, -(-simd // lanes) * lanes)
        return
    delivered = node.infer(source)
    budget = cycles // (delivered.height * delivered.width)  # of a window
    for pe in _divisors(node.filters):
        for simd in _divisors(source.channels):
            if simd % lanes == 0 and node.taps // simd * (node.filters // pe) <= budget:
                yield Folding(pe, simd)
                break


def _divisors(number):
    return [n for n in range(1, number + 1) if number % n == 0]


def _excess(design, fill):
    """What the design needs more of than it may use: (resource, needed, available)."""
    need, device = estimate(design), design.device
    budget = [
        ("look-up tables", need.luts, int(fill * device.luts)),
        ("block RAMs", need.block_rams, device.block_rams),
        ("multipliers", need.multipliers, device.multipliers),
    ]
    return [entry for entry in budget if entry[1] > entry[2]]
