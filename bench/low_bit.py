"""LUTs of a dense layer with weights and activations of 1 and 2 bits.

    python bench/low_bit.py

A layer of 256 neurons and 256 synapses, folded to 32 PE and 32 SIMD on an ECP5, synthesised and
packed. Its weights are random: −1 and 1, or of 2 bits −1, 0 and 1. Figures are for each product and
cycle, of which there are 1,024.
"""

import numpy as np
from record import record
from synthesis import PACKAGES, measure_component

from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.binary_conv import BinaryConvStage
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import BinaryConv, Bit, FeatureMap, UInt


SIDE, FOLD = 256, 32


def main() -> None:
    """Measure all of them."""
    rows = [measure(weights, activations) for weights, activations in ((1, 1), (1, 2), (2, 2))]
    one = rows[0]["luts"]
    for row in rows:
        print(
            f"{row['weights']}W{row['activations']}A: {row['luts'] / FOLD**2:.2f} LUTs a product "
            f"and cycle, {row['luts'] / one:.2f} times 1W1A"
        )
    record("low_bit", "python bench/low_bit.py", PACKAGES, rows)


def measure(weights: int, activations: int) -> dict[str, int]:
    """LUTs and block RAMs of one layer."""
    rng = np.random.default_rng(0)
    shape = SIDE, 1, 1, SIDE
    mask = rng.random(shape) < 2 / 3 if weights == 2 else None
    bits = rng.random(shape) < 0.5
    node = BinaryConv(
        "layer", "x", bits if mask is None else bits & mask, bits=activations, mask=mask
    )
    source = FeatureMap(1, 1, SIDE, Bit() if activations == 1 else UInt(activations))
    layer = BinaryConvStage(node, source, Folding(FOLD, FOLD))
    found = measure_component(layer.build(ECP5_85F, 0), ECP5_85F)
    return {
        "weights": weights,
        "activations": activations,
        "luts": found.luts,
        "block_rams": found.block_rams,
    }


if __name__ == "__main__":
    main()
