"""Board, as far as a build needs to know it."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build import Platform, Resource

from xnorflow.hw.families.device import Device


__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """A board.

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
    busy_led, refused_led : tuple of str and int, optional
        Resources of two LEDs.
    loader : tuple of str
        Options of openFPGALoader for it; none if it cannot load it.
    loading : str
        How a bitstream gets there, if not with that.
    wiring : str
        What must be soldered or wired before it can talk to a host.
    high : tuple of str
        Resources that are to be driven high.
    spi : Resource, optional
        Pins of an SPI peripheral, for a microcontroller, if the platform has no ``spi`` number 0.
    """

    name: str
    title: str
    device: Device
    platform: Callable[[], Platform]
    clock: int
    busy_led: tuple[str, int] | None = None
    refused_led: tuple[str, int] | None = None
    loader: tuple[str, ...] = ()
    loading: str = ""
    wiring: str = ""
    high: tuple[str, ...] = ()
    spi: Resource | None = None

    @property
    def oscillator(self) -> int:
        """Frequency of the board's clock in Hz."""
        return int(self.platform().default_clk_frequency)
