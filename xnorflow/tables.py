"""Tables that the command line shows: networks, and how they are folded."""

from collections.abc import Iterator
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


__all__ = ["design_table", "network_table", "plan_table"]


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
            _spell_type(network.maps[node.sources[0]]),
            _spell_type(feature_map),
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
    for head in ("PE", "SIMD", "cycles", "buffer", "LUTs", "BRAMs", "DSPs"):
        table.add_column(head, justify="right")
    for line in _parts(design) if parts else _layers(design):
        needs = [stage.resources(device, design.depths.get(stage.name)) for stage in line["stages"]]
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
        blocks = sum(s.resources(device, design.depths[s.name]).block_rams for s in held)
        table.caption = (
            f"frames wait for their parameters in {len(held)} of the parts, which take {blocks:,} "
            "block RAMs"
        )
    return table


def _parts(design: "Design") -> Iterator[dict[str, Any]]:
    """Every stage, with what is known of it."""
    from xnorflow.hw.compile.emit import describe

    for stage, described in zip(design.stages, describe(design)["steps"], strict=True):
        yield {**described, "stages": [stage]}


def _layers(design: "Design") -> Iterator[dict[str, Any]]:
    """Stages from the first that feeds a layer to the last before the next one's."""
    from xnorflow.hw.streams.skid_buffer import SkidBufferStage

    line: dict[str, Any] = {"name": "input", "stages": []}
    for part in _parts(design):
        if isinstance(part["stages"][0], SkidBufferStage):
            if line["stages"]:
                yield line
            line = {"name": part["name"], "stages": []}
        line["stages"] += part["stages"]
        if "pe" in part:
            line |= {what: part[what] for what in ("name", "pe", "simd", "cycles")}
        if part["unit"] == "SlidingWindowUnit":
            line["depth"] = part["depth"]
    yield line


def _spell_type(feature_map: FeatureMap) -> str:
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
