"""A network plus how it is folded: everything that the generated hardware follows from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from xnorflow.errors import DesignError
from xnorflow.hw.device import Device
from xnorflow.hw.schedule import buffer_depths, departures, registers
from xnorflow.hw.steps import (
    Compare,
    Folding,
    Gather,
    Multiply,
    Pool,
    Scale,
    Select,
    Slide,
    is_dense,
)
from xnorflow.network import (
    INPUT,
    Affine,
    ArgMax,
    BinaryConv,
    FeatureMap,
    Int,
    IntegerConv,
    MaxPool,
    Network,
    Threshold,
    UInt,
)


__all__ = ["Design"]


_RESERVED = {"guard", "gate", "verdicts"}
"""Units that every accelerator has."""


@dataclass(frozen=True, eq=False)
class Design:
    """A network, and how it becomes a pipeline on a device.

    Parameters
    ----------
    network : :class:`Network`
    foldings : mapping of :class:`str` to :class:`Folding`
        One for every :class:`BinaryConv` and :class:`IntegerConv`, by name. SIMD must be a multiple
        of the lanes that the layer is fed with: the input's lanes, or the PE of the layer before.
        Where windows slide over a map, SIMD must divide its channels, and PE the filters.
    input_lanes : :class:`int`
        Input values a word.
    device : :class:`Device`
    depths : mapping of :class:`str` to :class:`int`, optional
        Words that the buffer of each :class:`~xnorflow.hw.steps.Slide` holds, by the step's name.
        Those that keep the rate, if they are not given.

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
    depths: Mapping[str, int] | None = None

    def __post_init__(self):
        object.__setattr__(self, "foldings", MappingProxyType(dict(self.foldings)))
        layers = {
            node.name for node in self.network.nodes if isinstance(node, BinaryConv | IntegerConv)
        }
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
        slides = {step.name: step for step in self.steps if isinstance(step, Slide)}
        depths = self.depths
        if depths is None:
            depths = buffer_depths(
                self.steps, self.words_per_frame, self.cycles_per_frame, self.device
            )
        if depths.keys() != slides.keys():
            raise DesignError(f"depths must be given for {', '.join(slides) or 'no step'}")
        for name, step in slides.items():
            if depths[name] < step.windows.least_depth:
                raise DesignError(
                    f"{name}: its buffer must hold at least {step.windows.least_depth} words, "
                    f"not {depths[name]}"
                )
        object.__setattr__(self, "depths", MappingProxyType(dict(depths)))

    def _steps(self):
        lanes = self.input_lanes
        source_name = INPUT
        for node in self.network.nodes:
            if node.source != source_name:
                raise DesignError(f"{node.name}: only chains of layers become hardware")
            source = self.network.maps[node.source]
            match node:
                case BinaryConv() | IntegerConv():
                    folding = self.foldings[node.name]
                    _check_folding(node, folding, source, lanes)
                    dense = is_dense(node, source)
                    if folding.simd > lanes:
                        words = -(-(source.size if dense else source.channels) // lanes)
                        ratio = folding.simd // lanes
                        yield Gather(f"{node.name}_width", source, lanes, ratio, words)
                    if not dense:
                        yield Slide(node, source, folding.simd)
                    yield Multiply(node, source, folding)
                    lanes = folding.pe
                case MaxPool():
                    if source.channels % lanes:
                        raise DesignError(
                            f"{node.name}: the {lanes} lanes that feed it must divide its "
                            f"{source.channels} channels"
                        )
                    yield Pool(node, source, lanes)
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

        For an idle accelerator that gets a word in every cycle. Unless it is exact, it is a lower
        bound.
        """
        times = list(range(self.words_per_frame))
        for step in self.steps:
            times = departures(step, times, self.device)
        return times[-1]

    @property
    def latency_is_exact(self) -> bool:
        """Whether all layers are dense. Where windows slide, full buffers may hold words up."""
        return not any(isinstance(step, Slide) for step in self.steps)

    @property
    def frames_in_flight(self) -> int:
        """Bound on the frames inside, from the first word to the result.

        Every register holds a word of at most one frame, every layer's ring words of three, and
        every buffer of windows words of as many as it has room for, and two more.
        """
        total = 0
        for step in self.steps:
            total += registers(step, self.device)
            match step:
                case Multiply():
                    total += 3
                case Slide(windows=windows):
                    total += 2 + self.depths[step.name] // windows.frame_words
        return total


def _check_folding(node: BinaryConv | IntegerConv, folding: Folding, source: FeatureMap, lanes):
    if not 1 <= folding.pe <= node.filters:
        raise DesignError(
            f"{node.name}: PE must be from 1 to the {node.filters} neurons, not {folding.pe}"
        )
    if is_dense(node, source):
        most = -(-node.taps // lanes) * lanes
        if folding.simd % lanes or not 1 <= folding.simd <= most:
            raise DesignError(
                f"{node.name}: SIMD must be a multiple of the {lanes} lanes that feed it, "
                f"up to {most}, not {folding.simd}"
            )
        return
    if folding.simd % lanes or source.channels % folding.simd:
        raise DesignError(
            f"{node.name}: SIMD must be a multiple of the {lanes} lanes that feed it, and divide "
            f"the {source.channels} channels, not {folding.simd}"
        )
    if node.filters % folding.pe:
        raise DesignError(
            f"{node.name}: PE must divide the {node.filters} filters, not {folding.pe}"
        )
