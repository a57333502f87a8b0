"""Choose the folding: as cheap as a rate allows, or as fast as a device allows."""

from xnorflow.errors import DesignError
from xnorflow.hw.design import Compare, Design, Folding, Multiply, Scale, Select
from xnorflow.hw.device import Device
from xnorflow.hw.estimate import estimate, estimate_step
from xnorflow.network import Affine, ArgMax, BinaryConv, Network, Threshold


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
    layers = (node.filters * node.taps for node in network.nodes if isinstance(node, BinaryConv))
    slowest = max([network.input.size, *layers])
    best = fold(network, device, cycles=slowest, fill=fill)
    # Fewer cycles cost more: bisect for the fewest that fit.
    unfit, fit = 0, slowest
    while fit - unfit > 1:
        middle = (unfit + fit) // 2
        design = _cheapest(network, device, middle)
        if _excess(design, fill):
            unfit = middle
        else:
            fit, best = middle, design
    return best


def _cheapest(network, device, cycles):
    """Folding of least cost with at most ``cycles`` cycles a frame.

    Dynamic programming along the chain: PE of a layer are the lanes that feed the next one.
    """
    lanes = 1
    while -(-network.input.size // lanes) > cycles:
        lanes *= 2
    lanes = min(lanes, network.input.size)
    # For each number of lanes that a layer can deliver: least cost so far, and its foldings.
    fronts = {lanes: (0.0, {})}
    for node in network.nodes:
        source = network.maps[node.source]
        following = {}
        for fed, (cost, foldings) in fronts.items():
            match node:
                case BinaryConv():
                    options = [Multiply(node, folding) for folding in _options(node, fed, cycles)]
                case Threshold():
                    options = [Compare(node, source, fed)]
                case Affine():
                    options = [Scale(node, source, fed)]
                case ArgMax():
                    options = [Select(node, source, fed)]
            for step in options:
                resources = estimate_step(step, device)
                total = cost + resources.luts / device.luts
                total += resources.block_rams / device.block_rams
                total += resources.multipliers / device.multipliers
                delivered, chosen = fed, foldings
                if isinstance(step, Multiply):
                    delivered = step.folding.pe
                    chosen = foldings | {node.name: step.folding}
                if delivered not in following or total < following[delivered][0]:
                    following[delivered] = total, chosen
        fronts = following
    _, foldings = min(fronts.values(), key=lambda front: front[0])
    return Design(network, foldings, lanes, device)


def _options(node, lanes, cycles):
    """Foldings of a layer that is fed ``lanes`` values a word: the least SIMD for each PE."""
    seen = set()
    for neuron_fold in range(1, min(node.filters, cycles) + 1):
        pe = -(-node.filters // neuron_fold)
        if pe in seen:
            continue
        seen.add(pe)
        simd = -(-node.taps // (cycles // -(-node.filters // pe)))
        yield Folding(pe, -(-simd // lanes) * lanes)


def _excess(design, fill):
    """What the design needs more of than it may use: (resource, needed, available)."""
    need, device = estimate(design), design.device
    budget = [
        ("look-up tables", need.luts, int(fill * device.luts)),
        ("block RAMs", need.block_rams, device.block_rams),
        ("multipliers", need.multipliers, device.multipliers),
    ]
    return [entry for entry in budget if entry[1] > entry[2]]
