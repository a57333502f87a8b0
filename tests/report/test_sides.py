"""Designs side by side."""

from dataclasses import replace

from tests.report.cases import conv_design, facts, run, unrolled_design, whole_report
from xnorflow.report.facts import Report
from xnorflow.report.sides import Side, layer_rows, rows_of
from xnorflow.report.sides_page import sides_page


def test_rows_have_what_is_known_and_say_what_is_best(tmp_path):
    planned = Report(facts(conv_design(1000)))
    sides = [Side("built", whole_report(tmp_path)), Side("planned", planned)]
    rows = {row.name: row for row in rows_of(sides)}
    assert rows["LUTs, placed"].cells == ("1,234", "")
    assert rows["LUTs, placed"].best == frozenset()
    assert rows["highest clock, MHz"].cells == ("61.5", "")
    cycles = sides[0].report.design.cycles_per_frame, planned.design.cycles_per_frame
    assert rows["cycles a frame"].cells == (f"{cycles[0]:,}", f"{cycles[1]:,}")
    assert rows["cycles a frame"].best == rows["frames a second"].best == {0}
    assert rows["frames a second"].cells[0] == f"{25_000_000 / cycles[0]:,.0f}"
    need = planned.design.estimate + planned.design.link
    assert rows["LUTs, estimated"].cells[1] == f"{need.luts:,}"
    assert rows["LUTs, estimated"].best == {1}
    assert rows["right in simulation"].cells == ("75.00%", "")
    assert rows["weights, bits"].cells[0] == rows["weights, bits"].cells[1]
    assert rows["weights, bits"].best == frozenset()
    assert "accuracy of the model" not in rows


def test_layers_are_found_by_name():
    sides = [Side("a", Report(facts(conv_design()))), Side("b", Report(facts(unrolled_design())))]
    rows = {row.name: row.cells for row in layer_rows(sides)}
    assert rows["fc1"][0] == ""
    assert rows["fc1"][1].startswith("6 × 16, ")
    assert rows["conv1"][1] == ""


def test_pages_are_the_same_each_time_and_escape_what_they_show(tmp_path):
    report = whole_report(tmp_path)
    sides = [Side("a", report), Side("<b>", replace(report, build=None, runs=()))]
    text = sides_page(sides, run("compare"))
    assert text == sides_page(sides, run("compare"))
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    assert "planned for this page" in text
    assert "a, placed" in text
    assert "&lt;b&gt;, placed" not in text
