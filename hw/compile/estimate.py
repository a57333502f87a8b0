"""Costs of a design, estimated before anything is synthesised."""

from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design


__all__ = ["GUARD", "estimate"]

GUARD = 240
"""Guard, verdicts and gate."""


def estimate(design: Design) -> Resources:
    """Resources of the whole accelerator."""
    return sum(map(design.resources, design.stages), Resources(luts=GUARD))
