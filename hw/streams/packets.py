"""Marks of frames on the input: what ``last`` says."""

from enum import Enum


__all__ = ["FramesPerPacket"]


class FramesPerPacket(Enum):
    """Frames between one ``last`` and the next (AXI4-Stream: TLAST, which ends a packet)."""

    ONE = "one"
    """A packet is a frame: a word that is missing or too much costs only that frame."""

    ANY = "any"
    """A packet holds any whole number of frames, as DMA transfers do: frames are counted."""
