# amaranth: UnusedElaboratable=no
"""Units of residual streams, and of what follows from the frame."""

from typing import Any

import numpy as np

from xnorflow import ir
from xnorflow.hw.ops.affine import Affine
from xnorflow.hw.ops.dynamic_threshold import DynamicThreshold
from xnorflow.hw.ops.dynamic_two_slope import DynamicTwoSlope
from xnorflow.hw.ops.elementwise import Add, Concat
from xnorflow.hw.ops.frame_buffer import FrameBuffer
from xnorflow.hw.ops.overlapping_pool import OverlappingPool
from xnorflow.hw.ops.pad_channels import PadChannels
from xnorflow.hw.ops.pooling import SumPool
from xnorflow.hw.ops.subsample import Subsample
from xnorflow.hw.ops.two_slope import TwoSlope
from xnorflow.hw.streams.width_converters import WidthDivider
from xnorflow.hw.streams.words import lane_layout, value_shape
from xnorflow.ir import INPUT, FeatureMap, Network, Rounding, UInt
from xnorflow.sim.benches.cases import VECTORS, Case, Word, words_of
from xnorflow.sw.golden import golden


__all__ = ["dynamic_cases", "residual_cases"]


def residual_cases() -> dict[str, Case]:
    """Units of residual streams, and the maps that they must deliver."""
    rng = np.random.default_rng(5)
    rows, columns = np.arange(9)[:, None] // 4, np.arange(10) // 9
    grid = Rounding(4, 10)
    stem = ir.IntegerConv("stem", INPUT, rng.integers(-127, 128, (4, 1, 1, 2)))
    norm = ir.Affine(
        "norm", "stem", rng.integers(-2, 3, 4), rng.integers(-9999, 9999, (6, 4)),
        classes=5 - (2 * rows + columns), rounding=grid,
    )  # fmt: skip
    act = ir.TwoSlope("act", "norm", rng.integers(-40, 40, 4), rng.integers(-40, 40, 4), grid)
    add = ir.Add("add", "act", "norm", 10)
    both = ir.Concat("both", "add", "act")
    every = ir.Concat("every", "sub", "joined", ("peak", "joined"))
    pad = ir.PadChannels("pad", "both", 2, 4)
    sub = ir.Subsample("sub", "pad", 2)
    peak = ir.MaxPool("peak", "pad", 3, stride=2, padding=1)
    joined = ir.Add("joined", "sub", "peak", 10)
    pool = ir.AveragePool("pool", "every", 2)
    total = ir.GlobalSum("total", "pool")
    network = Network(
        "residual", FeatureMap(9, 10, 2, UInt(8)),
        (
            stem, norm, act, add, both, pad, sub, peak, joined, every, pool, total,
            ir.ArgMax("label", "total"),
        ),
        tuple(map(str, range(56))),
    )  # fmt: skip
    frames = rng.integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps

    def words(name: str, lanes: int) -> list[Word]:
        return words_of(maps[name].flatten(1).numpy(), lanes)

    def case(
        unit: Any, node: Any, lanes: int, latency: int | None, completing: int = 0, cycles: int = 0
    ) -> Case:
        inputs, *others = (words(source, lanes) for source in node.sources)
        expected = words(node.name, lanes)
        cycles = cycles or max(len(inputs), len(expected)) // VECTORS
        more = {f"i_other{n}": each for n, each in enumerate(others[1:], 2)}
        return Case(
            unit, inputs, expected, cycles, latency, completing, others=(others or [[]])[0],
            more=more,
        )  # fmt: skip

    x = network.maps
    affine = Affine(norm, x["stem"], lanes=2)
    slopes = TwoSlope(act, x["norm"], lanes=2)
    divider = WidthDivider(x["stem"], lanes=2, ratio=2, words=2)
    mean, sums = (SumPool(node, x[node.source], lanes=2) for node in (pool, total))
    return {
        "affine_classes": case(affine, norm, 2, affine.latency),
        "two_slope": case(slopes, act, 2, slopes.latency),
        "add": case(Add(add, x["act"], x["norm"], lanes=2), add, 2, Add.latency),
        "concat": case(Concat(both, x["add"], x["act"], lanes=2), both, 2, Concat.latency),
        "concat_of_many": case(
            Concat(every, *(x[name] for name in every.sources), lanes=2), every, 2, Concat.latency
        ),
        # Zeros come before the first word is taken.
        "pad_channels": case(PadChannels(pad, x["both"], lanes=2), pad, 2, None),
        "subsample": case(Subsample(sub, x["pad"], lanes=2), sub, 2, Subsample.latency),
        # The second pixel of the second row completes a window, the last one a frame.
        "overlapping_pool": case(
            OverlappingPool(peak, x["pad"], lanes=2), peak, 2, OverlappingPool.latency,
            (10 + 1) * 7, cycles=10 * 10 * 7,
        ),
        "average_pool": case(mean, pool, 2, mean.latency, (5 + 1) * 28),
        "global_sum": case(sums, total, 2, sums.latency, 3 * 28),
        "width_divider": Case(
            divider, words("stem", 4), words("stem", 2), 180, divider.latency
        ),
    }  # fmt: skip


def dynamic_cases() -> dict[str, Case]:
    """Units whose constants the frame brings along, and the maps that they must deliver."""
    rng = np.random.default_rng(6)
    grid, wide = Rounding(4, 10), Rounding(0, 24)
    ones = np.ones(2, np.int64)
    stem = ir.IntegerConv("stem", INPUT, rng.integers(-127, 128, (4, 1, 1, 2)))
    x = ir.Affine("x", "stem", ones[[0] * 4], rng.integers(-99, 99, 4), rounding=grid)
    sums = ir.GlobalSum("sums", "x")
    excite = ir.IntegerConv("excite", "sums", rng.integers(-9, 10, (13, 1, 1, 4)))
    shifts = ir.Affine("shifts", "excite", ones[[0] * 13], 0 * ones[[0] * 13], rounding=grid)
    bits = ir.DynamicThreshold("bits", "x", "shifts")
    positive, negative = rng.integers(-40, 40, (2, 4))
    act = ir.DynamicTwoSlope("act", "x", "shifts", positive, negative, grid, first=4)
    dense = ir.BinaryConv("dense", "bits", rng.random((2, 4, 5, 4)) < 0.5)
    total = ir.GlobalSum("total", "act")
    point = ir.IntegerConv("point", "total", rng.integers(-9, 10, (2, 1, 1, 4)))
    network = Network(
        "dynamic", FeatureMap(4, 5, 2, UInt(8)),
        (
            stem, x, sums, excite, shifts, bits, act, dense, total, point,
            ir.Affine("left", "dense", ones, 0 * ones, rounding=wide),
            ir.Affine("right", "point", ones, 0 * ones, rounding=wide),
            ir.Add("scores", "left", "right", 25), ir.ArgMax("label", "scores"),
        ),
        ("a", "b"),
    )  # fmt: skip
    frames = rng.integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps

    def words(name: str, lanes: int) -> list[Word]:
        return words_of(maps[name].flatten(1).numpy(), lanes)

    def case(unit: Any, delivered: str, latency: int | None) -> Case:
        return Case(
            unit, words("x", 2), words(delivered, 2), 40, latency, others=words("shifts", 1),
            second="i_parameters",
        )  # fmt: skip

    source, parameters = network.maps["x"], network.maps["shifts"]
    compare = DynamicThreshold(bits, source, parameters, lanes=2)
    bend = DynamicTwoSlope(act, source, parameters, lanes=2)
    layouts = [lane_layout(value_shape(kind.type), n) for kind, n in ((source, 2), (parameters, 1))]
    buffer = FrameBuffer(
        layouts[0], 50, words=40, parameter_shape=layouts[1], parameter_words=13
    )  # fmt: skip
    return {
        "dynamic_threshold": case(compare, "bits", compare.latency),
        "dynamic_two_slope": case(bend, "act", bend.latency),
        "frame_buffer": case(buffer, "x", None),
    }
