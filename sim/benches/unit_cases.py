# amaranth: UnusedElaboratable=no
"""Units of networks, each with words that it gets and words that it must deliver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth import unsigned
from numpy.typing import NDArray

from xnorflow import ir
from xnorflow.hw.arithmetic.popcount import Popcount
from xnorflow.hw.families import FAMILIES
from xnorflow.hw.ops.affine import Affine
from xnorflow.hw.ops.argmax import ArgMax, Scores
from xnorflow.hw.ops.binary_conv import MatrixVectorUnit
from xnorflow.hw.ops.dynamic_threshold import DynamicThreshold
from xnorflow.hw.ops.dynamic_two_slope import DynamicTwoSlope
from xnorflow.hw.ops.elementwise import Add, Concat
from xnorflow.hw.ops.frame_buffer import FrameBuffer
from xnorflow.hw.ops.integer_conv import IntegerMatrixVectorUnit
from xnorflow.hw.ops.overlapping_pool import OverlappingPool
from xnorflow.hw.ops.pad_channels import PadChannels
from xnorflow.hw.ops.pooling import MaxPool, SumPool
from xnorflow.hw.ops.sliding_window import SlidingWindowStage, SlidingWindowUnit
from xnorflow.hw.ops.subsample import Subsample
from xnorflow.hw.ops.threshold import MultiThreshold, Threshold
from xnorflow.hw.ops.two_slope import TwoSlope
from xnorflow.hw.ops.windows import Windows
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.fork import Fork
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.width_converters import WidthConverter, WidthDivider
from xnorflow.hw.streams.words import lane_layout, value_shape
from xnorflow.ir import INPUT, FeatureMap, Gate, Network, Rounding, UInt
from xnorflow.sw.golden import golden


__all__ = ["POPCOUNTS", "UNIT_CASES", "VECTORS", "Case", "Word"]

VECTORS = 6
"""Vectors that a unit gets in a test."""

Word = Mapping[str, Any]
"""Fields of a payload. Lists may be short: what they lack means nothing."""


@dataclass(frozen=True)
class Case:
    """A unit with an input stream ``i``, what it gets, and what it must deliver.

    Attributes
    ----------
    unit : Component
        The hardware.
    inputs, expected : list of Word
        Payloads of `VECTORS` vectors.
    cycles : int or None
        Clock cycles a vector at full rate, unless that is left open.
    latency : int or None
        Clock cycles from the transfer of input word ``completing`` to the first output word.
    outputs : tuple of str
        The output streams, all of which deliver the same.
    others : list of Word
        Payloads for the second input stream, if there is one.
    second : str
        Its name.
    more : mapping of str to list of Word
        Payloads for any further input streams, by their names.
    """

    unit: Any
    inputs: Sequence[Word]
    expected: Sequence[Word]
    cycles: int | None
    latency: int | None
    completing: int = 0
    outputs: tuple[str, ...] = ("o",)
    others: Sequence[Word] = ()
    second: str = "i_other"
    more: Mapping[str, Sequence[Word]] = field(default_factory=dict)


def layer_cases(gate: Gate, popcount: bool) -> dict[str, Case]:
    """Units of a small network's layers, and the maps that they must deliver."""
    network = _network(gate=gate, popcount=popcount)
    pixels, first, hidden, second, scores, _ = network.nodes
    frames = np.random.default_rng(1).integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    execution = golden(network, frames, keep=network.maps.keys())

    def words(name: str, lanes: int) -> list[Word]:
        shared = execution.popcounts.get(name)
        fields = {} if shared is None else {"popcount": shared.flatten().tolist()}
        return _words(execution.maps[name].flatten(1).numpy(), lanes, **fields)

    def matrix(node: Any, pe: int, simd: int) -> Case:
        unit = MatrixVectorUnit(
            node.weights.reshape(node.filters, node.taps),
            pe=pe, simd=simd, gate=gate, popcount=popcount,
        )  # fmt: skip
        return Case(
            unit, words(node.source, simd), words(node.name, pe),
            unit.neuron_fold * unit.synapse_fold, unit.latency, unit.synapse_fold - 1,
        )  # fmt: skip

    def elementwise(unit_class: Any, node: Any, lanes: int) -> Case:
        source = network.maps[node.source]
        unit = unit_class(node, source, lanes=lanes)
        count = -(-source.size // lanes)
        return Case(
            unit, words(node.source, lanes), words(node.name, lanes), count, unit.latency
        )  # fmt: skip

    classes = network.maps["scores"].channels
    assert execution.labels is not None
    results = [
        {"label": int(label), "scores": scores}
        for label, scores in zip(execution.labels.tolist(), execution.scores.tolist(), strict=True)
    ]
    select = ArgMax(network.maps["scores"], lanes=3)
    gather = Scores(network.maps["scores"], lanes=3)
    fold = -(-classes // 3)
    found = {
        "threshold_pixels": elementwise(Threshold, pixels, 4),
        "mvu_folded": matrix(first, 3, 5),  # neither divides the matrix
        "mvu_serial": matrix(first, 1, 1),
        "threshold": elementwise(Threshold, hidden, 3),
        "mvu_parallel": matrix(second, 7, 12),  # a vector a cycle, with spare synapses
        "affine": elementwise(Affine, scores, 2),
        "argmax": Case(select, words("scores", 3), results, fold, select.latency, fold - 1),
        "scores": Case(
            gather,
            words("scores", 3),
            [{"scores": result["scores"]} for result in results],
            fold,
            gather.latency,
            fold - 1,
        ),
    }
    suffix = f"{gate.value}_popcount" if popcount else gate.value
    return {f"{name}_{suffix}": case for name, case in found.items()}


def low_bit_cases() -> dict[str, Case]:
    """Units of layers whose activations have two bits, and the maps that they must deliver."""
    rng = np.random.default_rng(6)
    thresholds = np.sort(rng.integers(0, 257, (3, 10)), axis=0)
    codes = ir.MultiThreshold("codes", INPUT, thresholds, rng.random(10) < 0.5)
    layer = ir.BinaryConv("layer", "codes", rng.random((6, 1, 1, 10)) < 0.5, bits=2)
    frame = FeatureMap(1, 1, 10, UInt(8))
    network = Network("low-bit", frame, (codes, layer), ())
    frames = rng.integers(0, 256, (VECTORS, *frame.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps

    def words(name: str, lanes: int) -> list[Word]:
        return _words(maps[name].flatten(1).numpy(), lanes)

    few = MultiThreshold(codes, frame, lanes=3)
    folded = MatrixVectorUnit(layer.weights.reshape(6, 10), pe=4, simd=3, bits=2)
    words_in = _words(frames.reshape(VECTORS, -1).astype(np.int64), 3)
    count = folded.neuron_fold * folded.synapse_fold
    return {
        "multi_threshold": Case(few, words_in, words("codes", 3), 4, few.latency),
        "mvu_planes": Case(
            folded, words("codes", 3), words("layer", 4), count, folded.latency,
            folded.synapse_fold - 1,
        ),
    }  # fmt: skip


def convolution_cases() -> dict[str, Case]:
    """Units of a small convolutional network, and the maps that they must deliver."""
    rng = np.random.default_rng(4)
    kinds = np.array([[0, *[1] * 4, 2], *[[3, *[4] * 4, 5]] * 3, [6, *[7] * 4, 8]])
    stem = ir.IntegerConv("stem", INPUT, rng.integers(-127, 128, (4, 3, 3, 2)), padding=1)
    bits = ir.Threshold("bits", "stem", rng.integers(-9000, 9000, (9, 4)), classes=kinds)
    pool = ir.MaxPool("pool", "bits", 2, np.array([False, True, False, True]))
    scores = ir.IntegerConv("scores", "pool", rng.integers(-9, 10, (3, 2, 3, 4)))
    network = Network(
        "convolutions", FeatureMap(5, 6, 2, UInt(8)),
        (stem, bits, pool, scores, ir.ArgMax("label", "scores")), ("a", "b", "c"),
    )  # fmt: skip
    frames = rng.integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps

    def words(name: str, lanes: int) -> list[Word]:
        return _words(maps[name].flatten(1).numpy(), lanes)

    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    windows = _words(np.moveaxis(taps, 3, 5).reshape(VECTORS, -1), 1)
    geometry = Windows(network.input, kernel=(3, 3), stride=1, padding=1, lanes=1)
    slide = SlidingWindowUnit(geometry, depth=2 * geometry.frame_words)
    first = IntegerMatrixVectorUnit(
        stem.weights.reshape(4, -1), unsigned(8), value_shape(network.maps["stem"].type),
        pe=2, simd=1,
    )  # fmt: skip
    last = IntegerMatrixVectorUnit(
        scores.weights.reshape(3, -1), unsigned(1), value_shape(network.maps["scores"].type),
        pe=2, simd=5,
    )  # fmt: skip
    compare = Threshold(bits, network.maps["stem"], lanes=2)
    largest = MaxPool(pool, network.maps["bits"], lanes=2)
    return {
        "windows": Case(
            slide, words(INPUT, 1), windows, len(windows) // VECTORS, slide.latency,
            geometry.needed(0, 0) - 1,
        ),
        "integer_mvu_pixels": Case(
            first, windows, words("stem", 2), 30 * 18 * 2, first.latency, 17
        ),
        "threshold_classes": Case(
            compare, words("stem", 2), words("bits", 2), 60, compare.latency
        ),
        # A window of two by two pixels is complete with the second one of the second row.
        "max_pool": Case(largest, words("bits", 2), words("pool", 2), 60, largest.latency, 14),
        "integer_mvu_bits": Case(
            last, words("pool", 5), words("scores", 2), 5 * 2, last.latency, 4
        ),
    }  # fmt: skip


def depthwise_cases() -> dict[str, Case]:
    """Units of a depthwise layer, whose words have several channels, of a signal."""
    rng = np.random.default_rng(7)
    layer = ir.BinaryConv(
        "layer", INPUT, rng.random((6, 1, 5, 1)) < 0.5, padding=(0, 2), groups=6
    )  # fmt: skip
    frame = FeatureMap(1, 9, 6, ir.Bit())
    end = ir.IntegerConv("end", "act", rng.integers(-9, 10, (2, 1, 9, 6)))
    bits = ir.Threshold("act", "layer", np.full(6, 3))
    network = Network("depthwise", frame, (layer, bits, end), ())
    frames = rng.integers(0, 2, (VECTORS, *frame.shape), np.uint8)
    maps = golden(network, frames, keep=network.maps.keys()).maps
    stage = SlidingWindowStage(layer, frame, 2)
    slide = SlidingWindowUnit(stage.windows, depth=2 * stage.windows.frame_words)
    padded = np.pad(frames[:, 0], ((0, 0), (2, 2), (0, 0)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, 5, 1)
    # A word is a tap of two channels; those of the first two come first.
    windows = _words(taps.reshape(-1, 9, 3, 2, 5).swapaxes(3, 4).reshape(VECTORS, -1), 2)
    lanes = MatrixVectorUnit(
        layer.weights.reshape(6, 5), pe=2, simd=1, groups=3, channelwise=True
    )  # fmt: skip
    return {
        "windows_channelwise": Case(
            slide, _words(frames.reshape(VECTORS, -1), 2), windows, 9 * 3 * 5, slide.latency,
            stage.windows.needed(0, 0) - 1,
        ),
        "mvu_channelwise": Case(
            lanes, windows, _words(maps["layer"].flatten(1).numpy(), 2), 9 * 3 * 5, lanes.latency,
            4,
        ),
    }  # fmt: skip


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
        return _words(maps[name].flatten(1).numpy(), lanes)

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
        return _words(maps[name].flatten(1).numpy(), lanes)

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


def stream_cases() -> dict[str, Case]:
    """Units that only move words."""
    values = np.random.default_rng(2).integers(0, 32, (VECTORS, 7))
    layout = lane_layout(5, 2)
    narrow, wide = _words(values, 2), _words(values, 6)
    converter = WidthConverter(5, lanes=2, ratio=3, words=4)
    return {
        "width_converter": Case(converter, narrow, wide, 4, converter.latency, 2),
        "fifo_shallow": Case(Fifo(layout, 1), narrow, narrow, None, None),
        "fifo_deep": Case(Fifo(layout, 5), narrow, narrow, 4, None),
        "skid_buffer": Case(SkidBuffer(layout), narrow, narrow, 4, SkidBuffer.latency),
        "fork": Case(Fork(layout, 3), narrow, narrow, 4, 1, 0, ("o__0", "o__1", "o__2")),
    }


def _network(gate: Gate, popcount: bool) -> Network:
    """Small network of two layers, with thresholds and scales of all kinds."""
    rng = np.random.default_rng(3)
    sums = 256 if popcount else 1  # thresholds are in units of 2^-8 where ρ is

    def weights(*shape: int) -> NDArray[np.bool_]:
        return rng.random(shape) < 0.5

    def shared(low: int, high: int, channels: int) -> NDArray[np.int64] | None:
        return rng.integers(low, high, channels) if popcount else None

    return Network(
        name="units",
        input=FeatureMap(3, 4, 1, UInt(8)),
        nodes=(
            ir.Threshold("pixels", INPUT, np.array([120])),
            ir.BinaryConv("first", "pixels", weights(10, 3, 4, 1), gate=gate, popcount=popcount),
            ir.Threshold(
                "hidden", "first", sums * rng.integers(3, 7, 10),
                shared(-90, 90, 10), 8 if popcount else 0, rng.random(10) < 0.5,
            ),
            ir.BinaryConv("second", "hidden", weights(7, 1, 1, 10), gate=gate, popcount=popcount),
            # Few different scores, so that they often tie.
            ir.Affine(
                "scores", "second", rng.integers(-1, 2, 7), rng.integers(-3, 4, 7), shared(-1, 2, 7)
            ),
            ir.ArgMax("label", "scores"),
        ),
        labels=tuple("abcdefg"),
    )  # fmt: skip


def _words(values: NDArray[Any], lanes: int, **fields: Sequence[int]) -> list[Word]:
    """Words of vectors (vectors, length); each vector's ``fields`` go along with all its words."""
    return [
        {
            "lanes": vector[start : start + lanes].tolist(),
            **{name: column[n] for name, column in fields.items()},
        }
        for n, vector in enumerate(values)
        for start in range(0, len(vector), lanes)
    ]


UNIT_CASES = {
    **{
        name: case
        for gate in Gate
        for popcount in (False, True)
        for name, case in layer_cases(gate=gate, popcount=popcount).items()
    },
    **low_bit_cases(),
    **convolution_cases(),
    **depthwise_cases(),
    **residual_cases(),
    **dynamic_cases(),
    **stream_cases(),
}

POPCOUNTS = {
    f"popcount_{family.name.lower().replace('-', '_')}_{width}": Popcount(width, family)
    for family in FAMILIES
    for width in (1, 2, 13, 40)
}
