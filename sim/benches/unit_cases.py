# amaranth: UnusedElaboratable=no
"""Units of networks, each with words that it gets and words that it must deliver."""

from dataclasses import replace
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
from xnorflow.hw.ops.integer_conv import IntegerMatrixVectorUnit
from xnorflow.hw.ops.pooling import MaxPool
from xnorflow.hw.ops.sliding_window import SlidingWindowStage, SlidingWindowUnit
from xnorflow.hw.ops.threshold import MultiThreshold, Threshold
from xnorflow.hw.ops.windows import Windows
from xnorflow.hw.streams.fifo import Fifo
from xnorflow.hw.streams.fork import Fork
from xnorflow.hw.streams.skid_buffer import SkidBuffer
from xnorflow.hw.streams.width_converters import WidthConverter
from xnorflow.hw.streams.words import lane_layout, value_shape
from xnorflow.ir import INPUT, FeatureMap, Gate, Network, UInt
from xnorflow.sim.benches.cases import VECTORS, Case, Word, words_of
from xnorflow.sim.benches.residual_cases import dynamic_cases, residual_cases
from xnorflow.sw.golden import golden


__all__ = ["POPCOUNTS", "UNIT_CASES"]


def layer_cases(gate: Gate, popcount: bool) -> dict[str, Case]:
    """Units of a small network's layers, and the maps that they must deliver."""
    network = _network(gate=gate, popcount=popcount)
    pixels, first, hidden, second, scores, _ = network.nodes
    frames = np.random.default_rng(1).integers(0, 256, (VECTORS, *network.input.shape), np.uint8)
    execution = golden(network, frames, keep=network.maps.keys())

    def words(name: str, lanes: int) -> list[Word]:
        shared = execution.popcounts.get(name)
        fields = {} if shared is None else {"popcount": shared.flatten().tolist()}
        return words_of(execution.maps[name].flatten(1).numpy(), lanes, **fields)

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
        return words_of(maps[name].flatten(1).numpy(), lanes)

    few = MultiThreshold(codes, frame, lanes=3)
    levels = np.array([0, 1, 5, 12])
    uneven = MultiThreshold(replace(codes, levels=tuple(levels.tolist())), frame, lanes=3)
    far = words_of(levels[maps["codes"].flatten(1).numpy()], 3)
    folded = MatrixVectorUnit(layer.weights.reshape(6, 10), pe=4, simd=3, bits=2)
    words_in = words_of(frames.reshape(VECTORS, -1).astype(np.int64), 3)
    count = folded.neuron_fold * folded.synapse_fold
    return {
        "multi_threshold": Case(few, words_in, words("codes", 3), 4, few.latency),
        "levels": Case(uneven, words_in, far, 4, uneven.latency),
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
        return words_of(maps[name].flatten(1).numpy(), lanes)

    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    windows = words_of(np.moveaxis(taps, 3, 5).reshape(VECTORS, -1), 1)
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
    stage = SlidingWindowStage(layer, frame, 2, 1)
    slide = SlidingWindowUnit(stage.windows, depth=2 * stage.windows.frame_words)
    padded = np.pad(frames[:, 0], ((0, 0), (2, 2), (0, 0)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, 5, 1)
    # A word is a tap of two channels; those of the first two come first.
    windows = words_of(taps.reshape(-1, 9, 3, 2, 5).swapaxes(3, 4).reshape(VECTORS, -1), 2)
    lanes = MatrixVectorUnit(
        layer.weights.reshape(6, 5), pe=2, simd=1, groups=3, channelwise=True
    )  # fmt: skip
    return {
        "windows_channelwise": Case(
            slide, words_of(frames.reshape(VECTORS, -1), 2), windows, 9 * 3 * 5, slide.latency,
            stage.windows.needed(0, 0) - 1,
        ),
        "mvu_channelwise": Case(
            lanes, windows, words_of(maps["layer"].flatten(1).numpy(), 2), 9 * 3 * 5, lanes.latency,
            4,
        ),
    }  # fmt: skip


def stream_cases() -> dict[str, Case]:
    """Units that only move words."""
    values = np.random.default_rng(2).integers(0, 32, (VECTORS, 7))
    layout = lane_layout(5, 2)
    narrow, wide = words_of(values, 2), words_of(values, 6)
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
    f"popcount_{n}_{width}": Popcount(width, family)
    for n, family in enumerate(FAMILIES)
    for width in (1, 2, 13, 40)
}
