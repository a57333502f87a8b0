"""The report that commands write, as a user asks for it."""

import sys

import numpy as np
import pytest

from xnorflow.report.folder import load


def test_commands_share_a_report(cli, files):
    np.save(files / "labels.npy", np.array([0, 1, 2, 0, 1] * 4))
    np.save(files / "many.npy", np.concatenate([np.load(files / "frames.npy")] * 4))
    code, out, _ = cli("generate", "net.xnf", "-o", "out")
    assert code == 0
    assert "the report is in out/report.html" in out
    data = "--input", "many.npy", "--labels", "labels.npy"
    code, out, err = cli("simulate", "net.xnf", *data, "-o", "out")
    assert code == 0, err
    assert "the report is in out/report.html" in out
    report = load(files / "out" / "report.json")
    assert [run.command for run in report.runs] == ["generate", "simulate"]
    assert report.runs[0].line == "xnorflow generate net.xnf -o out"
    assert report.simulation.frames == 20
    assert report.simulation.latency == report.design.latency
    assert sum(map(sum, report.simulation.confusion)) == 20
    assert len(report.simulation.waits) == len(report.design.layers)
    text = (files / "out" / "report.html").read_text()
    assert "20 frames went through the simulated RTL" in text


def test_a_plan_may_have_a_report(cli, files):
    assert "report" not in cli("plan", "net.xnf")[1]
    assert not list(files.rglob("report.*"))
    code, out, _ = cli("plan", "net.xnf", "--board", "icebreaker", "--clock", "24", "-o", "out")
    assert code == 0
    assert "the report is in out/report.html" in out
    design = load(files / "out" / "report.json").design
    assert (design.board, design.clock) == ("icebreaker", 24_000_000)


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_what_a_page_needs_is_named(cli, files, monkeypatch, missing):
    for module in list(sys.modules):
        if module.startswith(("xnorflow.report.p", missing)):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    code, out, _ = cli("generate", "net.xnf", "-o", "out")
    assert code == 0
    assert out.endswith("for a report of this as a page, `pip install 'xnorflow[report]'`\n")
    assert (files / "out" / "report.json").exists()
    assert not (files / "out" / "report.html").exists()


def test_designs_are_shown_side_by_side(cli, files):
    assert cli("generate", "net.xnf", "-o", "a", "--board", "icebreaker", "--cycles", 16)[0] == 0
    boards = "--board", "ulx3s-85f", "--board", "icebreaker"
    code, out, err = cli("compare", "a", "net.xnf", *boards, "--fastest", "-o", "pages")
    assert code == 0, err
    (head,) = (line for line in out.splitlines() if " net.xnf on ULX3S 85F " in line)
    assert " a " in head
    assert "net.xnf on iCEBreaker" in head
    (cycles,) = (line for line in out.splitlines() if "cycles a frame" in line)
    assert [cell.strip() for cell in cycles.split("│")[2:5]] == ["16", "1", "2"]
    assert "the page is in pages/compare.html" in out
    assert "xnorflow generate net.xnf -o a" in (files / "pages" / "compare.html").read_text()

    code, _, err = cli("compare", "a")
    assert code == 1
    assert err.startswith("error: there is only one design to compare: ")
    (files / "a" / "report.json").unlink()
    code, _, err = cli("compare", "a", "a")
    assert (code, err) == (
        1, "error: a/report.json cannot be read: No such file or directory\n",
    )  # fmt: skip
