"""Plan a design: the stages of a pipeline, what feeds each, and how deep its buffers are."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from xnorflow.errors import DesignError
from xnorflow.hw.compile.design import Design, check_foldings, check_names, words_per_frame
from xnorflow.hw.compile.recomputation import PASSES, Region, regions, with_times_of_passes
from xnorflow.hw.compile.schedule import buffer_depths, single_period
from xnorflow.hw.families.device import Cell, Device
from xnorflow.hw.ops.argmax import ScoresStage
from xnorflow.hw.ops.binary_conv import BinaryConvStage
from xnorflow.hw.ops.dynamic import DynamicStage
from xnorflow.hw.ops.folding import Folding, layers
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.hw.ops.matrix import MatrixStage
from xnorflow.hw.ops.registry import STAGES
from xnorflow.hw.ops.stage import Segment
from xnorflow.hw.streams.fifo import FifoStage
from xnorflow.hw.streams.fork import ForkStage
from xnorflow.hw.streams.frame_select import FrameSelectStage
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.hw.streams.stage import Stage
from xnorflow.ir import (
    INPUT,
    DynamicThreshold,
    DynamicTwoSlope,
    Network,
    Node,
)


__all__ = ["Wiring", "plan", "segment_of"]


def plan(
    network: Network,
    foldings: Mapping[str, Folding],
    input_lanes: int,
    device: Device,
    *,
    depths: Mapping[str, int] | None = None,
    memories: Mapping[str, Cell] | None = None,
    pace: int | None = None,
    single_buffered: bool = False,
    recompute: bool = False,
    frames_per_packet: FramesPerPacket = FramesPerPacket.ONE,
) -> Design:
    """Make a design of a network and its folding.

    Parameters
    ----------
    network : :class:`Network`
        What to build.
    foldings : mapping of :class:`str` to :class:`Folding`
        One for every :class:`BinaryConv` and :class:`IntegerConv`, by name. SIMD must be a multiple
        of the lanes that the layer is fed with: the input's lanes, the PE of the layer before, or
        the fewest in which a stream of integers keeps the pace. Where windows slide over a map,
        PE must divide the filters, and SIMD the channels, unless it exceeds them.
    input_lanes : :class:`int`
        Input values a word.
    device : :class:`Device`
        What it is for.
    depths : mapping of :class:`str` to :class:`int`, optional
        Words that each buffer holds, by the name of its stage; a :class:`FifoStage` that is not
        mentioned is left out. Those that keep the rate, if they are not given.
    memories : mapping of :class:`str` to :class:`Cell`, optional
        What a stage's memories are made of, by its name, where it is not what they take the smaller
        part of; see `Device.memories`.
    pace : :class:`int`, optional
        Clock cycles a frame that streams of integers must keep; those of the slowest layer, if not
        given.
    single_buffered : :class:`bool`
        Whether what waits for its frame's parameters may not hold more than a frame. That is the
        least memory, and costs the cycles in which parameters are computed: frames come in more
        slowly by those.
    recompute : :class:`bool`
        Whether only every second map waits, in buffers of one frame, and those between are computed
        twice; see `xnorflow.hw.compile.recomputation`. Frames then take more than twice the cycles
        of the slowest layer.
    frames_per_packet : :class:`FramesPerPacket`
        Whether ``last`` ends every frame on the input, or a packet of them.

    Raises
    ------
    DesignError
        If a layer has no folding, or one that does not work out.
    """
    check_foldings(network, foldings, input_lanes)
    words = words_per_frame(network, input_lanes)
    if pace is None:
        pace = max([words, *_layer_cycles(network, foldings)])
    wiring = Wiring.of(network, recompute=recompute)
    stages, sources = _pipeline(wiring, foldings, input_lanes, pace)
    check_names(stages)
    if device.runtime_weights:
        _check_loadable(stages)
    period = cycles = max([words, *(stage.busy for stage in stages)])
    if waits := wiring.second_passes():
        stages = with_times_of_passes(stages, sources, waits, words, cycles, device)
    if single_buffered or recompute:
        period = single_period(stages, sources, words, cycles, device)
    if depths is None:
        depths = buffer_depths(stages, sources, words, cycles, device, period)
    # Queues that nothing waits in are wires.
    wires = {
        stage.name: sources[stage.name][0]
        for stage in stages
        if isinstance(stage, FifoStage) and not depths.get(stage.name)
    }
    stages = tuple(stage for stage in stages if stage.name not in wires)
    return Design(
        network=network,
        foldings=foldings,
        input_lanes=input_lanes,
        device=device,
        pace=pace,
        stages=stages,
        sources={
            stage.name: tuple(wires.get(source, source) for source in sources[stage.name])
            for stage in stages
        },
        depths={name: depth for name, depth in depths.items() if name not in wires},
        cycles_per_frame=period,
        single_buffered=single_buffered or recompute,
        recompute=recompute,
        memories=memories or {},
        frames_per_packet=frames_per_packet,
    )


def segment_of(
    network: Network, node: Node, fed: tuple[int, ...], folding: Folding | None, pace: int
) -> Segment:
    """Find out what a node becomes that is ``fed`` so many lanes; see `NodeStage.segment`."""
    sources = tuple(network.maps[name] for name in node.sources)
    return STAGES[type(node)].segment(node, sources, fed, folding, pace)


def _check_loadable(stages):
    """Check that all weights are in memories."""
    for stage in stages:
        if isinstance(stage, MatrixStage) and stage.rows == 1:
            raise DesignError(
                f"{stage.name}: weights that are loaded at run time need a layer that takes at "
                f"least 2 cycles a window, not PE {stage.folding.pe} and SIMD {stage.folding.simd}"
            )


def _layer_cycles(network, foldings):
    for node in layers(network):
        yield STAGES[type(node)](node, network.maps[node.source], foldings[node.name]).busy


@dataclass(frozen=True)
class Wiring:
    """What stands between the nodes of a network, and who wants what each of them delivers.

    Attributes
    ----------
    network : Network
    held : mapping of str to str
        Maps that wait for parameters that follow from them, and who delivers these.
    users, late : mapping of str to int
        For each map, how many want it as it comes, and how many when it has been held.
    regions : mapping of str to Region
        Of those that would wait, the maps that are computed twice instead.
    """

    network: Network
    held: Mapping[str, str]
    users: Mapping[str, int]
    late: Mapping[str, int]
    regions: Mapping[str, Region]

    @classmethod
    def of(cls, network: Network, *, recompute: bool = False) -> "Wiring":
        """Find it out."""
        held = _held(network)
        found = {region.end: region for region in regions(network, held)} if recompute else {}
        return cls(network, held, *_users(network, held, found), found)

    def passes(self, name: str) -> int:
        """How often a node works on a frame."""
        return PASSES if any(name in region.nodes for region in self.regions.values()) else 1

    def second_passes(self) -> dict[str, tuple[str, str]]:
        """For each buffer that frames leave twice, what hands on the second, and its parameters."""
        return {
            f"{region.start}_held": (f"{end}_second", self.held[end])
            for end, region in self.regions.items()
        }

    def released(self, name: str) -> list[str]:
        """Maps that wait for the parameters ``name``."""
        return [source for source, parameters in self.held.items() if parameters == name]

    def behind(self, name: str, lanes: Mapping[str, int]) -> Iterator[tuple[Stage, str, tuple]]:
        """Stages behind a node, each with the map that it hands on, and what feeds it.

        That is maps, each from the stage that handed it on last, or stages. ``lanes`` has those of
        this map, and of the maps that it releases.
        """
        maps, network = self.network.maps, self.network
        if name in self.regions:
            yield ForkStage(f"{name}_fork", maps[name], lanes[name], PASSES), name, (name,)
            yield from self._selected(f"{name}_first", name, lanes, 0, self.users[name])
        else:
            yield from self._fork(f"{name}_fork", name, lanes, self.users[name])
        for source in self.released(name):
            if source in self.regions:
                yield from self._selected(f"{source}_second", source, lanes, 1, self.late[source])
                continue
            held = f"{source}_held"
            ports = maps[source], lanes[source], maps[name], lanes[name]
            passes = PASSES if held in self.second_passes() else 1
            yield FrameBufferStage(held, *ports, passes), source, (source, name)
            yield from self._fork(f"{held}_fork", source, lanes, self.late[source])
        if network.label is None and name == network.nodes[-1].name:
            yield ScoresStage(f"{name}_result", maps[name], lanes[name]), name, (name,)

    def _selected(self, stage, name, lanes, turn, consumers):
        ports = self.network.maps[name], lanes[name], PASSES, turn
        yield FrameSelectStage(stage, *ports), name, (f"{name}_fork",)
        yield from self._fork(f"{stage}_fork", name, lanes, consumers)

    def _fork(self, stage, name, lanes, consumers):
        if consumers > 1:
            yield ForkStage(stage, self.network.maps[name], lanes[name], consumers), name, (name,)


def _pipeline(wiring, foldings, input_lanes, pace):
    """Stages, with every queue that may be needed, and what feeds each of them."""
    network = wiring.network
    sources = {}
    stages = []
    ends, lanes = {INPUT: INPUT}, {INPUT: input_lanes}  # of each map: its last stage, its lanes

    def add(stage, *feeds):
        stages.append(stage)
        sources[stage.name] = feeds
        return stage.name

    def deliver(name):
        for stage, handed, feeds in wiring.behind(name, lanes):
            ends[handed] = add(stage, *(ends.get(feed, feed) for feed in feeds))

    deliver(INPUT)
    for node in network.nodes:
        fed = tuple(lanes[name] for name in node.sources)
        segment = segment_of(network, node, fed, foldings.get(node.name), pace)
        lanes[node.name] = segment.lanes
        if taken := _taken_in(node, stages, wiring):
            stages[stages.index(taken)] = taken.taking_in(node)
            sources[node.name] = sources.pop(taken.name)
            ends[node.name] = node.name
            deliver(node.name)
            continue
        feeds = []
        for name, ahead in zip(node.sources, segment.ahead, strict=True):
            feed = ends[name]
            for stage in ahead:
                feed = add(stage, feed)
            feeds.append(feed)
        stage = segment.stage
        if isinstance(stage, DynamicStage):
            stage = replace(stage, passes=wiring.passes(node.name))
        ends[node.name] = add(stage, *feeds)
        deliver(node.name)
    return tuple(stages), sources


def _taken_in(node, stages, wiring):
    """The stage in front of a node that can have it as a part, if it is the only one behind it."""
    for stage in stages:
        if isinstance(stage, BinaryConvStage) and stage.name in node.sources:
            users = wiring.users[stage.name] + wiring.late[stage.name]
            return stage if users == 1 and stage.taking_in(node) else None
    return None


def _held(network):
    """`Wiring.held`."""
    nodes = network.nodes
    order = {node.name: n for n, node in enumerate(nodes)}
    return {
        node.source: node.parameters
        for node in reversed(nodes)
        if isinstance(node, DynamicThreshold | DynamicTwoSlope)
        and any(
            node.source in user.sources and order[user.name] <= order[node.parameters]
            for user in nodes
        )
    }


def _users(network, held, regions):
    """`Wiring.users` and `Wiring.late`."""
    users, late = Counter(), Counter()
    known = {INPUT}
    for node in network.nodes:
        for source in node.sources:
            waits = source in held and held[source] in known
            (late if waits else users)[source] += 1
        known.add(node.name)
    for name, parameters in held.items():
        users.update([] if name in regions else [name, parameters])  # buffers want both
    return users, late
