"""Pages of reports, as a parser of HTML sees them; `test_browser.py` opens them."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.report.cases import conv_design, facts, run, whole_report
from xnorflow.report.facts import PowerFacts, Report
from xnorflow.report.page import page


LOADING = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}
"""Attributes that make a browser load something, unless it is in the page."""


class Page(HTMLParser):
    """Tags, text by section, and cells of tables by row."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sections, self.rows = [], {}, []
        self._section = "head"
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "section":
            self._section = attributes["id"]
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.sections[self._section] = self.sections.get(self._section, "") + " " + data
        if self.rows and self.rows[-1] and self._section == "layers":
            self.rows[-1][-1] += data

    def text(self, section):
        return re.sub(r"\s+", " ", self.sections[section])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return whole_report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def text(report):
    return page(report)


@pytest.fixture(scope="module")
def whole(text):
    return Page(text)


def test_nothing_is_loaded(text, whole):
    assert len(text.encode()) < 3_000_000
    for tag, attributes in whole.tags:
        for name in LOADING & attributes.keys():
            assert attributes[name].startswith(("data:", "#")), (tag, attributes)
    assert not re.search(r"url\((?![\"']?#)|@import|\bfetch\(|import\(|XMLHttpRequest", text)


def test_every_node_can_be_chosen(report, whole):
    nodes = [a["data-details"] for _, a in whole.tags if "data-details" in a]
    details = {a["id"] for tag, a in whole.tags if tag == "template"}
    assert len(nodes) == len(report.design.nodes)
    assert set(nodes) == details
    edges = [a for _, a in whole.tags if a.get("class") == "edge"]
    assert len(edges) == sum(len(node.sources) for node in report.design.nodes)


def test_every_layer_has_a_row(report, whole):
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in whole.rows[1:]}
    for layer in report.design.layers:
        pe, simd, cycles, busy, luts, *_, rom, buffers = rows[layer.name]
        assert (pe, simd) == tuple("" if n is None else f"{n:,}" for n in (layer.pe, layer.simd))
        assert cycles == ("" if layer.cycles is None else f"{layer.cycles:,}")
        assert busy == f"{layer.busy / report.design.cycles_per_frame:.0%}"
        found = next(part for part in report.build.placed if part.layer == layer.name)
        assert luts == f"{layer.estimate.luts:,} / {found.cost.luts:,}"
        assert rom == f"{layer.rom_bits:,}"
        assert buffers == ", ".join(f"{depth} ({depth - 1})" for _, depth in layer.buffers)
    assert rows["conv1"][4].endswith(" / 2")


def test_what_was_found_is_said(report, whole):
    assert "1,234 of 83,640 (1%)" in whole.text("resources")
    verified = whole.text("verified")
    assert "8 frames went through the simulated RTL: all 24 scores are" in verified
    assert "6 of 8 labels are right: 75.00%" in verified
    assert "confusions: class 1 taken for class 2 (1), class 2 taken for class 0 (1)." in verified
    timing = whole.text("timing")
    assert "reaches 61.5 MHz" in timing
    assert "from conv1.sum to conv2.word . It takes 16.0 ns: 6.0 ns in logic (38%)" in timing
    assert "Floor plan" in timing
    assert "There is no figure: nobody is known" in timing
    power = replace(report, build=replace(report.build, power=PowerFacts(1.25, 6.5)))
    timing = Page(page(power)).text("timing")
    assert "from 1.2 mW, if no logic cell changes, to 6.5 mW" in timing
    origin = whole.text("provenance")
    assert "seed of place and route 3" in origin
    assert "xnorflow simulate <net> --seed 3" in origin
    assert "xnorflow 1.2.3" in origin


def test_a_plan_is_all_estimates():
    design = facts(conv_design())
    whole = Page(page(Report(design, runs=(run("plan"),))))
    assert "LUTs, block RAMs and DSPs are estimates" in whole.text("layers")
    assert "Estimates , the link to the host included" in whole.text("resources")
    need = design.estimate.luts + design.link.luts
    assert f"{need:,} of 83,640" in whole.text("resources")
    assert "Nothing yet" in whole.text("verified")
    assert "Not placed and routed yet" in whole.text("timing")


def test_the_time_line_has_all_layers(report, whole):
    line = whole.text("timeline")
    for layer in report.design.layers:
        assert f" {layer.name} " in line


def test_it_is_said_who_waits_for_whom(report, whole):
    text = whole.text("timeline")
    assert "Who waits for whom" in text
    for each in report.simulation.waits:
        sources, users = ", ".join(each.sources), ", ".join(each.users)
        assert f" {each.layer} 50% 30% {sources} 20% {users} ".rstrip() in text
    without = replace(report.simulation, waits=(), fills=())
    plain = Page(page(replace(report, simulation=without)))
    assert "Who waits" not in plain.text("timeline")
    assert "highest fill" not in plain.text("layers")


def test_names_are_texts(report):
    hostile = replace(report.design, network="<script>alert(1)</script>")
    text = page(replace(report, design=hostile))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_same_report_is_the_same_page(report, text):
    assert page(report) == text
