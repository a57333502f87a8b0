"""Points of an exploration, and what place and route makes of each."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any

from xnorflow.boards.build import place
from xnorflow.boards.host import BAUD
from xnorflow.boards.own import is_own_board
from xnorflow.boards.plan import link_resources
from xnorflow.boards.targets import find_target
from xnorflow.boards.top import fastest_clock
from xnorflow.cache import cache_folder, redirect_tools
from xnorflow.explore.front import Choice
from xnorflow.files import read_file
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.device import Cell
from xnorflow.ir.xnf import dumps, loads
from xnorflow.parallel import Workers, digest, run_pieces
from xnorflow.report.facts import CostFacts
from xnorflow.report.gather import run_facts


__all__ = ["Found", "Point", "Result", "point_of", "results"]

_ROOMS = "ir", "hw", "boards"
"""Folders whose code decides on what is placed."""


@dataclass(frozen=True)
class Point:
    """A design on a board.

    Attributes
    ----------
    network, board : str
        As the user names them; ``name`` and ``title`` are theirs.
    option : str
        Option that chooses the design.
    clock : int
        That it is placed for, in Hz.
    seeds : int
        With how many it is placed, from 1 on.
    estimate : CostFacts
        With the link to the host.
    """

    network: str
    name: str
    board: str
    title: str
    device: str
    option: str
    clock: int
    seeds: int
    cycles_per_frame: int
    latency: int
    estimate: CostFacts


@dataclass(frozen=True)
class Found:
    """What the fastest placement of a point is.

    Attributes
    ----------
    clock : int or None
        The highest that the board can make and the design reaches, in Hz.
    """

    seed: int
    fmax: float
    clock: int | None
    cost: CostFacts
    critical_path: str


@dataclass(frozen=True)
class Result:
    """A point, and what was found, or why nothing was; neither if it is only estimated."""

    point: Point
    found: Found | None = None
    error: str | None = None
    known: bool = False  # by an earlier run

    @property
    def luts(self) -> int:
        """Look-up tables, as placed or else as estimated."""
        return (self.found.cost if self.found else self.point.estimate).luts

    @property
    def frames_per_second(self) -> float:
        """At the highest clock, or at the board's usual one if that is not known."""
        clock = self.found.fmax if self.found else self.point.clock
        return clock / self.point.cycles_per_frame

    @property
    def command(self) -> str:
        """The command that builds it, but for the folder."""
        point, clock, seed = self.point, self.point.clock, ""
        if self.found is not None:
            clock, seed = self.found.clock or clock, f" --seed {self.found.seed} --seeds 4"
        return (
            f"xnorflow build {quote(point.network)} --board {quote(point.board)} {point.option} "
            f"--clock {clock / 1e6:.10g}{seed}"
        )


@dataclass(frozen=True)
class _Piece:
    """What a worker needs for a point, beside the network."""

    network: str  # digest of it
    board: str
    clock: int
    seeds: int
    options: Mapping[str, Any]  # of `plan`


def point_of(choice: Choice, network: str, board: str, *, clock: int | None, seeds: int) -> Point:
    """Point of a design for a board; both are named as the user names them."""
    design, target = choice.design, find_target(board)
    need = estimate(design) + link_resources(design)
    return Point(
        network=network,
        name=design.network.name,
        board=board,
        title=target.title,
        device=design.device.name,
        option=choice.option,
        clock=target.clock if clock is None else clock,
        seeds=seeds,
        cycles_per_frame=design.cycles_per_frame,
        latency=design.latency,
        estimate=CostFacts(need.luts, need.block_rams, need.multipliers),
    )


def results(
    points: list[tuple[Point, Choice]],
    *,
    workers: Workers | None = None,
    store: Path | None = None,
) -> Iterator[Result]:
    """Place and route all points, and give each as it comes: first those that are known.

    They are kept in the folder ``store``, or else in ``points`` in the user's cache.
    """
    networks: dict[str, bytes] = {}
    pieces, by_key = {}, {}
    for point, choice in points:
        content = dumps(choice.design.network)
        networks[digest(content)] = content
        piece = _piece(point, choice, digest(content))
        key = digest(piece.network, repr(piece), _board_text(point.board), _code())
        pieces[key], by_key[key] = piece, point
    store = cache_folder() / "points" if store is None else store
    for outcome in run_pieces(_place, pieces, common=networks, workers=workers, store=store):
        found = outcome.value and Found(**{
            **outcome.value, "cost": CostFacts(**outcome.value["cost"]),
        })  # fmt: skip
        yield Result(by_key[outcome.key], found, outcome.error, outcome.known)


def _piece(point: Point, choice: Choice, network: str) -> _Piece:
    design = choice.design
    options = {
        "foldings": dict(sorted(design.foldings.items())),
        "input_lanes": design.input_lanes,
        "memories": dict(sorted(design.memories.items())),
        "pace": design.pace,
        "single_buffered": design.single_buffered,
        "recompute": design.recompute,
    }
    return _Piece(network, point.board, point.clock, point.seeds, options)


def _place(networks: Mapping[str, bytes], piece: _Piece) -> dict[str, Any]:
    """Place and route a point; runs on a worker."""
    redirect_tools()
    target = find_target(piece.board)
    design = plan(loads(networks[piece.network]), device=target.device, **piece.options)
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as folder:
        seeds = range(1, piece.seeds + 1)
        best = place(design, target, Path(folder), clock=piece.clock, seeds=seeds)[0]
    most = best.timing.fmax / target.device.family.fmax_margin
    cost = (
        best.usage[cell].used if cell in best.usage else 0
        for cell in (Cell.LUT, Cell.BLOCK_RAM, Cell.MULTIPLIER)
    )
    found = Found(
        seed=best.seed,
        fmax=best.timing.fmax,
        clock=fastest_clock(target, most, BAUD),
        cost=CostFacts(*cost),
        critical_path=str(best.timing.critical_path or ""),
    )
    return asdict(found)


def _board_text(board: str) -> bytes:
    """What a board of the user's own is."""
    return read_file(board.rpartition(":")[0]) if is_own_board(board) else b""


@cache
def _code() -> str:
    """What a result depends on beside its point: our code, and the tools."""
    home = Path(__file__).parents[1]
    files = (path for room in _ROOMS for path in sorted((home / room).rglob("*.py")))
    tools = [shutil.which(name) for name in ("yosys", "nextpnr-ice40", "nextpnr-ecp5")]
    return digest(json.dumps([run_facts("", "").versions, tools]), *map(read_file, files))
