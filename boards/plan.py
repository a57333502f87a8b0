"""Designs for boards: with room for the link to the host, whose costs are estimated."""

from contextlib import suppress
from dataclasses import replace

from xnorflow.boards.link import tells_from_block_ram
from xnorflow.boards.target import Target
from xnorflow.boards.targets import ICEBREAKER, ULX3S_85F
from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.resources import Resources, buffer
from xnorflow.hw.compile.choose import choose
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.families.device import Device
from xnorflow.hw.streams.words import value_bits
from xnorflow.ir import FeatureMap, Network


__all__ = ["check_plan", "choose_for", "estimate_link", "link_resources", "smallest_design"]

# Measured by bench/link.py.
_BASE = 478
_PER_COUNTER_BIT = 4
_PER_LANE = 2.3
_PER_LANE_BIT = 1.15
_PER_SCORE = 1.1
_PER_SCORE_BIT = 0.82
_BLOCK_RAMS = 1

_TOLD_LUTS = 30
"""Saved where what a board tells is in another."""

_PACKET = (8, 256)
"""Width and depth of the memory in that block RAM: a block of COBS."""

_MARGIN = 1.1
"""Estimates that exceed a device by no more may be of designs that fit: bench/estimate.py."""


def choose_for(
    network: Network,
    place: Target | Device,
    *,
    clock: int | None = None,
    linked: bool = True,
    cycles: int | None = None,
    fps: float | None = None,
    fastest: bool = False,
    single_buffered: bool = False,
    recompute: bool = False,
    runtime_weights: bool = False,
) -> Design:
    """Choose a design for a board, or for a device without one.

    Parameters
    ----------
    network, cycles, fps, fastest, single_buffered, recompute
        As for `xnorflow.hw.compile.choose.choose`.
    place : Target or Device
        The board or the device.
    clock : int, optional
        Frequency in Hz, if not the usual there.
    linked : bool
        Whether it leaves room for the link to the host.
    runtime_weights : bool
        Whether weights and thresholds are loaded at run time; see `Device`.

    Raises
    ------
    DesignError
        If there is no folding for that.

    Examples
    --------
    >>> network = xnorflow.load("zoo/mnist-tfc-sign.xnf")
    >>> board = xnorflow.find_target("icebreaker")
    >>> xnorflow.choose_for(network, board, fps=10_000).cycles_per_frame
    1024
    """
    device = place.device if isinstance(place, Target) else place
    return choose(
        network,
        replace(device, runtime_weights=True) if runtime_weights else device,
        clock=place.clock if clock is None else clock,
        cycles=cycles,
        fps=fps,
        fastest=fastest,
        single_buffered=single_buffered,
        recompute=recompute,
        beside=link_resources if linked else None,
    )


def smallest_design(network: Network) -> Design:
    """Choose a design for an iCEBreaker, or for the largest ULX3S if it needs that.

    Raises
    ------
    DesignError
        If it fits none.
    """
    with suppress(DesignError):
        return choose_for(network, ICEBREAKER)
    return choose_for(network, ULX3S_85F)


def link_resources(design: Design) -> Resources:
    """Estimated resources of a design's host link."""
    link = estimate_link(
        design.network.input,
        lanes=design.input_lanes,
        classes=design.classes,
        score_bits=design.score_bits,
    )
    if tells_from_block_ram(design.device):
        return Resources(luts=link.luts - _TOLD_LUTS, block_rams=link.block_rams + 1)
    if design.device.block_rams:
        return link
    return Resources(luts=link.luts) + buffer(design.device, *_PACKET)


def estimate_link(frame: FeatureMap, *, lanes: int, classes: int, score_bits: int) -> Resources:
    """Estimated resources of a host link.

    Parameters
    ----------
    frame : FeatureMap
        Pixels as they are on the line.
    lanes : int
        Of them, in a word of the accelerator.
    classes, score_bits : int
        Number of scores, and width of each.
    """
    luts = (
        _BASE
        + _PER_COUNTER_BIT * frame.size.bit_length()
        + lanes * (_PER_LANE + _PER_LANE_BIT * value_bits(frame))
        + classes * (_PER_SCORE + _PER_SCORE_BIT * score_bits)
    )
    return Resources(luts=round(luts), block_rams=_BLOCK_RAMS)


def check_plan(design: Design, target: Target) -> None:
    """Refuse a design that, with its link, cannot fit the board, whatever synthesis makes of it.

    Raises
    ------
    DesignError
        If the estimate exceeds what the board's device has by more than estimates are wrong.
    """
    need, device = estimate(design) + link_resources(design), target.device
    excess = [
        f"{used} {what} of {there}"
        for what, used, there in (
            ("look-up tables", need.luts, device.luts),
            ("block RAMs", need.block_rams, device.block_rams),
            ("multipliers", need.multipliers, device.multipliers),
        )
        if used > _MARGIN * there
    ]
    if excess:
        raise DesignError(
            f"{design.network.name} does not fit the {target.title}: with the link to the host, "
            f"it would take about {' and '.join(excess)}"
        )
