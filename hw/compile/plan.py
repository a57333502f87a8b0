"""Plan a design: the stages of a pipeline, what feeds each, and how deep its buffers are."""

from collections import Counter
from collections.abc import Mapping

from xnorflow.hw.compile.design import Design, check_foldings, check_names, words_per_frame
from xnorflow.hw.compile.schedule import buffer_depths, single_period
from xnorflow.hw.families.device import Device
from xnorflow.hw.ops.argmax import ScoresStage
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.hw.ops.matrix import Folding, layers
from xnorflow.hw.ops.registry import STAGES
from xnorflow.hw.ops.stage import Segment
from xnorflow.hw.streams.fifo import FifoStage
from xnorflow.hw.streams.fork import ForkStage
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.ir import (
    INPUT,
    DynamicThreshold,
    DynamicTwoSlope,
    Network,
    Node,
)


__all__ = ["plan", "segment_of"]


def plan(
    network: Network,
    foldings: Mapping[str, Folding],
    input_lanes: int,
    device: Device,
    *,
    depths: Mapping[str, int] | None = None,
    pace: int | None = None,
    single_buffered: bool = False,
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
    pace : :class:`int`, optional
        Clock cycles a frame that streams of integers must keep; those of the slowest layer, if not
        given.
    single_buffered : :class:`bool`
        Whether what waits for its frame's parameters may not hold more than a frame. That is the
        least memory, and costs the cycles in which parameters are computed: frames come in more
        slowly by those.
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
    stages, sources = _pipeline(network, foldings, input_lanes, pace)
    check_names(stages)
    period = cycles = max([words, *(stage.busy for stage in stages)])
    if single_buffered:
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
        single_buffered=single_buffered,
        frames_per_packet=frames_per_packet,
    )


def segment_of(
    network: Network, node: Node, fed: tuple[int, ...], folding: Folding | None, pace: int
) -> Segment:
    """Find out what a node becomes that is ``fed`` so many lanes; see `NodeStage.segment`."""
    sources = tuple(network.maps[name] for name in node.sources)
    return STAGES[type(node)].segment(node, sources, fed, folding, pace)


def _layer_cycles(network, foldings):
    for node in layers(network):
        yield STAGES[type(node)](node, network.maps[node.source], foldings[node.name]).cycles


def _pipeline(network, foldings, input_lanes, pace):
    """Stages, with every queue that may be needed, and what feeds each of them."""
    maps = network.maps
    held = _held(network)
    users, late = _users(network, held)
    sources = {}
    stages = []
    ends, lanes = {}, {}  # of each node: its last stage, and the lanes that it delivers

    def add(stage, *feeds):
        stages.append(stage)
        sources[stage.name] = feeds
        return stage.name

    def fork(name, end, source, consumers):
        if consumers < 2:
            return end
        return add(ForkStage(name, maps[source], lanes[source], consumers), end)

    def deliver(name, end, width):
        lanes[name] = width
        ends[name] = fork(f"{name}_fork", end, name, users[name])
        # Whoever wants what waited for these parameters gets it when they are there.
        for source in (source for source, parameters in held.items() if parameters == name):
            buffer = FrameBufferStage(
                f"{source}_held", maps[source], lanes[source], maps[name], width
            )
            end = add(buffer, ends[source], ends[name])
            ends[source] = fork(f"{source}_held_fork", end, source, late[source])

    deliver(INPUT, INPUT, input_lanes)
    for node in network.nodes:
        names = node.sources
        fed = tuple(lanes[name] for name in names)
        segment = segment_of(network, node, fed, foldings.get(node.name), pace)
        feeds = []
        for name, ahead in zip(names, segment.ahead, strict=True):
            feed = ends[name]
            for stage in ahead:
                feed = add(stage, feed)
            feeds.append(feed)
        deliver(node.name, add(segment.stage, *feeds), segment.lanes)
    if network.label is None:
        end = network.scores
        add(ScoresStage(f"{end}_result", maps[end], lanes[end]), ends[end])
    return tuple(stages), sources


def _held(network):
    """Maps that wait for parameters that follow from them, and who delivers these."""
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


def _users(network, held):
    """For each map, how many want it as it comes, and how many when it has been held."""
    users, late = Counter(), Counter()
    known = {INPUT}
    for node in network.nodes:
        for source in node.sources:
            waits = source in held and held[source] in known
            (late if waits else users)[source] += 1
        known.add(node.name)
    users.update([*held, *held.values()])  # buffers want both
    return users, late
