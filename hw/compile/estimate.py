"""Costs of a design, estimated before anything is synthesised."""

from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design
from xnorflow.hw.families.device import Device


__all__ = ["GUARD", "LOADER", "common", "estimate"]

GUARD = 240
"""Guard, verdicts and gate."""

LOADER = 200
"""What takes loads and reads them back, where weights are loaded; tables have their own part."""


def estimate(design: Design) -> Resources:
    """Resources of the whole accelerator."""
    return sum(map(design.resources, design.stages), Resources(luts=common(design.device)))


def common(device: Device) -> int:
    """Look-up tables that an accelerator has besides its stages."""
    return GUARD + (LOADER if device.runtime_weights else 0)
