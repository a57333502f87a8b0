"""What reports know of designs, simulations and builds, and how folders keep it."""

import json
from dataclasses import replace

import pytest

from tests.report.cases import (
    build,
    conv_design,
    facts,
    netlist,
    residual_design,
    run,
    simulation,
    unrolled_design,
    whole_report,
)
from xnorflow.boards.build import BuildReport
from xnorflow.boards.report import Timing, Usage
from xnorflow.boards.targets import ICEBREAKER, ULX3S_85F
from xnorflow.errors import FormatError
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.schedule import spans
from xnorflow.hw.families.device import Cell
from xnorflow.hw.ops.matrix import MatrixStage
from xnorflow.ir import Provenance
from xnorflow.report.facts import CostFacts, NodeFacts, Report, decode, encode
from xnorflow.report.folder import FACTS, load, update
from xnorflow.report.graph import HEIGHT, WIDTH, draw
from xnorflow.report.placement import build_facts, read_placement


@pytest.mark.parametrize("design", [conv_design(100), conv_design(1000), residual_design()])
def test_every_layer_has_a_line(design):
    """Be it fed by words of channels, or of whole windows."""
    found = facts(design)
    folded = {layer.name: (layer.pe, layer.simd) for layer in found.layers if layer.pe is not None}
    assert folded == {
        s.node.name: (s.folding.pe, s.folding.simd)
        for s in design.stages
        if isinstance(s, MatrixStage)
    }
    units = [unit for layer in found.layers for unit in layer.units]
    assert units == [stage.name for stage in design.stages]
    assert max(layer.busy for layer in found.layers) == found.cycles_per_frame


def test_costs_of_layers_add_up():
    design = conv_design()
    found = facts(design)
    parts = sum((layer.estimate for layer in found.layers), CostFacts())
    whole = estimate(design)
    assert (parts.block_rams, parts.multipliers) == (whole.block_rams, whole.multipliers)
    assert found.estimate.luts == whole.luts > parts.luts > whole.luts - 300


def test_roms_hold_the_weights():
    design = conv_design(1000)
    sizes = {node.name: node.weights for node in facts(design).nodes}
    bits = {layer.name: layer.rom_bits for layer in facts(design).layers if layer.rom_bits}
    assert bits
    for stage in design.stages:
        if stage.name in bits:
            assert bits[stage.name] >= sizes[stage.name] * stage.weight_bits


def test_spans_end_with_the_latency():
    design = residual_design()
    times = spans(design.stages, design.sources, design.words_per_frame, design.device)
    assert times[design.stages[-1].name][1] == design.latency
    assert times[design.stages[0].name][0] == 0
    for stage in design.stages:
        first, last = times[stage.name]
        for source in design.sources[stage.name]:
            assert times.get(source, (0, 0))[0] <= first <= last


def test_confusions_are_counted():
    assert simulation(conv_design()).confusion == ((2, 0, 0), (0, 1, 1), (1, 0, 3))


def test_waits_are_those_of_the_slowest_units():
    design = residual_design()
    found = simulation(design)
    slowest = {layer.name: layer.slowest for layer in facts(design).layers}
    assert {each.layer: each.unit for each in found.waits} == slowest
    units = {each.unit: each for each in found.waits}
    assert units["conv1"].sources == ("conv1_part",)
    assert units["conv1"].users == ("norm",)
    assert units["conv1"].starved == (0.5, 0.1)
    assert units["conv1"].held == (0.0, 0.4)
    assert dict(found.fills) == {name: depth - 1 for name, depth in design.depths.items()}


def test_cells_are_those_of_layers(tmp_path):
    design = conv_design()
    *_, rest = placed = build(design, tmp_path).placed
    found = {part.layer: part for part in placed}
    assert found["conv1"].cost == CostFacts(luts=2, block_rams=1)
    assert found["conv1"].tiles == ((3, 2), (5, 4))
    assert rest.layer is None
    assert rest.cost == CostFacts(luts=2)
    empty = read_placement(netlist(tmp_path / "x"), design.device.family, ())
    assert [part.layer for part in empty] == [None]


@pytest.mark.parametrize(("luts", "known"), [(4, True), (5, False)])
def test_costs_of_layers_are_all_that_was_placed(tmp_path, luts, known):
    design = conv_design()
    build(design, tmp_path)
    usage = {Cell.LUT: Usage(luts, 83640), Cell.BLOCK_RAM: Usage(1, 208)}
    bitstream = tmp_path / "ulx3s-85f.bit"
    report = BuildReport(ULX3S_85F, bitstream, usage, 25_000_000, Timing(6e7, None), 100)
    found = build_facts(report, facts(design).layers, seed=1)
    assert all((part.cost is not None) == known for part in found.placed)
    assert any(part.tiles for part in found.placed)


@pytest.mark.parametrize(("clock", "pll"), [(12_000_000, 0), (24_000_000, 138.9)])
def test_power_is_that_of_a_measured_device(tmp_path, clock, pll):
    usage = {Cell.LUT: Usage(2000, 5280), Cell.MULTIPLIER: Usage(2, 8)}
    timing = Timing(6e7, None)
    built = BuildReport(ICEBREAKER, tmp_path / "icebreaker.bin", usage, clock, timing, 100)
    found = build_facts(built, (), seed=1).power
    tree = 43.6 * (clock / 1e6 + (12 if pll else 0))
    low = 85.6 + pll + tree + 2000 * 0.0118 * clock / 1e6
    assert found.low == pytest.approx(low * 1.2 / 1000, rel=0.01)
    assert found.high > 2 * found.low
    other = replace(built, target=ULX3S_85F)
    assert build_facts(other, (), seed=1).power is None


def test_reports_are_read_as_they_were(tmp_path):
    report = whole_report(tmp_path)
    assert decode(json.loads(json.dumps(encode(report)))) == report


def test_commands_add_to_a_report(tmp_path):
    design = conv_design()
    folder = tmp_path / "new" / "folder"
    update(folder, run("generate"), facts(design))
    update(folder, run("simulate"), facts(design), simulation=simulation(design))
    update(folder, run("simulate"), facts(design), simulation=simulation(design))
    report = update(folder, run("build"), facts(design), build=build(design, tmp_path))
    assert [each.command for each in report.runs] == ["generate", "simulate", "build"]
    assert report.simulation == simulation(design)
    assert report == load(folder / FACTS)


def test_what_was_found_for_another_design_is_forgotten(tmp_path):
    update(tmp_path, run("simulate"), facts(conv_design()), simulation=simulation(conv_design()))
    design = conv_design()
    network = replace(design.network, provenance=Provenance(dataset="another"))
    other = facts(replace(design, network=network))
    assert update(tmp_path, run("plan"), other) == Report(other, runs=(run("plan"),))
    assert facts(conv_design(100)).key == facts(conv_design(100)).key
    assert facts(conv_design(100)).key != facts(conv_design(1000)).key


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "it is no report of xnorflow, or damaged"),
        ('{"version": 2}', "it is no report of xnorflow, or damaged"),
        ('{"version": 1}', "its version is 1, and only 2 is known"),
        ('{"fmax": {}}', "it is no report of xnorflow, or damaged"),
    ],
)
def test_what_is_no_report_is_replaced(tmp_path, content, reason):
    (tmp_path / FACTS).write_text(content)
    with pytest.raises(FormatError, match=f"report.json: {reason}$"):
        load(tmp_path / FACTS)
    found = facts(conv_design())
    assert update(tmp_path, run("plan"), found) == Report(found, runs=(run("plan"),))


def test_nodes_of_a_graph_have_places_of_their_own():
    nodes = facts(residual_design()).nodes
    drawing = draw(nodes)
    assert [box.node for box in drawing.boxes] == list(nodes)
    assert len(drawing.edges) == sum(len(node.sources) for node in nodes)
    corners = {box.node.name: (box.x, box.y) for box in drawing.boxes}
    assert len(set(corners.values())) == len(nodes)
    for box in drawing.boxes:
        assert all(corners[source][1] + HEIGHT < box.y for source in box.node.sources)
        assert 0 <= box.x <= drawing.width - WIDTH
        assert 0 <= box.y <= drawing.height - HEIGHT


def test_shortcuts_go_around_the_main_path():
    def node(name, *sources):
        return NodeFacts(name, "Add", sources, (1, 1, 1), "bit", None, None, None)

    drawing = draw((
        node("input"), node("a", "input"), node("b", "a"), node("side", "a"), node("other", "a"),
        node("c", "b"), node("sum", "c", "a"), node("all", "sum", "side", "other"),
    ))  # fmt: skip
    columns = {box.node.name: box.x for box in drawing.boxes}
    main = {columns[name] for name in ("input", "a", "b", "c", "sum", "all")}
    assert len(main) == 1
    assert max(main) + WIDTH < columns["side"] < columns["other"] - WIDTH
    # From a to sum there are nodes between; from its own column, side goes straight down.
    straight = [edge for edge in drawing.edges if "V" in edge]
    assert len(drawing.edges) - len(straight) == 1


def test_layers_that_take_in_thresholds_keep_their_names():
    layers = [layer for layer in facts(unrolled_design()).layers if layer.pe is not None]
    assert [layer.name for layer in layers] == ["fc1", "fc2", "fc3"]
    nodes = {node.name: node.layer for node in facts(unrolled_design()).nodes}
    assert nodes["fc1"] == nodes["act1"] == "fc1"
