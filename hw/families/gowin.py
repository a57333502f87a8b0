"""Gowin's LittleBee and Arora."""

from xnorflow.hw.families.device import Family


__all__ = ["GOWIN"]

GOWIN = Family(
    name="Gowin",
    lut_inputs=4,
    levels_per_stage=3,
    adders_from=64,
    synthesis="synth_gowin",
    bare_options=("-noiopads",),
    no_carries="-noalu",
)
