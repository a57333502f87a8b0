"""Lines between a board and its host."""

from enum import Enum


__all__ = ["Line"]


class Line(Enum):
    """Line that the packets of the link travel on."""

    UART = "uart"
    """A serial line, to a USB adapter or a microcontroller."""

    SPI = "spi"
    """Pins of an SPI peripheral, for a microcontroller."""
