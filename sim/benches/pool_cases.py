# amaranth: UnusedElaboratable=no
"""Units that pool or upsample, each with words that it gets and words that it must deliver."""

from typing import Any

import numpy as np
import torch

from xnorflow import ir
from xnorflow.hw.ops.overlapping_pool import OverlappingPool, OverlappingPoolStage
from xnorflow.hw.ops.pooling import SumPool, SumPoolStage
from xnorflow.hw.ops.upsample import Upsample, UpsampleStage
from xnorflow.ir import INPUT, FeatureMap, UInt
from xnorflow.sim.benches.cases import VECTORS, Case, Word
from xnorflow.sw.golden import define
from xnorflow.sw.kernels import Values


__all__ = ["POOL_CASES"]


def pool_cases() -> dict[str, Case]:
    """Units of a small network of pools, and the maps that they must deliver."""
    rng = np.random.default_rng(7)
    frame = FeatureMap(5, 6, 4, UInt(3))
    bits = ir.Threshold("bits", INPUT, rng.integers(2, 6, 4))
    inverted = np.array([False, True, False, True])
    largest = ir.MaxPool("largest", "bits", 3, inverted, stride=1, padding=1)
    codes = ir.MaxPool("codes", INPUT, (3, 2), stride=(2, 1), padding=(1, 1, 0, 1))
    sums = ir.SumPool("sums", "codes", 2, stride=1, padding=(0, 0, 1, 1))
    ones = ir.SumPool("ones", "largest", (2, 3))
    up = ir.Upsample("up", "codes", (2, 3))
    maps, values = {INPUT: frame}, {INPUT: torch.tensor(rng.integers(0, 8, (VECTORS, 5, 6, 4)))}
    for node in (bits, largest, codes, sums, ones, up):
        maps[node.name] = node.infer(maps[node.source])
        values[node.name] = define(node, Values(values[node.source])).map

    def words(name: str) -> list[Word]:
        return [{"lanes": word} for word in values[name].reshape(-1, 2).int().tolist()]

    def case(unit: Any, stage: Any, node: ir.Node, completing: int) -> Case:
        source = maps[node.source]
        cycles = stage(node, source, 2).busy
        dut = unit(node, source, lanes=2)
        return Case(dut, words(node.source), words(node.name), cycles, dut.latency, completing)

    overlapping = OverlappingPool, OverlappingPoolStage
    # The second pixel of the second row completes a window; of pairs, the first one of it.
    return {
        "overlapping_max_pool_bits": case(
            OverlappingPool, OverlappingPoolStage, largest, (6 + 1) * 2
        ),
        "overlapping_max_pool_codes": case(
            OverlappingPool, OverlappingPoolStage, codes, (6 + 1) * 2
        ),
        "overlapping_sum_pool": case(*overlapping, sums, 6 * 2),
        "upsample": case(Upsample, UpsampleStage, up, 0),
        "sum_pool_bits": case(SumPool, SumPoolStage, ones, (6 + 2) * 2),
    }


POOL_CASES = pool_cases()
