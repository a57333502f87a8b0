"""Costs of a design, estimated before anything is synthesised."""

from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design


__all__ = ["GUARD", "LOADER", "estimate"]

GUARD = 240
"""Guard, verdicts and gate."""

LOADER = 200
"""What takes loads and reads them back, where weights are loaded; tables have their own part."""


def estimate(design: Design) -> Resources:
    """Resources of the whole accelerator."""
    common = GUARD + (LOADER if design.device.runtime_weights else 0)
    return sum(map(design.resources, design.stages), Resources(luts=common))
