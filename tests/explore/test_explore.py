"""Explorations: which designs, which of them are worth it, and what is kept of what was placed."""

from dataclasses import replace

import pytest

from tests.hw.networks import random_mlp
from xnorflow.boards.report import Timing, Usage
from xnorflow.boards.route import Placement
from xnorflow.boards.targets import ICEBREAKER, find_target
from xnorflow.boards.top import fastest_clock, line_cycles
from xnorflow.errors import DesignError
from xnorflow.explore import placing
from xnorflow.explore.front import designs
from xnorflow.explore.pareto import best, groups, pareto
from xnorflow.explore.placing import Found, Point, Result, point_of, results
from xnorflow.hw.families.device import Cell
from xnorflow.parallel import Workers
from xnorflow.report.facts import CostFacts


NETWORK = random_mlp(1)
FASTEST = 1
"""Cycles a frame of its fastest design on an iCEBreaker."""


def result(luts, rate, *, placed=True, error=None, board="icebreaker"):
    """A result of one cycle a frame, so that its clock is its rate."""
    point = Point(
        "net.xnf", "net", board, "Board", "FPGA", "--cycles 1", rate, 1, 1, 5, CostFacts(luts),
    )  # fmt: skip
    found = Found(3, rate, 20_000_000, CostFacts(luts), "") if placed else None
    return Result(point, found, error)


def test_designs_go_from_the_smallest_to_the_fastest():
    found = designs(NETWORK, ICEBREAKER, count=6)
    rates = [choice.design.cycles_per_frame for choice in found]
    assert rates == sorted(set(rates), reverse=True)
    assert len(found) == 6
    assert found[0].option == f"--cycles {line_cycles(NETWORK.input, 12_000_000, 1_000_000)}"
    assert found[-1].option == "--fastest"
    assert all(choice.cycles >= choice.design.cycles_per_frame for choice in found[:-1])
    # Where there are no more, it ends.
    assert 6 < len(designs(NETWORK, ICEBREAKER, count=100)) < 40


def test_the_front_has_what_nothing_is_better_than():
    rows = [result(100, 5.0), result(100, 6.0), result(120, 6.0), result(90, 1.0), result(300, 9.0)]
    failed = replace(result(1, 99.0), error="no place", found=None)
    assert pareto([*rows, failed]) == [rows[3], rows[1], rows[4]]
    assert best(rows) == rows[4]
    assert best([failed]) is None
    # What is placed is not held against estimates.
    estimated = result(80, 70.0, placed=False)
    assert pareto([*rows, estimated])[-1] == rows[4]
    assert pareto([estimated]) == [estimated]


def test_each_board_has_a_front():
    found = groups([result(1, 1.0), result(1, 2.0, board="upduino3"), result(2, 3.0)])
    assert [len(rows) for rows in found.values()] == [2, 1]


@pytest.fixture
def placed(monkeypatch, tmp_path):
    """A place and route that takes no time, and refuses the fastest design; gives its calls."""
    monkeypatch.setenv("XNORFLOW_CACHE", str(tmp_path))
    calls = []

    def place(design, target, folder, *, clock, seeds):
        calls.append((design.cycles_per_frame, clock, list(seeds)))
        if design.cycles_per_frame == FASTEST:
            raise DesignError("too large")
        usage = {Cell.LUT: Usage(1234, 5280), Cell.BLOCK_RAM: Usage(3, 30)}
        return [Placement(2, usage, Timing(21.4e6, None)), Placement(1, usage, Timing(2e6, None))]

    monkeypatch.setattr(placing, "place", place)
    return calls


def test_no_point_is_placed_twice(placed):
    chosen = designs(NETWORK, ICEBREAKER, count=3)
    points = [
        (point_of(choice, "net.xnf", "icebreaker", clock=None, seeds=2), choice)
        for choice in chosen
    ]
    first = next(results(points, workers=Workers(1)))
    assert first.found == Found(2, 21.4e6, 21_000_000, CostFacts(1234, 3), "")
    assert first.frames_per_second == 21.4e6 / first.point.cycles_per_frame
    assert first.command == (
        f"xnorflow build net.xnf --board icebreaker {first.point.option} --clock 21 "
        "--seed 2 --seeds 4"
    )
    found = list(results(points, workers=Workers(1)))
    assert [each.known for each in found] == [True, False, False]
    assert found[0] == replace(first, known=True)
    assert found[2].error == "too large"
    rates = [choice.design.cycles_per_frame for choice in chosen]
    assert placed == [(rate, 12_000_000, [1, 2]) for rate in rates]
    # Another clock, or more seeds, are other points.
    other = [
        (replace(points[0][0], seeds=1), chosen[0]),
        (replace(points[0][0], clock=1), chosen[0]),
    ]
    list(results(other, workers=Workers(1)))
    assert len(placed) == 5


def test_clocks_are_those_that_the_board_and_the_line_work_with():
    assert fastest_clock(ICEBREAKER, 11.9e6, 1_000_000) is None
    assert fastest_clock(ICEBREAKER, 15.9e6, 1_000_000) == 12_000_000
    # 16.5 MHz would be 3 % off a million baud.
    assert fastest_clock(ICEBREAKER, 16.5e6, 1_000_000) == 12_000_000
    assert fastest_clock(ICEBREAKER, 17.3e6, 1_000_000) == 17_250_000
    without_pll = find_target("tang-primer-25k")
    assert fastest_clock(without_pll, 200e6, 1_000_000) == without_pll.oscillator
