"""Xilinx 7-series."""

from xnorflow.hw.families.device import Family


__all__ = ["XILINX7"]

XILINX7 = Family(
    name="7-series",
    lut_inputs=6,
    levels_per_stage=3,
    adders_from=1,
    luts_per_added_synapse=1.4,
    luts_per_partial_product=2.2,
    synthesis="synth_xilinx -family xc7 -abc9",
    bare_options=("-noiopad", "-noclkbuf", "-nodsp"),
    no_carries="-nocarry",
)
