"""Choose a design: for a rate, the fastest one, or what is usual for a network."""

from collections.abc import Callable

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.fold import fold, fold_fastest
from xnorflow.hw.families.device import Device
from xnorflow.hw.ops.folding import is_dense, layers
from xnorflow.ir import Network


__all__ = ["choose"]

_USUAL_FPS = 1000
"""Frames a second, if nobody asks for a rate."""


def choose(
    network: Network,
    device: Device,
    *,
    clock: int,
    cycles: int | None = None,
    fps: float | None = None,
    fastest: bool = False,
    single_buffered: bool = False,
    recompute: bool = False,
    beside: Callable[[Design], Resources] | None = None,
) -> Design:
    """Fold a network at the rate that is asked for.

    If none is, dense networks take a value a cycle, and others a thousand frames a second; what
    does not keep that, or does not fit then, gets as fast as fits.

    Parameters
    ----------
    network, device, single_buffered, recompute, beside
        As for `fold`.
    clock : :class:`int`
        Frequency in Hz.
    cycles : :class:`int`, optional
        Most clock cycles a frame.
    fps : :class:`float`, optional
        Fewest frames a second.
    fastest : :class:`bool`
        Whether it is to be as fast as fits.

    Raises
    ------
    DesignError
        If more than one rate is asked for, or one that there is no folding for.

    Examples
    --------
    >>> network = xnorflow.load("zoo/mnist-tfc-sign.xnf")
    >>> device = xnorflow.find_device("iCE40UP5K")
    >>> design = xnorflow.choose(network, device, clock=12_000_000, fps=10_000)
    >>> design.cycles_per_frame
    1024
    """
    options = {"single_buffered": single_buffered, "recompute": recompute, "beside": beside}
    if (cycles is not None) + (fps is not None) + fastest > 1:
        raise DesignError("give only one of cycles, frames a second and fastest")
    if fps is not None:
        if not 0 < fps <= clock:
            raise DesignError(
                f"frames a second must be more than 0 and at most the clock, {clock}, not {fps:g}"
            )
        cycles = int(clock / fps)
    if cycles is not None:
        return fold(network, device, cycles=cycles, **options)
    if not fastest:
        dense = all(is_dense(node, network.maps[node.source]) for node in layers(network))
        usual = network.input.size if dense else clock // _USUAL_FPS
        try:
            return fold(network, device, cycles=usual, **options)
        except DesignError:
            # What does not fit, or is too slow there, may at another rate.
            pass
    return fold_fastest(network, device, **options)
