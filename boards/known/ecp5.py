"""Boards with an ECP5."""

from functools import partial

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.colorlight_5a75b_r7_0 import Colorlight_5A75B_R70Platform
from amaranth_boards.ecpix5 import ECPIX545Platform, ECPIX585Platform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import LEDResources, SPIResource, UARTResource
from amaranth_boards.ulx3s import (
    ULX3S_12F_Platform,
    ULX3S_25F_Platform,
    ULX3S_45F_Platform,
    ULX3S_85F_Platform,
)

from xnorflow.boards.target import Target
from xnorflow.hw.families import find_device
from xnorflow.hw.families.ecp5 import ECP5_12F, ECP5_25F, ECP5_45F, ECP5_85F


__all__ = ["TARGETS", "ULX3S_85F"]

_LVCMOS33 = Attrs(IO_TYPE="LVCMOS33")


class _ColorlightI5(LatticeECP5Platform):
    """The i5, version 7.0, in its extension board, whose programmer has a UART.

    Source: github.com/wuxx/Colorlight-FPGA-Projects, schematic/i5_v6.0-extboard.pdf, and
    litex-boards' colorlight_i5.py.
    """

    device = "LFE5U-25F"
    package = "BG381"
    speed = "6"
    default_clk = "clk25"
    resources = (
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), _LVCMOS33),
        *LEDResources(pins="U16", invert=True, attrs=_LVCMOS33),
        UARTResource(0, rx="H18", tx="J17", attrs=_LVCMOS33),
    )
    connectors = ()


def _with(platform_class, *resources):
    """Platform with more resources."""
    platform = platform_class()
    platform.add_resources(resources)
    return platform


# Held low, it makes the ESP32 (with its first firmware) load another bitstream.
_WIFI_GPIO0 = Resource("wifi_gpio0", 0, Pins("L2", dir="o"), _LVCMOS33)
_PMOD_SPI = SPIResource(
    0, cs_n="1", copi="2", cipo="3", clk="4", role="peripheral", conn=("pmod", 0), attrs=_LVCMOS33
)
_FEATHER_UART = UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=_LVCMOS33)


def _ulx3s(device, platform_class):
    size = device.name[-3:]
    return Target(
        name=f"ulx3s-{size.lower()}",
        title=f"ULX3S {size}",
        device=device,
        platform=partial(_with, platform_class, _WIFI_GPIO0),
        clock=50_000_000,
        busy_led=("led", 0),
        refused_led=("led", 1),
        loader=("-b", "ulx3s"),
        high=("wifi_gpio0",),
    )


def _orangecrab(device, platform_class):
    size = device.name[-3:]
    return Target(
        name=f"orangecrab-{size.lower()}",
        title=f"OrangeCrab {size}",
        device=device,
        platform=partial(_with, platform_class, _FEATHER_UART),
        clock=48_000_000,
        loader=("-b", "orangeCrab"),
        wiring="a USB-UART of 3.3 V: its TX to pin 0 (RX), its RX to pin 1 (TX)",
    )


def _ecpix5(name, platform_class):
    size = name[-3:]
    return Target(
        name=f"ecpix5-{size.lower()}",
        title=f"ECPIX-5 {size}",
        device=find_device(name),
        platform=platform_class,
        clock=50_000_000,
        loader=("-b", "ecpix5"),
        spi=_PMOD_SPI,
    )


COLORLIGHT_5A75B = Target(
    name="colorlight-5a-75b",
    title="Colorlight 5A-75B",
    device=ECP5_25F,
    platform=Colorlight_5A75B_R70Platform,
    clock=25_000_000,
    loader=("-b", "colorlight"),
    wiring="a USB-UART of 3.3 V: its TX to KEY+ of J19, its RX to DATA_LED- of J19; and a JTAG "
    "cable to J27 to J30, which `xnorflow flash` gets as --cable",
)

COLORLIGHT_I5 = Target(
    name="colorlight-i5",
    title="Colorlight i5",
    device=ECP5_25F,
    platform=_ColorlightI5,
    clock=50_000_000,
    busy_led=("led", 0),
    loader=("-b", "colorlight-i5"),
)

ULX3S_85F = _ulx3s(ECP5_85F, ULX3S_85F_Platform)

TARGETS = (
    COLORLIGHT_5A75B,
    COLORLIGHT_I5,
    _orangecrab(ECP5_25F, OrangeCrabR0_2_25FPlatform),
    _orangecrab(ECP5_85F, OrangeCrabR0_2_85FPlatform),
    _ecpix5("LFE5UM5G-45F", ECPIX545Platform),
    _ecpix5("LFE5UM5G-85F", ECPIX585Platform),
    _ulx3s(ECP5_12F, ULX3S_12F_Platform),
    _ulx3s(ECP5_25F, ULX3S_25F_Platform),
    _ulx3s(ECP5_45F, ULX3S_45F_Platform),
    ULX3S_85F,
)
