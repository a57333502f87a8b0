"""Facts of a report: plain values that JSON can hold, a dataclass for each part of the page."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from xnorflow.errors import FormatError


__all__ = [
    "BuildFacts",
    "CostFacts",
    "DesignFacts",
    "LayerFacts",
    "NodeFacts",
    "PathFacts",
    "PlacedFacts",
    "PowerFacts",
    "Report",
    "RunFacts",
    "SimulationFacts",
    "UsageFacts",
    "WaitFacts",
    "decode",
    "encode",
]

VERSION = 2
"""Of report.json."""


@dataclass(frozen=True)
class CostFacts:
    """Resources that something takes, or that there are."""

    luts: int = 0
    block_rams: int = 0
    multipliers: int = 0

    def __add__(self, other: "CostFacts") -> "CostFacts":
        return CostFacts(
            self.luts + other.luts,
            self.block_rams + other.block_rams,
            self.multipliers + other.multipliers,
        )


@dataclass(frozen=True)
class NodeFacts:
    """A node of the network, or its input."""

    name: str
    kind: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    values: str  # their type
    layer: str | None  # that it is built in
    weights: int | None  # how many, and of how many bits each
    weight_bits: int | None


@dataclass(frozen=True)
class LayerFacts:
    """A layer of the pipeline: all that is built up to the next one.

    Attributes
    ----------
    busy, slowest : int, str
        Cycles a frame for which its slowest unit works, and which unit that is.
    rom_bits : int
        Of weights that are read from a memory; folded once, they are logic.
    buffers : tuple of str and int
        Words that each of its buffers holds.
    first, last : int
        Cycles in which the first word of a frame comes, and in which the last one leaves.
    """

    name: str
    units: tuple[str, ...]
    pe: int | None
    simd: int | None
    cycles: int | None
    busy: int
    slowest: str
    rom_bits: int
    buffers: tuple[tuple[str, int], ...]
    first: int
    last: int
    estimate: CostFacts


@dataclass(frozen=True)
class DesignFacts:
    """A network and how it is folded; ``key`` stands for both.

    All costs are estimates; ``available`` is what the device has.
    """

    key: str
    network: str
    origin: Mapping[str, str | int | float]
    board: str
    device: str
    clock: int
    cycles_per_frame: int
    latency: int
    latency_is_exact: bool
    input_lanes: int
    nodes: tuple[NodeFacts, ...]
    layers: tuple[LayerFacts, ...]
    estimate: CostFacts
    link: CostFacts
    available: CostFacts


@dataclass(frozen=True)
class WaitFacts:
    """How the slowest unit of a layer waits while frames follow each other without a gap.

    Attributes
    ----------
    layer, unit : str
    sources, users : tuple of str
        Units that it gets words from, and those that get its own.
    starved, held : tuple of float
        For each of some equal parts of a frame's period, the share of the cycles in which it waited
        for words, and of those in which it had one that was not taken.
    """

    layer: str
    unit: str
    sources: tuple[str, ...]
    users: tuple[str, ...]
    starved: tuple[float, ...]
    held: tuple[float, ...]


@dataclass(frozen=True)
class SimulationFacts:
    """A simulation, all of whose scores were the golden model's.

    Attributes
    ----------
    confusion : tuple of tuple of int, or None
        Frames of each class, rows, that got each label. None if there were no labels.
    waits : tuple of WaitFacts
        Of each layer; none if the pipeline was not watched, or never full.
    fills : tuple of str and int
        The most words that each buffer held.
    """

    frames: int
    scores: int
    stall: float
    behavioural: bool
    latency: int
    cycles_per_frame: int | None
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    waits: tuple[WaitFacts, ...] = ()
    fills: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class UsageFacts:
    """Cells of a kind that are taken, and that there are."""

    cell: str
    used: int
    available: int


@dataclass(frozen=True)
class PathFacts:
    """The slowest path between registers, in nanoseconds."""

    start: str
    end: str
    logic: float
    routing: float


@dataclass(frozen=True)
class PlacedFacts:
    """Cells of a layer after placement, and the tiles (column, row) that they are in.

    There is no ``cost`` where nextpnr's names of cells leave some out.
    """

    layer: str | None  # None: the link to the host, and what no layer owns
    cost: CostFacts | None
    tiles: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PowerFacts:
    """Bounds of what the core draws, in mW: see `xnorflow.boards.power`."""

    low: float
    high: float


@dataclass(frozen=True)
class BuildFacts:
    """A bitstream, and what place and route says about it.

    There is no ``power`` of devices that nobody has measured.
    """

    bitstream: str
    seed: int
    clock: int
    fmax: float
    usage: tuple[UsageFacts, ...]
    critical_path: PathFacts | None
    placed: tuple[PlacedFacts, ...]
    power: PowerFacts | None = None


@dataclass(frozen=True)
class RunFacts:
    """A command, and the versions of what it used."""

    command: str
    line: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """All that is known of the design in a folder."""

    design: DesignFacts
    simulation: SimulationFacts | None = None
    build: BuildFacts | None = None
    runs: tuple[RunFacts, ...] = ()


def encode(report: Report) -> dict[str, Any]:
    """The report as JSON."""
    return {"version": VERSION, **asdict(report)}


def decode(value: Any) -> Report:
    """The report that `encode` made.

    Raises
    ------
    FormatError
        If it is none, or of another version.
    """
    try:
        if value["version"] != VERSION:
            raise FormatError(f"its version is {value['version']}, and only {VERSION} is known")
        report: Report = _decode(Report, value)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise FormatError("it is no report of xnorflow, or damaged") from None
    return report


def _decode(kind: Any, value: Any) -> Any:
    """A value of the type ``kind``, out of JSON."""
    options = get_args(kind)
    if NoneType in options:
        return None if value is None else _decode(options[0], value)
    if getattr(kind, "__origin__", None) is tuple:
        kinds = [options[0]] * len(value) if options[1:] == (...,) else options
        return tuple(_decode(*pair) for pair in zip(kinds, value, strict=True))
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{f.name: _decode(hints[f.name], value[f.name]) for f in fields(kind)})
    return value
