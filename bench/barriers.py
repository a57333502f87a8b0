"""Block RAMs that dynamic thresholds cost, by the estimates.

    python bench/barriers.py

Folds two residual networks, with random weights, for three times an ECP5-85F, so that all of them
fit, and writes results/barriers.json. `python bench/tables.py` puts it into
docs/explanation/dynamic.md.
"""

from dataclasses import replace

import torch
from record import record
from rich.console import Console

from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.frame_buffer import FrameBufferStage
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.data import Dataset
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid


DEVICE = replace(
    ECP5_85F,
    luts=3 * ECP5_85F.luts,
    block_rams=3 * ECP5_85F.block_rams,
    multipliers=3 * ECP5_85F.multipliers,
)
CYCLES = 18_432
NETWORKS = "resnet8", "resnet20"
METHODS = (
    ResidualMethod.REACTNET,
    ResidualMethod.DYBNN,
    ResidualMethod.DYBNN_SEPARATE,
    ResidualMethod.SIMAN_MEAN,
)


def main() -> None:
    """Fold, print and record."""
    console = Console()
    rows = []
    pixels = IntegerPixels(*Dataset.CIFAR10.normalisation)
    for named in NETWORKS:
        for method in METHODS:
            torch.manual_seed(1)
            spec = ModelSpec(named, Task((3, 32, 32), 10, pixels), {"method": method.value})
            frame = FeatureMap(32, 32, 3, UInt(8))
            model = prepare(spec.build().eval(), Grid(score_bits=10), frame)
            design = fold(lower(model), DEVICE, cycles=CYCLES)
            waiting = {
                stage: design.depths[stage.name]
                for stage in design.stages
                if isinstance(stage, FrameBufferStage)
            }
            rows.append({
                "network": named,
                "method": method.value,
                "cycles_per_frame": design.cycles_per_frame,
                "block_rams": estimate(design).block_rams,
                "block_rams_of_frames": sum(
                    stage.resources(DEVICE, depth).block_rams for stage, depth in waiting.items()
                ),
                "words_beyond_a_frame": [
                    round(depth / stage.words - 1, 3) for stage, depth in waiting.items()
                ],
            })
            console.print(rows[-1])
    record("barriers", "python bench/barriers.py", ["amaranth", "torch"], rows)


if __name__ == "__main__":
    main()
