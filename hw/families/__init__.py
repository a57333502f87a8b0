"""FPGA families: everything that is particular to one is in its file here."""

from xnorflow.hw.families.ecp5 import ECP5
from xnorflow.hw.families.gowin import GOWIN
from xnorflow.hw.families.ice40 import ICE40
from xnorflow.hw.families.xilinx7 import XILINX7


__all__ = ["FAMILIES"]

FAMILIES = (ICE40, ECP5, GOWIN, XILINX7)
"""All of them."""
