"""From nodes to steps: what each node becomes, and the lanes of the words between them.

A layer delivers as many values a word as it has PE. Behind it, arithmetic on integers costs
multipliers for every lane; so an `Affine` and a `TwoSlope` get the fewest lanes that keep the pace,
and wider words are divided in front of them. A node that joins two streams widens the narrower one.
In front of each layer, where words are narrow, paths of ``ready`` are cut, so that none gets longer
as networks grow.
"""

from dataclasses import dataclass
from math import gcd, lcm

from xnorflow.errors import DesignError
from xnorflow.hw.steps import (
    Accumulate,
    Append,
    Bend,
    Compare,
    Cut,
    Divide,
    DynamicBend,
    DynamicCompare,
    Folding,
    Gather,
    Merge,
    Multiply,
    Pad,
    Peak,
    Pool,
    Queue,
    Scale,
    Select,
    Skip,
    Slide,
    Step,
    is_dense,
)
from xnorflow.network import (
    Add,
    Affine,
    ArgMax,
    AveragePool,
    BinaryConv,
    Concat,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    GlobalSum,
    HalvingMaxPool,
    IntegerConv,
    MaxPool,
    Node,
    PadChannels,
    Subsample,
    Threshold,
    TwoSlope,
)


__all__ = ["Stage", "divisors", "stage_of"]


@dataclass(frozen=True)
class Stage:
    """What a node becomes.

    Attributes
    ----------
    ahead : tuple of tuple of Step
        For each of its sources, what words pass before they reach ``step``.
    step : Step
        What computes.
    lanes : int
        Values a word that it delivers.
    """

    ahead: tuple[tuple[Step, ...], ...]
    step: Step
    lanes: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        return (*(step for ahead in self.ahead for step in ahead), self.step)


def stage_of(
    node: Node,
    sources: tuple[FeatureMap, ...],
    fed: tuple[int, ...],
    folding: Folding | None,
    pace: int,
) -> Stage:
    """Find out what ``node`` becomes.

    Parameters
    ----------
    node : Node
        What to build.
    sources : tuple of FeatureMap
        The maps that come in.
    fed : tuple of int
        Values a word in which each of them comes.
    folding : Folding or None
        Of a layer.
    pace : int
        Clock cycles that a frame may take.

    Raises
    ------
    DesignError
        If the folding or the lanes do not work out.
    """
    source, lanes = sources[0], fed[0]
    match node:
        case BinaryConv() | IntegerConv():
            return _layer(node, source, lanes, folding)
        case Threshold():
            if node.classes is not None:
                _check_pixels(node, source, lanes)
            return Stage(((),), Compare(node, source, lanes), lanes)
        case Affine() | TwoSlope():
            kind = Scale if isinstance(node, Affine) else Bend
            if isinstance(node, Affine) and node.classes is not None:
                _check_pixels(node, source, lanes)
            # A word of a whole pixel, such as a dense layer's, stays as it is.
            few = lanes
            if source.size > source.channels and source.channels % lanes == 0:
                few = _fewest(source.size, lanes, pace)
            return Stage((_adapted(node.name, source, lanes, few),), kind(node, source, few), few)
        case ArgMax():
            return Stage(((),), Select(node, source, lanes), lanes)
        case MaxPool():
            _check_pixels(node, source, lanes, spare=False)
            return Stage(((),), Pool(node, source, lanes), lanes)

    for x, width in zip(sources, fed, strict=True):
        _check_pixels(node, x, width)
    even = tuple(gcd(x.channels, width) for x, width in zip(sources, fed, strict=True))
    match node:
        case Subsample() | AveragePool() | HalvingMaxPool() | GlobalSum():
            common = even[0]
            kind = {Subsample: Skip, HalvingMaxPool: Peak}.get(type(node), Accumulate)
            ahead = (_adapted(node.name, source, lanes, common),)
            return Stage(ahead, kind(node, source, common), common)
        case PadChannels():
            most = gcd(node.before, source.channels, node.after)
            common = _fewest(node.infer(source).size, most, pace)
            step = Pad(node, source, common)
        case DynamicThreshold() | DynamicTwoSlope():
            return _dynamic(node, *sources, fed, pace)
        case Concat():
            most = gcd(*(x.channels for x in sources))
            common = _fewest(node.infer(*sources).size, most, pace)
            step = Append(node, *sources, common)
        case Add():
            common = lcm(*even)
            step = Merge(node, *sources, common)
    ahead = tuple(
        (*_adapted(name, x, width, common), Queue(f"{name}_queue", x, common))
        for name, x, width in zip((node.name, f"{node.name}_other"), sources, fed, strict=False)
    )
    return Stage(ahead, step, common)


def divisors(number: int) -> list[int]:
    """Find the divisors of a number, the least first."""
    return [n for n in range(1, number + 1) if number % n == 0]


def _layer(node, source, lanes, folding):
    """Stage of a layer with weights."""
    _check_folding(node, folding, source, lanes)
    dense = is_dense(node, source)
    ahead = [Cut(f"{node.name}_cut", source, lanes)]
    if folding.simd > lanes:
        words = -(-(source.size if dense else source.channels) // lanes)
        ahead.append(Gather(f"{node.name}_width", source, lanes, folding.simd // lanes, words))
    if not dense:
        ahead.append(Slide(node, source, folding.simd))
    return Stage((tuple(ahead),), Multiply(node, source, folding), folding.pe)


def _dynamic(node, source, parameters, fed, pace):
    """Stage of a node with parameters of the frame, which come one by one."""
    lanes, kind = gcd(source.channels, fed[0]), DynamicCompare
    if isinstance(node, DynamicTwoSlope):
        lanes, kind = _fewest(source.size, lanes, pace), DynamicBend
    ahead = (
        (*_adapted(node.name, source, fed[0], lanes), Queue(f"{node.name}_queue", source, lanes)),
        (
            *_adapted(f"{node.name}_parameters", parameters, fed[1], 1),
            Queue(f"{node.name}_parameters_queue", parameters, 1),
        ),
    )
    return Stage(ahead, kind(node, source, parameters, lanes), lanes)


def _fewest(size, most, pace):
    """Fewest lanes, a divisor of ``most``, in which ``size`` values come within ``pace`` cycles."""
    return next((lanes for lanes in divisors(most) if size // lanes <= pace), most)


def _adapted(name, source, lanes, wanted):
    """Steps that turn words of ``lanes`` values into words of ``wanted`` ones."""
    common = gcd(lanes, wanted)
    steps = []
    if common < lanes:
        words = -(-source.channels // common)
        steps.append(Queue(f"{name}_split_queue", source, lanes))
        steps.append(Divide(f"{name}_split", source, common, lanes // common, words))
    if common < wanted:
        ratio, words = wanted // common, source.channels // common
        steps.append(Gather(f"{name}_width", source, common, ratio, words))
    return tuple(steps)


def _check_pixels(node, source, lanes, *, spare=True):
    """Check that words do not cut pixels; they may be larger than a lone one."""
    if source.channels % lanes and not (spare and source.size == source.channels):
        raise DesignError(
            f"{node.name}: the {lanes} lanes that feed it must divide its "
            f"{source.channels} channels"
        )


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
