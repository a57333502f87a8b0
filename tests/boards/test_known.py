"""What every board that is known must have."""

import pytest

from xnorflow.boards.targets import TARGETS, find_place
from xnorflow.errors import DesignError
from xnorflow.hw.families import find_device


each = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


def test_there_are_boards_of_all_families_with_tools():
    assert len({target.name for target in TARGETS}) == len(TARGETS) >= 20
    families = {target.device.family.name for target in TARGETS}
    assert families == {"iCE40", "ECP5", "Gowin", "Gowin Arora V", "GateMate"}


@each
def test_the_device_is_the_platform_s(target):
    platform = target.platform()
    assert find_device(getattr(platform, "part", None) or platform.device) is target.device


@each
def test_pins_are_there_and_are_different(target):
    platform = target.platform()
    clock = platform.request(platform.default_clk, dir="-")
    uart = platform.request("uart", 0, dir="-")
    ports = [clock, uart.rx, uart.tx]
    ports += [
        platform.request(*led, dir="-") for led in (target.busy_led, target.refused_led) if led
    ]
    pins = [pin.name for port in ports for pin in port.io.metadata]
    assert len(set(pins)) == len(pins) == len(ports)


@each
def test_it_is_said_how_a_bitstream_gets_there(target):
    assert bool(target.loader) != bool(target.loading)


def test_a_design_is_for_a_board_or_a_device():
    assert find_place(None, None).name == "ulx3s-85f"
    assert find_place("icestick", None).device is find_place(None, "iCE40HX1K")
    with pytest.raises(DesignError, match=r"^give only one of --board and --device"):
        find_place("icestick", "iCE40HX1K")
