"""A network plus how it is folded: everything that the generated hardware follows from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil
from types import MappingProxyType

import numpy as np

from xnorflow.errors import DesignError
from xnorflow.hw.families.device import Device
from xnorflow.hw.plan import stage_of
from xnorflow.hw.schedule import buffer_depths, busy, departures, registers, single_period
from xnorflow.hw.steps import (
    Accumulate,
    Copy,
    Cut,
    Divide,
    Folding,
    Gather,
    Hold,
    Multiply,
    Peak,
    Pool,
    Queue,
    Select,
    Slide,
)
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.hw.streams.words import words_of
from xnorflow.network import (
    INPUT,
    BinaryConv,
    DynamicThreshold,
    DynamicTwoSlope,
    IntegerConv,
    Network,
    int_bits,
    sources_of,
)
from xnorflow.values import MAX_BITS


__all__ = ["Design"]


_RESERVED = {"guard", "gate", "pacer", "verdicts"}
"""Units that every accelerator has."""


@dataclass(frozen=True, eq=False)
class Design:
    """A network, and how it becomes a pipeline on a device.

    Parameters
    ----------
    network : :class:`Network`
    foldings : mapping of :class:`str` to :class:`Folding`
        One for every :class:`BinaryConv` and :class:`IntegerConv`, by name. SIMD must be a multiple
        of the lanes that the layer is fed with: the input's lanes, the PE of the layer before, or
        the fewest in which a stream of integers keeps the pace. Where windows slide over a map,
        SIMD must divide its channels, and PE the filters.
    input_lanes : :class:`int`
        Input values a word.
    device : :class:`Device`
    depths : mapping of :class:`str` to :class:`int`, optional
        Words that each :class:`~xnorflow.hw.steps.Slide`, :class:`~xnorflow.hw.steps.Hold` and
        :class:`~xnorflow.hw.steps.Queue` holds, by the step's name; a queue that is not
        mentioned is left out. Those that keep the rate, if they are not given.
    pace : :class:`int`, optional
        Clock cycles a frame that streams of integers must keep; those of the slowest layer, if not
        given.
    single_buffered : :class:`bool`
        Whether what waits for its frame's parameters may not hold more than a frame. That is the
        least memory, and costs the cycles in which parameters are computed: frames come in more
        slowly by those.
    frames_per_packet : :class:`FramesPerPacket`
        Whether ``last`` ends every frame on the input, or a packet of them.

    Attributes
    ----------
    steps : tuple of Step
        The pipeline: every step comes after those that feed it.
    sources : mapping of :class:`str` to tuple of :class:`str`
        For every step, by name, the names of the steps that feed it, or `INPUT`.
    cycles_per_frame : :class:`int`
        From one result to the next when frames come without a gap; the input takes them no sooner.

    Raises
    ------
    DesignError
        If a layer has no folding, or one that does not work out.
    """

    network: Network
    foldings: Mapping[str, Folding]
    input_lanes: int
    device: Device
    depths: Mapping[str, int] | None = None
    pace: int | None = None
    single_buffered: bool = False
    frames_per_packet: FramesPerPacket = FramesPerPacket.ONE

    def __post_init__(self):
        object.__setattr__(self, "foldings", MappingProxyType(dict(self.foldings)))
        layers = {
            node.name for node in self.network.nodes if isinstance(node, BinaryConv | IntegerConv)
        }
        for name in sorted(layers ^ self.foldings.keys()):
            what = "has no folding" if name in layers else "is not a layer of the network"
            raise DesignError(f"{name} {what}")
        if not 1 <= self.input_lanes <= self.network.input.size:
            raise DesignError(
                f"input lanes must be from 1 to {self.network.input.size}, not {self.input_lanes}"
            )
        if self.score_bits > MAX_BITS:
            raise DesignError(
                f"{self.network.name}: its scores need {self.score_bits} bits, more than {MAX_BITS}"
            )
        if self.pace is None:
            object.__setattr__(self, "pace", max([self.words_per_frame, *self._layer_cycles()]))
        steps, sources = self._steps()
        names = [step.name for step in steps]
        for name in names:
            if names.count(name) > 1 or name in _RESERVED:
                raise DesignError(f"another unit has the name {name!r}: rename that node")
        depths = self.depths
        period = cycles = max([self.words_per_frame, *map(busy, steps)])
        if self.single_buffered:
            period = single_period(steps, sources, self.words_per_frame, cycles, self.device)
        if depths is None:
            depths = buffer_depths(
                steps, sources, self.words_per_frame, cycles, self.device, period
            )
        buffers = {step.name: step for step in steps if isinstance(step, Slide | Hold)}
        queues = {step.name for step in steps if isinstance(step, Queue)}
        if depths.keys() - queues != buffers.keys():
            raise DesignError(f"depths must be given for {', '.join(buffers) or 'no step'}")
        for name, step in buffers.items():
            least = (
                step.windows.least_depth
                if isinstance(step, Slide)
                else words_of(step.source, step.lanes)
            )
            if depths[name] < least:
                raise DesignError(
                    f"{name}: its buffer must hold at least {least} words, not {depths[name]}"
                )
        # Queues that nothing waits in are wires.
        wires = {name for name in queues if not depths.get(name)}
        behind = {name: sources[name][0] for name in wires}
        steps = tuple(step for step in steps if step.name not in wires)
        sources = {
            step.name: tuple(behind.get(source, source) for source in sources[step.name])
            for step in steps
        }
        depths = {name: depth for name, depth in depths.items() if name not in wires}
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "sources", MappingProxyType(sources))
        object.__setattr__(self, "cycles_per_frame", period)
        object.__setattr__(self, "depths", MappingProxyType(depths))

    def _layer_cycles(self):
        for node in self.network.nodes:
            if isinstance(node, BinaryConv | IntegerConv):
                source = self.network.maps[node.source]
                yield Multiply(node, source, self.foldings[node.name]).cycles

    def _steps(self):
        """Steps, with every queue that may be needed, and what feeds each of them."""
        maps = self.network.maps
        holds = self._holds()
        users, late = self._users(holds)
        sources = {}
        steps = []
        ends, lanes = {}, {}  # of each node: its last step, and the lanes that it delivers

        def add(step, *feeds):
            steps.append(step)
            sources[step.name] = feeds
            return step.name

        def fork(name, end, source, consumers):
            if consumers < 2:
                return end
            return add(Copy(name, maps[source], lanes[source], consumers), end)

        def deliver(name, end, width):
            lanes[name] = width
            ends[name] = fork(f"{name}_fork", end, name, users[name])
            # Whoever wants what waited for these parameters gets it when they are there.
            for held in (held for held, parameters in holds.items() if parameters == name):
                hold = Hold(f"{held}_held", maps[held], lanes[held], maps[name], width)
                end = add(hold, ends[held], ends[name])
                ends[held] = fork(f"{held}_held_fork", end, held, late[held])

        deliver(INPUT, INPUT, self.input_lanes)
        for node in self.network.nodes:
            names = sources_of(node)
            stage = stage_of(
                node,
                tuple(maps[name] for name in names),
                tuple(lanes[name] for name in names),
                self.foldings.get(node.name),
                self.pace,
            )
            feeds = []
            for name, ahead in zip(names, stage.ahead, strict=True):
                feed = ends[name]
                for step in ahead:
                    feed = add(step, feed)
                feeds.append(feed)
            deliver(node.name, add(stage.step, *feeds), stage.lanes)
        return tuple(steps), sources

    def _holds(self):
        """Maps that wait for parameters that follow from them, and who delivers these."""
        nodes = self.network.nodes
        order = {node.name: n for n, node in enumerate(nodes)}
        return {
            node.source: node.parameters
            for node in reversed(nodes)
            if isinstance(node, DynamicThreshold | DynamicTwoSlope)
            and any(
                node.source in sources_of(user) and order[user.name] <= order[node.parameters]
                for user in nodes
            )
        }

    def _users(self, holds):
        """For each map, how many want it as it comes, and how many when it has been held."""
        users, late = Counter(), Counter()
        known = {INPUT}
        for node in self.network.nodes:
            for source in sources_of(node):
                held = source in holds and holds[source] in known
                (late if held else users)[source] += 1
            known.add(node.name)
        users.update([*holds, *holds.values()])  # buffers want both
        return users, late

    @property
    def words_per_frame(self) -> int:
        """Input words of a frame."""
        return -(-self.network.input.size // self.input_lanes)

    @property
    def classes(self) -> int:
        """Number of scores."""
        return len(self.network.labels)

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
        return int(departures(self.steps, self.sources, arrivals, self.device)[-1])

    @property
    def latency_is_exact(self) -> bool:
        """Whether no words wait: those of windows and of shortcuts, full buffers may hold up."""
        return not any(isinstance(step, Slide | Queue | Hold | Divide) for step in self.steps)

    @property
    def frames_in_flight(self) -> int:
        """Bound on the frames inside, from the first word to the result.

        A register holds a word, a small part of a frame. Together with what is begun, a layer holds
        three vectors, and buffers what they have room for; windows and pools are up to a frame
        behind what came in. Where there are several ways, all frames take each of them, so that
        there is no more inside than fits any one.
        """
        inside = {INPUT: Fraction(2)}  # one that comes in, one that goes out
        for step in self.steps:
            before = min(inside[source] for source in self.sources[step.name])
            inside[step.name] = before + self._frames_in(step)
        return ceil(inside[self.steps[-1].name])

    def _frames_in(self, step):
        """Bound on the frames in a step."""
        frames = Fraction(registers(step, self.device), busy(step))
        match step:
            case Multiply(vectors=vectors):
                frames += Fraction(3, vectors)
            case Gather(ratio=ratio) | Divide(ratio=ratio):
                frames += Fraction(2 * ratio, busy(step))
            case Copy() | Cut():
                frames += Fraction(1, busy(step))
            case Slide(windows=windows):
                frames += 1 + Fraction(self.depths[step.name], windows.frame_words)
            case Pool() | Peak() | Accumulate() | Select():
                frames += 1
            case Queue(name) | Hold(name):
                frames += Fraction(self.depths[name], busy(step))
        return frames
