"""Explorations, as a user types them."""

import json

import pytest

from xnorflow.boards.report import Timing, Usage
from xnorflow.boards.route import Placement
from xnorflow.errors import DesignError
from xnorflow.explore import placing
from xnorflow.hw.families.device import Cell


def test_an_estimate_places_nothing(cli, files, monkeypatch):
    monkeypatch.setattr(placing, "place", pytest.fail)
    boards = "--board", "icebreaker", "--board", "upduino3", "--board", "icestick"
    code, out, err = cli("explore", "net.xnf", *boards, "--estimate", "--points", 3, "-o", "new")
    assert code == 0, err
    assert "random-mlp-1 on iCEBreaker" in out
    assert "random-mlp-1 on UPduino 3" in out
    assert "left out: random-mlp-1 does not fit iCE40HX1K at " in out
    assert out.count("★") >= 4
    assert "the page is in new/explore.html" in out
    assert "  xnorflow build net.xnf --board icebreaker --fastest --clock 12 -o out\n" in out
    results = json.loads((files / "new" / "explore.json").read_text())["results"]
    assert [result["found"] for result in results] == [None] * 6
    text = (files / "new" / "explore.html").read_text()
    assert "nothing is placed yet" in text
    assert "random-mlp-1 on iCEBreaker, estimated</text>" in text
    code, out, err = cli("explore", "net.xnf", "--board", "icestick", "--estimate")
    assert code == 1
    assert err.startswith("error: random-mlp-1 does not fit iCE40HX1K at ")


def test_a_design_that_fails_ends_no_other(cli, files, monkeypatch, tmp_path):
    def place(design, target, folder, **_):
        if design.cycles_per_frame > 10:
            raise DesignError("no room")
        usage = {Cell.LUT: Usage(1500, 5280)}
        return [Placement(1, usage, Timing(25e6, None))]

    monkeypatch.setattr(placing, "place", place)
    monkeypatch.setenv("XNORFLOW_CACHE", str(tmp_path / "cache"))
    arguments = "explore", "net.xnf", "--board", "icebreaker", "--points", 2, "--workers", 1
    code, out, err = cli(*arguments)
    assert code == 0, err
    assert "--fastest: 1,500 LUTs, 25.0 MHz, " in out
    assert "--cycles 1920: no room" in out
    assert "--fastest --clock 24.75 --seed 1 --seeds 4 -o out" in out
    assert "no room" in (files / "explore" / "explore.html").read_text()
    assert ", known" in cli(*arguments)[1]


def test_it_is_an_error_if_nothing_can_be_placed(cli, files, monkeypatch, tmp_path):
    def place(*_, **__):
        raise DesignError("no room")

    monkeypatch.setattr(placing, "place", place)
    monkeypatch.setenv("XNORFLOW_CACHE", str(tmp_path / "cache"))
    code, _, err = cli("explore", "net.xnf", "--board", "icebreaker", "--points", 2, "--workers", 1)
    assert (code, err) == (1, "error: no design could be placed and routed\n")
