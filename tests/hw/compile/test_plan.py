import numpy as np
import pytest

from tests.hw.networks import random_mlp
from tests.resnet import random_resnet
from xnorflow.errors import DesignError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.folding import Folding
from xnorflow.ir import (
    Affine,
    ArgMax,
    BinaryConv,
    Bit,
    FeatureMap,
    Int,
    MaxPool,
    Network,
    Threshold,
    UInt,
)


FOLDINGS = {"fc1": Folding(2, 4), "fc2": Folding(2, 4), "fc3": Folding(1, 2)}


def test_stages_follow_the_network():
    design = plan(random_mlp(0), FOLDINGS, 2, ECP5_85F)
    assert [stage.name for stage in design.stages] == [
        "input_bits", "fc1_cut", "fc1_width", "fc1", "act1", "fc2_cut", "fc2_width", "fc2", "act2",
        "fc3_cut", "fc3", "scores", "label_cut", "label",
    ]  # fmt: skip


def test_slowest_layer_sets_the_rate():
    # 16 × 6, 6 × 5 and 5 × 3 matrices: 4·3, 2·3 and 3·3 cycles; 8 input words.
    assert plan(random_mlp(0), FOLDINGS, 2, ECP5_85F).cycles_per_frame == 12
    faster = FOLDINGS | {"fc1": Folding(2, 16)}
    assert plan(random_mlp(0), faster, 2, ECP5_85F).cycles_per_frame == 9


@pytest.mark.parametrize(
    ("foldings", "lanes", "message"),
    [
        ({}, 2, "fc1 has no folding"),
        (FOLDINGS | {"fc9": Folding(1, 1)}, 2, "fc9 is not a layer of the network"),
        (FOLDINGS, 0, "input lanes must be from 1 to 16, not 0"),
        (FOLDINGS, 17, "input lanes must be from 1 to 16, not 17"),
        (
            FOLDINGS | {"fc1": Folding(7, 4)},
            2,
            "fc1: PE must be from 1 to the 6 neurons, not 7",
        ),
        (
            FOLDINGS | {"fc2": Folding(1, 3)},
            2,
            "fc2: SIMD must be a multiple of the 2 lanes that feed it, up to 6, not 3",
        ),
        (
            FOLDINGS | {"fc3": Folding(1, 8)},
            2,
            "fc3: SIMD must be a multiple of the 2 lanes that feed it, up to 6, not 8",
        ),
    ],
)
def test_rejects_foldings_that_do_not_work_out(foldings, lanes, message):
    with pytest.raises(DesignError, match=f"^{message}$"):
        plan(random_mlp(0), foldings, lanes, ECP5_85F)


def sliding_network():
    nodes = (
        Threshold("bits", "input", np.array([3, 4])),
        BinaryConv("conv", "bits", np.ones((4, 3, 3, 2), dtype=bool)),
        Threshold("act", "conv", np.array([1, 2, 3, 4])),
        MaxPool("pool", "act", 2),
        BinaryConv("fc", "pool", np.ones((2, 1, 1, 4), dtype=bool)),
        Affine("scores", "fc", np.array([1, 1]), np.array([0, 0])),
        ArgMax("label", "scores"),
    )
    return Network("conv", FeatureMap(4, 4, 2, UInt(8)), nodes, ("a", "b"))


@pytest.mark.parametrize(
    ("lanes", "conv", "fc", "message"),
    [
        (2, (4, 19), (1, 4),
         "conv: SIMD must be a multiple of the 2 lanes that feed it and divide the 2 channels, "
         "or be more, up to the 18 values of a window, not 19"),
        (1, (3, 1), (1, 3), "conv: PE must divide the 4 filters, not 3"),
    ],
)  # fmt: skip
def test_rejects_foldings_of_windows(lanes, conv, fc, message):
    foldings = {"conv": Folding(*conv), "fc": Folding(*fc)}
    with pytest.raises(DesignError, match=f"^{message}$"):
        plan(sliding_network(), foldings, lanes, ECP5_85F)


def test_rejects_depths():
    foldings = {"conv": Folding(2, 1), "fc": Folding(1, 2)}
    with pytest.raises(DesignError, match=r"^depths must be given for conv_windows$"):
        plan(sliding_network(), foldings, 1, ECP5_85F, depths={})
    message = "^conv_windows: its buffer must hold at least 24 words, not 23$"
    with pytest.raises(DesignError, match=message):
        plan(sliding_network(), foldings, 1, ECP5_85F, depths={"conv_windows": 23})


def test_few_frames_are_in_a_deep_pipeline():
    """Or else their verdicts take a block RAM, which is slow."""
    design = fold(random_resnet(0), ECP5_85F, cycles=18_432)
    assert design.latency / design.cycles_per_frame < design.frames_in_flight < 40


def test_rejects_names_of_other_units():
    network = random_mlp(0)
    *nodes, label = network.nodes
    renamed = ArgMax("gate", label.source)
    taken = Network("taken", network.input, (*nodes, renamed), network.labels)
    message = "^another unit has the name 'gate': rename that node$"
    with pytest.raises(DesignError, match=message):
        plan(taken, FOLDINGS, 2, ECP5_85F)


@pytest.mark.parametrize(
    ("value_type", "bits"), [(Int(8), 8), (UInt(8), 9), (Bit(), 2), (Int(32), 32), (UInt(31), 32)]
)
def test_scores_are_signed(value_type, bits):
    frame = FeatureMap(1, 1, 2, value_type)
    network = Network("bare", frame, (ArgMax("label", "input"),), ("a", "b"))
    assert plan(network, {}, 1, ECP5_85F).score_bits == bits


def test_rejects_scores_that_are_too_wide():
    frame = FeatureMap(1, 1, 2, UInt(32))
    network = Network("bare", frame, (ArgMax("label", "input"),), ("a", "b"))
    with pytest.raises(DesignError, match=r"^bare: its scores need 33 bits, more than 32$"):
        plan(network, {}, 1, ECP5_85F)


@pytest.mark.parametrize("value", [0, 1.5])
def test_rejects_foldings_that_are_no_counts(value):
    with pytest.raises(DesignError, match=f"^PE must be a positive integer, not {value}$"):
        Folding(value, 1)
