# amaranth: UnusedElaboratable=no
import re
from dataclasses import replace
from functools import cache

import pytest

from tests.hw.networks import random_mlp
from xnorflow.boards.line import Line
from xnorflow.boards.targets import ICEBREAKER, TARGETS, ULX3S_85F, find_target
from xnorflow.boards.top import BoardTop, highest_serial_clock, line_divisor
from xnorflow.errors import DesignError
from xnorflow.hw.compile.plan import plan as plan_design
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import UInt


def tiny_design(target):
    network = random_mlp(1)
    foldings = {name: Folding(1, 1) for name in ("fc1", "fc2", "fc3")}
    return plan_design(network, foldings, 1, target.device)


def make_plan(target, clock=None, line=Line.UART):
    """Files of a build."""
    design, clock = tiny_design(target), clock or target.clock
    top = BoardTop(design, target, clock=clock, baud=1_000_000, line=line)
    return target.platform().build(top, do_build=False).files


plan = cache(make_plan)


def test_icebreaker_pins():
    constraints = plan(ICEBREAKER)["top.pcf"]
    for line in (
        "set_io clk12_0__io 35",
        "set_io uart_0__rx__io 6",
        "set_io uart_0__tx__io 9",
        "set_io led_g_0__io 37",
        "set_io led_r_0__io 11",
        "set_frequency clk12_0__io 12.0",
    ):
        assert line in constraints


def test_ulx3s_pins():
    constraints = plan(ULX3S_85F)["top.lpf"]
    for pin, site in (
        ("clk25_0__io", "G2"),
        ("uart_0__rx__io", "M1"),
        ("uart_0__tx__io", "L4"),
        ("led_0__io", "B2"),
        ("led_1__io", "C2"),
        ("wifi_gpio0_0__io", "L2"),
    ):
        assert f'LOCATE COMP "{pin}" SITE "{site}";' in constraints
    assert 'FREQUENCY PORT "clk25_0__io" 25000000.0 HZ;' in constraints


@pytest.mark.parametrize(
    ("name", "file", "pins"),
    [
        ("icestick", "top.pcf", ["cs__io 78", "copi__io 79", "cipo__io 80", "clk__io 81"]),
        ("ecpix5-45f", "top.lpf", ['cs__io" SITE "T25"', 'clk__io" SITE "V24"']),
    ],
)
def test_spi_is_at_a_pmod(name, file, pins):
    files = plan(find_target(name), line=Line.SPI)
    assert all(f"spi_0__{pin}" in files[file] for pin in pins)
    assert "uart" not in files[file]


@pytest.mark.parametrize("target", [target for target in TARGETS if target.spi is not None])
def test_pins_of_spi_are_free(target):
    assert plan(target, line=Line.SPI)


def test_a_board_without_pins_for_spi():
    message = (
        "the ULX3S 85F names no pins for SPI: a board of your own has them as a resource spi with "
        "cs, clk, copi and cipo"
    )
    with pytest.raises(DesignError, match=f"^{message}$"):
        make_plan(ULX3S_85F, line=Line.SPI)


def test_the_highest_serial_clock():
    design = tiny_design(ICEBREAKER)  # of 16 bytes in fewer cycles than a line takes
    assert highest_serial_clock(design, 12_000_000) == 3_000_000
    slow = plan_design(random_mlp(1, widths=(120, 5)), design.foldings, 1, UP5K)
    assert slow.cycles_per_frame == 1920
    assert highest_serial_clock(slow, 12_000_000) == 12_000_000 * 128 // 1920


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-85f", "tang-nano-9k", "gatemate-a1-evb"])
def test_a_plan_is_deterministic(name):
    target = find_target(name)
    assert make_plan(target) == plan(target)


def test_only_another_clock_takes_a_pll():
    assert "SB_PLL40_PAD" not in plan(ICEBREAKER)["top.il"]
    assert "SB_PLL40_PAD" in plan(ICEBREAKER, clock=24_000_000)["top.il"]
    assert "EHXPLLL" in plan(ULX3S_85F)["top.il"]
    assert "EHXPLLL" not in plan(ULX3S_85F, clock=25_000_000)["top.il"]


def test_finds_targets_by_name():
    assert [find_target(target.name) for target in TARGETS] == list(TARGETS)
    message = "there is no board 'ulx3s-86f'; did you mean ulx3s-85f or ulx3s-45f or ulx3s-25f?"
    with pytest.raises(DesignError, match=f"^{re.escape(message)}$"):
        find_target("ulx3s-86f")
    with pytest.raises(DesignError, match=r"^there is no board 'x'; those that are known: ices"):
        find_target("x")


def test_divisors():
    assert line_divisor(12_000_000, 1_000_000) == 12
    assert line_divisor(12_000_000, 115_200) == 104
    assert line_divisor(12_000_000, 3_000_000) == 4
    assert line_divisor(100_000_000, 3_000_000) == 33


@pytest.mark.parametrize(("clock", "baud"), [(12_000_000, 4_000_000), (12_000_000, 2_500_000)])
def test_refuses_a_baud_rate_that_the_clock_cannot_make(clock, baud):
    with pytest.raises(DesignError, match=rf"^a clock of 12 MHz does not give {baud} baud$"):
        line_divisor(clock, baud)


@pytest.mark.parametrize(
    ("bits", "first", "fits"),
    [(8, 120, True), (8, 121, False), (12, 240, True), (12, 241, False)],
)
def test_refuses_a_design_that_the_line_is_faster_than(bits, first, fits):
    """Bytes that nothing takes would be lost."""
    network = random_mlp(1, widths=(first, 5))  # of 16 pixels, 160 or 320 bits on the line
    network = replace(network, input=replace(network.input, type=UInt(bits)))
    design = plan_design(network, dict.fromkeys(("fc1", "fc2", "fc3"), Folding(1, 1)), 1, UP5K)
    assert design.cycles_per_frame == 16 * first
    if fits:
        top = BoardTop(design, ICEBREAKER, clock=12_000_000, baud=1_000_000)
        assert ICEBREAKER.platform().build(top, do_build=False).files
        return
    text = (
        f"takes {16 * first} cycles a frame, but the line brings one every {16 * (first - 1)}: "
        "fold it for at most that"
    )
    with pytest.raises(DesignError, match=f"^random-mlp-1 {text}$"):
        BoardTop(design, ICEBREAKER, clock=12_000_000, baud=1_000_000)
