"""Xilinx 7-series: for Verilog only, there is no place and route."""

from xnorflow.hw.families.device import Device, Family


__all__ = ["DEVICES", "XILINX7"]

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
    models="xilinx/cells_sim.v",
)


def _device(name, luts, block_rams, multipliers):
    # Block RAMs are counted as the halves that each of them is.
    return Device(
        name, XILINX7, luts, 2 * block_rams, 18432, (36, 18, 9, 4, 2, 1), multipliers, 18,
        clock=100_000_000,
    )  # fmt: skip


DEVICES = (
    _device("XC7Z010", 17600, 60, 80),
    _device("XC7A35T", 20800, 50, 90),
    _device("XC7Z020", 53200, 140, 220),
    _device("XC7A100T", 63400, 135, 240),
    _device("XC7A200T", 134600, 365, 740),
)
