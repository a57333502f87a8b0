"""Lines between a board and its host."""

from enum import Enum


__all__ = ["BAUD", "Line"]

BAUD = 1_000_000
"""Bits per second on a serial line that boards are built for, if for no others."""


class Line(Enum):
    """Line that the packets of the link travel on."""

    UART = "uart"
    """A serial line, to a USB adapter or a microcontroller."""

    SPI = "spi"
    """Pins of an SPI peripheral, for a microcontroller."""
