"""A network plus how it is folded: everything that the generated hardware follows from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from xnorflow.errors import DesignError
from xnorflow.hw.argmax import ArgMax as ArgMaxUnit
from xnorflow.hw.device import Device
from xnorflow.hw.mvu import mvu_latency
from xnorflow.hw.postprocess import PostProcess
from xnorflow.hw.stream import WidthConverter
from xnorflow.hw.threshold import threshold_latency
from xnorflow.network import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    Int,
    Network,
    Threshold,
    UInt,
)


__all__ = ["Compare", "Design", "Folding", "Gather", "Multiply", "Scale", "Select", "Step"]


@dataclass(frozen=True)
class Folding:
    """How a layer is folded in time: ``pe`` neurons and ``simd`` synapses a cycle."""

    pe: int
    simd: int

    def __post_init__(self):
        for what, value in (("PE", self.pe), ("SIMD", self.simd)):
            if not isinstance(value, int) or value < 1:
                raise DesignError(f"{what} must be a positive integer, not {value!r}")


# The steps of a pipeline, in the order of the stream. Each becomes one component.


@dataclass(frozen=True)
class Gather:
    """Gather ``ratio`` words of ``lanes`` values into one; ``words`` narrow words a vector."""

    name: str
    lanes: int
    ratio: int
    words: int


@dataclass(frozen=True)
class Multiply:
    """Multiply a vector of bits with binary weights."""

    node: BinaryConv
    folding: Folding

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def synapse_fold(self) -> int:
        """Words of a vector."""
        return -(-self.node.taps // self.folding.simd)

    @property
    def neuron_fold(self) -> int:
        """Groups of neurons that take turns."""
        return -(-self.node.filters // self.folding.pe)

    @property
    def matrix(self):
        """Weights as a matrix of bool, (filters, taps), in the order in which activations come."""
        return self.node.weights.reshape(self.node.filters, self.node.taps)

    @property
    def cycles(self) -> int:
        """Clock cycles a vector."""
        return self.synapse_fold * self.neuron_fold


@dataclass(frozen=True)
class Compare:
    """Compare with thresholds."""

    node: Threshold
    source: FeatureMap
    lanes: int

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True)
class Scale:
    """Turn counts into scores."""

    node: Affine
    source: FeatureMap
    lanes: int

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True)
class Select:
    """Find the label."""

    node: ArgMax
    source: FeatureMap
    lanes: int

    @property
    def name(self) -> str:
        return self.node.name


_RESERVED = {"guard", "gate", "verdicts"}
"""Units that every accelerator has."""

Step = Gather | Multiply | Compare | Scale | Select


@dataclass(frozen=True, eq=False)
class Design:
    """A network, and how it becomes a pipeline on a device.

    Parameters
    ----------
    network : :class:`Network`
    foldings : mapping of :class:`str` to :class:`Folding`
        One for every :class:`BinaryConv`, by name. SIMD must be a multiple of the lanes that the
        layer is fed with: the input's lanes, or the PE of the layer before.
    input_lanes : :class:`int`
        Input values a word.
    device : :class:`Device`

    Attributes
    ----------
    steps : tuple of Step
        The pipeline.

    Raises
    ------
    DesignError
        If a layer has no folding, or one that does not work out.
    """

    network: Network
    foldings: Mapping[str, Folding]
    input_lanes: int
    device: Device

    def __post_init__(self):
        object.__setattr__(self, "foldings", MappingProxyType(dict(self.foldings)))
        layers = {node.name for node in self.network.nodes if isinstance(node, BinaryConv)}
        for name in sorted(layers ^ self.foldings.keys()):
            what = "has no folding" if name in layers else "is not a layer of the network"
            raise DesignError(f"{name} {what}")
        if not isinstance(self.network.input.type, UInt):
            raise DesignError(f"{self.network.name}: the input must be unsigned integers")
        if not 1 <= self.input_lanes <= self.network.input.size:
            raise DesignError(
                f"input lanes must be from 1 to {self.network.input.size}, not {self.input_lanes}"
            )
        object.__setattr__(self, "steps", tuple(self._steps()))
        names = [step.name for step in self.steps]
        for name in names:
            if names.count(name) > 1 or name in _RESERVED:
                raise DesignError(f"another unit has the name {name!r}: rename that node")

    def _steps(self):
        lanes = self.input_lanes
        source_name = INPUT
        for node in self.network.nodes:
            if node.source != source_name:
                raise DesignError(f"{node.name}: only chains of layers become hardware")
            source = self.network.maps[node.source]
            match node:
                case BinaryConv():
                    folding = self.foldings[node.name]
                    _check_folding(node, folding, source, lanes)
                    if folding.simd > lanes:
                        words = -(-source.size // lanes)
                        yield Gather(f"{node.name}_width", lanes, folding.simd // lanes, words)
                    yield Multiply(node, folding)
                    lanes = folding.pe
                case Threshold():
                    yield Compare(node, source, lanes)
                case Affine():
                    yield Scale(node, source, lanes)
                case ArgMax():
                    if not isinstance(source.type, Int):
                        raise DesignError(f"{node.name}: the scores must be signed integers")
                    yield Select(node, source, lanes)
            source_name = node.name

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
        return self.network.maps[self.network.scores].type.bits

    @property
    def cycles_per_frame(self) -> int:
        """Clock cycles from one result to the next when frames come without a gap."""
        layers = (step.cycles for step in self.steps if isinstance(step, Multiply))
        return max([self.words_per_frame, *layers])

    @cached_property
    def latency(self) -> int:
        """Clock cycles from the transfer of a frame's first word to that of its result.

        For an idle accelerator that gets a word in every cycle.
        """
        times = list(range(self.words_per_frame))
        for step in self.steps:
            times = _departures(step, times, self.device)
        return times[-1]

    @property
    def frames_in_flight(self) -> int:
        """Bound on the frames inside, from the first word to the result.

        Every register holds a word of at most one frame, every layer's ring words of three.
        """
        rings = sum(3 for step in self.steps if isinstance(step, Multiply))
        return rings + sum(_registers(step, self.device) for step in self.steps)


def _registers(step: Step, device: Device) -> int:
    """Registers that a word passes in a step, memories of activations not counted."""
    match step:
        case Gather():
            return WidthConverter.latency
        case Multiply(folding=folding):
            return mvu_latency(folding.simd, device.family) - 1  # the ring takes one
        case Compare(node=node):
            return threshold_latency(node)
        case Scale():
            return PostProcess.latency
        case Select():
            return ArgMaxUnit.latency


def _departures(step: Step, arrivals: list[int], device: Device) -> list[int]:
    """Clock cycles in which the words of a vector leave a step, given those in which they come.

    Nothing behind the step holds it up; that is so for the first frame, which every layer can take
    in at once.
    """
    through = _registers(step, device)
    match step:
        case Gather(ratio=ratio):
            complete = arrivals[ratio - 1 :: ratio]
            if len(arrivals) % ratio:
                complete.append(arrivals[-1])
            return [time + through for time in complete]
        case Multiply(synapse_fold=synapse_fold, neuron_fold=neuron_fold):
            # A word can be worked on one cycle after it came; a cycle works on one word.
            worked = -1
            for time in arrivals:
                worked = max(worked, time) + 1
            return [worked + n * synapse_fold + through for n in range(neuron_fold)]
        case Select():
            return [arrivals[-1] + through]
        case Compare() | Scale():
            return [time + through for time in arrivals]


def _check_folding(node, folding, source, lanes):
    if node.weights.shape[1:] != source.shape:
        raise DesignError(
            f"{node.name}: only dense layers become hardware; its kernel must cover the whole map"
        )
    if not 1 <= folding.pe <= node.filters:
        raise DesignError(
            f"{node.name}: PE must be from 1 to the {node.filters} neurons, not {folding.pe}"
        )
    most = -(-node.taps // lanes) * lanes
    if folding.simd % lanes or not 1 <= folding.simd <= most:
        raise DesignError(
            f"{node.name}: SIMD must be a multiple of the {lanes} lanes that feed it, "
            f"up to {most}, not {folding.simd}"
        )
