"""Tables that the command line shows: networks, and how they are folded."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from xnorflow.ir import (
    BinaryConv,
    Bit,
    Counts,
    DynamicThreshold,
    DynamicTwoSlope,
    FeatureMap,
    Int,
    IntegerConv,
    Network,
    Node,
    UInt,
)


if TYPE_CHECKING:
    from xnorflow.hw.arithmetic.resources import Resources
    from xnorflow.hw.compile.design import Design
    from xnorflow.hw.families.device import Cell


__all__ = [
    "design_table",
    "explain_table",
    "layers_of",
    "network_table",
    "plan_table",
    "spell_type",
]

_RESOURCES = "LUTs", "BRAMs", "DSPs"

_Needs = dict[str, tuple[int, list[int]]]
"""Cycles of each layer, and its look-up tables, block RAMs and multipliers."""


def network_table(network: Network) -> Table:
    """Table of what a network computes, node by node."""
    table = Table(title=network.name)
    table.add_column("layer", no_wrap=True)
    for head in ("kind", "from", "to", "map", "weights"):
        table.add_column(head)
    for node in network.nodes:
        feature_map = network.maps[node.name]
        table.add_row(
            node.name,
            type(node).__name__,
            spell_type(network.maps[node.sources[0]]),
            spell_type(feature_map),
            "×".join(map(str, feature_map.shape)),
            _weight_bits(node),
        )
    dynamic = [
        node.name for node in network.nodes if isinstance(node, DynamicThreshold | DynamicTwoSlope)
    ]
    if dynamic:
        table.caption = f"parameters of each frame in {', '.join(dynamic)}"
    return table


def design_table(design: "Design") -> Table:
    """Table of how the layers of a network are folded."""
    from xnorflow.hw.ops.matrix import MatrixStage

    table = Table(title=design.network.name)
    table.add_column("layer", no_wrap=True)
    for head in ("matrix", "PE", "SIMD", "cycles"):
        table.add_column(head)
    for stage in design.stages:
        if isinstance(stage, MatrixStage):
            table.add_row(
                stage.name,
                f"{stage.node.filters} × {stage.node.taps}",
                str(stage.folding.pe),
                str(stage.folding.simd),
                str(stage.cycles),
            )
    table.caption_justify = "left"
    table.caption = (
        f"{design.cycles_per_frame:,} cycles a frame\n"
        f"latency {design.latency:,} cycles\n"
        f"input lanes: {design.input_lanes}"
    )
    return table


def plan_table(design: "Design", link: "Resources", *, parts: bool) -> Table:
    """Table of what a design costs: a line for each layer, or for each of its ``parts``.

    A layer's line counts all that is built up to the next one, what it is fed through included.
    The board's ``link`` to the host is not part of the accelerator.
    """
    from xnorflow.hw.compile.estimate import estimate
    from xnorflow.hw.ops.frame_buffer import FrameBufferStage

    device = design.device
    table = Table(title=f"{design.network.name} on {device.name}")
    table.add_column("part" if parts else "layer", no_wrap=True)
    for head in ("PE", "SIMD", "cycles", "buffer", *_RESOURCES):
        table.add_column(head, justify="right")
    for line in _parts(design) if parts else layers_of(design):
        needs = [design.resources(stage) for stage in line["stages"]]
        table.add_row(
            line["name"],
            *(f"{line[what]:,}" if what in line else ""
              for what in ("pe", "simd", "cycles", "depth")),
            *(f"{sum(getattr(need, what) for need in needs):,}"
              for what in ("luts", "block_rams", "multipliers")),
        )  # fmt: skip
    need = estimate(design)
    table.add_section()
    for what, spent, budget in (
        ("accelerator", f"{design.cycles_per_frame:,}", need),
        ("link to host", "", link),
        ("total", "", need + link),
        ("there are", "", device),
    ):
        resources = budget.luts, budget.block_rams, budget.multipliers
        table.add_row(what, "", "", spent, "", *(f"{count:,}" for count in resources))
    held = [stage for stage in design.stages if isinstance(stage, FrameBufferStage)]
    if held:
        blocks = sum(design.resources(stage).block_rams for stage in held)
        table.caption = (
            f"frames wait for their parameters in {len(held)} of the parts, which take {blocks:,} "
            "block RAMs"
        )
    return table


def explain_table(
    design: "Design",
    faster: "Design | None",
    budget: Mapping["Cell", int],
    link: Callable[["Design"], "Resources"],
) -> Table:
    """Table of the parts of a ``budget`` that a design takes, and of what one a step faster would.

    A line counts what it does in `plan_table`. The ``link`` is that of a board to the host.
    """
    table = Table(title=f"{design.network.name} on {design.device.name}")
    table.add_column("layer", no_wrap=True)
    for head in (*_RESOURCES, "faster: cycles", *(f"± {name}" for name in _RESOURCES)):
        table.add_column(head, justify="right")
    now = _needs_by_layer(design, link)
    then = None if faster is None else _needs_by_layer(faster, link)
    for name, (_, needs) in now.items():
        changes = []
        if then is not None:
            cycles, later = then[name]
            differences = (b - a for a, b in zip(needs, later, strict=True))
            changes = [f"{cycles:,}" if cycles else "", *(f"{d:+,}" for d in differences)]
        table.add_row(name, *_shares(needs, budget), *changes)
    total = _sum(needs for _, needs in now.values())
    table.add_section()
    table.add_row("total", *_shares(total, budget))
    scarcest = max(zip(total, budget.items(), strict=True), key=lambda t: t[0] / max(1, t[1][1]))
    used, (cell, there) = scarcest
    table.caption_justify = "left"
    table.caption = (
        f"{cell.value} bind: {used:,} of {there:,} that may be used\n"
        f"{_spell_step(faster, then, budget)}"
    )
    return table


def _spell_step(
    faster: "Design | None", then: "_Needs | None", budget: Mapping["Cell", int]
) -> str:
    """What a design a step faster lacks, if anything."""
    if faster is None or then is None:
        return "no folding is faster"
    total = _sum(needs for _, needs in then.values())
    lacks = [
        f"{need - there:,} {cell.value}"
        for need, (cell, there) in zip(total, budget.items(), strict=True)
        if need > there
    ]
    step = f"a step faster, {faster.cycles_per_frame:,} cycles a frame, "
    return step + (f"lacks {' and '.join(lacks)}" if lacks else "fits, too")


def _shares(needs: list[int], budget: Mapping["Cell", int]) -> list[str]:
    return [
        f"{need / max(1, there):.1%}" for need, there in zip(needs, budget.values(), strict=True)
    ]


def _needs_by_layer(design: "Design", link: Callable[["Design"], "Resources"]) -> "_Needs":
    from xnorflow.hw.compile.estimate import estimate

    found: _Needs = {}
    for line in layers_of(design):
        needs = _sum(_vector(design.resources(stage)) for stage in line["stages"])
        found[line["name"]] = line.get("cycles", 0), needs
    pipeline = _sum(needs for _, needs in found.values())
    guard = [a - b for a, b in zip(_vector(estimate(design)), pipeline, strict=True)]
    return found | {"frame guard": (0, guard), "link to host": (0, _vector(link(design)))}


def _vector(resources: "Resources") -> list[int]:
    return [resources.luts, resources.block_rams, resources.multipliers]


def _sum(vectors: Iterable[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*vectors, strict=True)]


def _parts(design: "Design") -> Iterator[dict[str, Any]]:
    """Every stage, with what is known of it."""
    from xnorflow.hw.compile.emit import describe

    for stage, described in zip(design.stages, describe(design)["steps"], strict=True):
        yield {**described, "stages": [stage]}


def layers_of(design: "Design") -> Iterator[dict[str, Any]]:
    """Stages from the first that feeds a layer to the last before the next one's."""
    from xnorflow.hw.ops.matrix import MatrixStage
    from xnorflow.hw.streams.skid_buffer import SkidBufferStage

    matrices = [stage for stage in design.stages if isinstance(stage, MatrixStage)]
    # A unit that a threshold is part of has its name.
    layers = {stage.name: stage.node.name for stage in matrices}
    starts = {_first_ahead(design, name, layer) for name, layer in layers.items()}
    line: dict[str, Any] = {"name": "input", "stages": []}
    for part in _parts(design):
        if part["name"] in starts or isinstance(part["stages"][0], SkidBufferStage):
            if line["stages"]:
                yield line
            line = {"name": part["name"], "stages": []}
        line["stages"] += part["stages"]
        if "pe" in part:
            line |= {what: part[what] for what in ("pe", "simd", "cycles")}
            line["name"] = layers[part["name"]]
        if part["unit"] == "SlidingWindowUnit":
            line["depth"] = part["depth"]
    yield line


def _first_ahead(design: "Design", unit: str, layer: str) -> str:
    """The first of the stages that only a layer needs in front of its unit, or the unit."""
    first = unit
    while (source := design.sources[first][0]).startswith(f"{layer}_"):
        first = source
    return first


def spell_type(feature_map: FeatureMap) -> str:
    """Type of a map's values, in a word or two."""
    match feature_map.type:
        case Bit():
            return "bit"
        case UInt(bits):
            return f"uint{bits}"
        case Int(bits):
            return f"int{bits}"
        case Counts(taps, popcount):
            return f"0…{taps}, P" if popcount else f"0…{taps}"


def _weight_bits(node: Node) -> str:
    match node:
        case BinaryConv():
            return f"{node.weights.size:,}"
        case IntegerConv():
            return f"{node.weights.size:,} × {node.weight_bits}"
        case _:
            return ""
