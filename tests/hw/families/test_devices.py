import re

import pytest

from xnorflow.errors import DesignError
from xnorflow.hw.families import DEVICES, find_device


def test_names_are_those_of_one_device():
    assert len(DEVICES) >= 20
    assert [find_device(device.name) for device in DEVICES] == list(DEVICES)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("iCE40HX8K-CT256", "iCE40HX8K"),
        ("ice40up5k-sg48", "iCE40UP5K"),
        ("LFE5U-45F-6BG381C", "LFE5U-45F"),
        ("LFE5UM5G-85F-8BG554C", "LFE5UM5G-85F"),
        ("GW1NR-LV9QN88PC6/I5", "GW1N-9C"),
        ("GW2AR-LV18QN88C8/I7", "GW2A-18C"),
        ("GW5A-LV25MG121NC1/I0", "GW5A-25A"),
        ("GW5AST-LV138FPG676AC1/I0", "GW5AST-138C"),
        ("CCGM1A1-BGA324", "CCGM1A1"),
        ("xc7a35tcsg324-1", "XC7A35T"),
    ],
)
def test_part_numbers(part, name):
    assert find_device(part).name == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("iCE40HX9K", "did you mean iCE40HX8K or iCE40HX4K or iCE40HX1K?"),
        ("LFE5U-855F", "did you mean LFE5U-85F or "),
        ("", "those that are known: iCE40LP1K, iCE40HX1K, "),
    ],
)
def test_an_unknown_device_is_refused_with_names_that_are_near(name, hint):
    message = f"there is no device {name!r}; {hint}"
    with pytest.raises(DesignError, match=f"^{re.escape(message)}"):
        find_device(name)
