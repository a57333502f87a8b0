"""FPGA families: everything that is particular to one is in its file here."""

import re
from difflib import get_close_matches

from xnorflow.errors import DesignError
from xnorflow.hw.families import ecp5, gatemate, gowin, ice40, xilinx7
from xnorflow.hw.families.device import Device
from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.families.gatemate import GATEMATE
from xnorflow.hw.families.gowin import GOWIN, GOWIN5
from xnorflow.hw.families.ice40 import ICE40
from xnorflow.hw.families.xilinx7 import XILINX7


__all__ = ["DEVICES", "FAMILIES", "find_device", "near"]

FAMILIES = (ICE40, ECP5, GOWIN, GOWIN5, GATEMATE, XILINX7)
"""All of them."""

DEVICES = (
    *ice40.DEVICES, *ecp5.DEVICES, *gowin.DEVICES, *gatemate.DEVICES, *xilinx7.DEVICES
)  # fmt: skip
"""All devices."""


def find_device(name: str) -> Device:
    """Return the device of a name or part number, such as iCE40HX8K or LFE5U-45F-6BG381C.

    Raises
    ------
    DesignError
        If there is none.

    Examples
    --------
    >>> xnorflow.find_device("LFE5U-45F-6BG381C").name
    'LFE5U-45F'
    """
    for device in DEVICES:
        if re.match(rf"{re.escape(device.name)}(?![0-9])", name, re.I) or (
            device.part and re.match(device.part, name, re.I)
        ):
            return device
    raise DesignError(f"there is no device {name!r}; {near(name, [d.name for d in DEVICES])}")


def near(name: str, names: list[str]) -> str:
    """Say which of the names is meant, perhaps, or all of them."""
    similar = {each.lower(): each for each in names}
    found = get_close_matches(name.lower(), similar, n=3, cutoff=0.5)
    if found:
        return f"did you mean {' or '.join(similar[each] for each in found)}?"
    return f"those that are known: {', '.join(names)}"
