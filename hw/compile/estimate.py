"""Costs of a design, estimated before anything is synthesised."""

from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.design import Design


__all__ = ["estimate"]

_GUARD = 240
"""Guard, verdicts and gate."""


def estimate(design: Design) -> Resources:
    """Resources of the whole accelerator."""
    needs = (
        stage.resources(design.device, design.depths.get(stage.name)) for stage in design.stages
    )
    return sum(needs, Resources(luts=_GUARD))
