"""A network plus how it is folded: everything that the generated hardware follows from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import ceil
from types import MappingProxyType

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.schedule import departures
from xnorflow.hw.families.device import Cell, Device
from xnorflow.hw.ops.folding import Folding, layers
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.hw.streams.stage import Stage
from xnorflow.ir import INPUT, Network, int_bits
from xnorflow.ir.values import MAX_BITS


__all__ = ["Design", "check_foldings", "check_names", "words_per_frame"]


_RESERVED = {"guard", "gate", "loader", "pacer", "verdicts", "verdict_cut"}
"""Units that every accelerator has."""


@dataclass(frozen=True, eq=False)
class Design:
    """A network as a pipeline on a device: what `xnorflow.hw.compile.plan.plan` makes.

    Attributes
    ----------
    network, foldings, input_lanes, device, memories, single_buffered, recompute, frames_per_packet
        As for `xnorflow.hw.compile.plan.plan`.
    pace : :class:`int`
        Clock cycles a frame that streams of integers keep.
    stages : tuple of Stage
        The pipeline: every stage comes after those that feed it.
    sources : mapping of :class:`str` to tuple of :class:`str`
        For every stage, by name, the names of the stages that feed it, or `INPUT`.
    depths : mapping of :class:`str` to :class:`int`
        Words that each buffer holds, by the name of its stage.
    cycles_per_frame : :class:`int`
        From one result to the next when frames come without a gap; the input takes them no sooner.

    Raises
    ------
    DesignError
        If a layer has no folding, or a buffer no depth, or one that it cannot work with.
    """

    network: Network
    foldings: Mapping[str, Folding]
    input_lanes: int
    device: Device
    pace: int
    stages: tuple[Stage, ...] = field(repr=False)
    sources: Mapping[str, tuple[str, ...]] = field(repr=False)
    depths: Mapping[str, int] = field(repr=False)
    cycles_per_frame: int
    single_buffered: bool = False
    recompute: bool = False
    frames_per_packet: FramesPerPacket = FramesPerPacket.ONE
    memories: Mapping[str, Cell] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        for name in ("foldings", "sources", "depths", "memories"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        check_foldings(self.network, self.foldings, self.input_lanes)
        if self.score_bits > MAX_BITS:
            raise DesignError(
                f"{self.network.name}: its scores need {self.score_bits} bits, more than {MAX_BITS}"
            )
        check_names(self.stages)
        buffers = {s.name: s.least_depth for s in self.stages if s.least_depth is not None}
        if self.depths.keys() != buffers.keys():
            raise DesignError(f"depths must be given for {', '.join(buffers) or 'no stage'}")
        for name, least in buffers.items():
            if self.depths[name] < least:
                raise DesignError(
                    f"{name}: its buffer must hold at least {least} words, not {self.depths[name]}"
                )

    def device_of(self, stage: Stage) -> Device:
        """The device, as a stage that has memories is to use it."""
        return replace(self.device, memories=self.memories.get(stage.name, self.device.memories))

    def resources(self, stage: Stage) -> Resources:
        """Estimated resources of a stage."""
        return stage.resources(self.device_of(stage), self.depths.get(stage.name))

    @property
    def words_per_frame(self) -> int:
        """Input words of a frame."""
        return words_per_frame(self.network, self.input_lanes)

    @property
    def classes(self) -> int:
        """Number of scores."""
        return self.network.maps[self.network.scores].channels

    @property
    def labelled(self) -> bool:
        """Whether results have a label beside the scores."""
        return self.network.label is not None

    @property
    def score_bits(self) -> int:
        """Width of a score, two's complement."""
        scores = self.network.maps[self.network.scores].type
        return int_bits(scores.low, scores.high)

    @cached_property
    def latency(self) -> int:
        """Clock cycles from the transfer of a frame's first word to that of its result.

        For an idle accelerator that gets a word in every cycle. Unless it is exact, it is a lower
        bound.
        """
        arrivals = np.arange(self.words_per_frame)
        return int(departures(self.stages, self.sources, arrivals, self.device)[-1])

    @property
    def latency_is_exact(self) -> bool:
        """Whether no words wait: those of windows and of shortcuts, full buffers may stall."""
        return not any(stage.may_wait for stage in self.stages)

    @property
    def frames_in_flight(self) -> int:
        """Bound on the frames inside, from the first word to the result.

        A register holds a word, a small part of a frame. Together with what is begun, a layer holds
        three vectors, and buffers what they have room for; windows and pools are up to a frame
        behind what came in. Where there are several ways, all frames take each of them, so that
        there is no more inside than fits any one.
        """
        inside = {INPUT: Fraction(2)}  # one that comes in, one that goes out
        for stage in self.stages:
            before = min(inside[source] for source in self.sources[stage.name])
            inside[stage.name] = before + stage.frames_in(self.device, self.depths.get(stage.name))
        return ceil(inside[self.stages[-1].name])


def words_per_frame(network: Network, input_lanes: int) -> int:
    """Input words of a frame, of ``input_lanes`` values each."""
    return -(-network.input.size // input_lanes)


def check_foldings(network: Network, foldings: Mapping[str, Folding], input_lanes: int) -> None:
    """Check that every layer has a folding, and nothing else, and that words have lanes.

    Raises
    ------
    DesignError
        If that is not so.
    """
    names = {node.name for node in layers(network)}
    for name in sorted(names ^ foldings.keys()):
        what = "has no folding" if name in names else "is not a layer of the network"
        raise DesignError(f"{name} {what}")
    if not 1 <= input_lanes <= network.input.size:
        raise DesignError(f"input lanes must be from 1 to {network.input.size}, not {input_lanes}")


def check_names(stages: tuple[Stage, ...]) -> None:
    """Check that no two units of an accelerator have the same name.

    Raises
    ------
    DesignError
        If that is not so.
    """
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1 or name in _RESERVED:
            raise DesignError(f"another unit has the name {name!r}: rename that node")
