"""The boards that bitstreams are built for."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build import Attrs, Pins, Platform, Resource
from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from xnorflow.errors import DesignError
from xnorflow.hw.families.device import Device
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K


__all__ = ["ICEBREAKER", "TARGETS", "ULX3S_85F", "Target", "find_target"]


@dataclass(frozen=True)
class Target:
    """A board, as far as a build needs to know it.

    Attributes
    ----------
    name : str
        As on the command line, and in file names.
    title : str
        As its makers write it.
    device : Device
    platform : callable
        Makes a fresh Amaranth platform, whose ``uart`` number 0 is the line to the host.
    clock : int
        Frequency of the accelerator in Hz, if not asked for another.
    busy_led, refused_led : tuple of str and int
        Resources of two LEDs.
    loader : tuple of str
        Command that loads a bitstream, given as its last argument.
    high : tuple of str
        Resources that are to be driven high.
    """

    name: str
    title: str
    device: Device
    platform: Callable[[], Platform]
    clock: int
    busy_led: tuple[str, int]
    refused_led: tuple[str, int]
    loader: tuple[str, ...]
    high: tuple[str, ...] = ()

    @property
    def oscillator(self) -> int:
        """Frequency of the board's clock in Hz."""
        return int(self.platform().default_clk_frequency)


def _ulx3s_85f() -> Platform:
    platform = ULX3S_85F_Platform()
    # Held low, it makes the ESP32 (with its first firmware) load another bitstream.
    wifi_gpio0 = Resource("wifi_gpio0", 0, Pins("L2", dir="o"), Attrs(IO_TYPE="LVCMOS33"))
    platform.add_resources([wifi_gpio0])
    return platform


ICEBREAKER = Target(
    name="icebreaker",
    title="iCEBreaker",
    device=UP5K,
    platform=ICEBreakerPlatform,
    clock=12_000_000,
    busy_led=("led_g", 0),
    refused_led=("led_r", 0),
    loader=("iceprog",),
)

ULX3S_85F = Target(
    name="ulx3s-85f",
    title="ULX3S 85F",
    device=ECP5_85F,
    platform=_ulx3s_85f,
    clock=50_000_000,
    busy_led=("led", 0),
    refused_led=("led", 1),
    loader=("openFPGALoader", "-b", "ulx3s"),
    high=("wifi_gpio0",),
)

TARGETS = (ICEBREAKER, ULX3S_85F)
"""All boards, the smallest first."""


def find_target(name: str) -> Target:
    """Return the board called ``name``.

    Raises
    ------
    DesignError
        If there is none.
    """
    for target in TARGETS:
        if target.name == name:
            return target
    names = ", ".join(target.name for target in TARGETS)
    raise DesignError(f"there is no board {name!r}; those that are known: {names}")
