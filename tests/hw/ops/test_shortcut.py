# amaranth: UnusedElaboratable=no
import numpy as np
import pytest

from xnorflow.hw.ops.pad_channels import PadChannels
from xnorflow.hw.ops.subsample import Subsample
from xnorflow.ir import FeatureMap, Int
from xnorflow.ir import PadChannels as PadChannelsNode
from xnorflow.ir import Subsample as SubsampleNode
from xnorflow.sim.pysim import transact


def words(values, lanes):
    return [{"lanes": word} for word in values.reshape(-1, lanes).tolist()]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(
    ("shape", "stride", "lanes"),
    [((4, 6, 4), 2, 2), ((5, 7, 2), 2, 2), ((5, 4, 3), 3, 1), ((1, 1, 2), 2, 1), ((3, 2, 1), 4, 1)],
)
def test_subsamples(shape, stride, lanes, stall):
    frames = np.random.default_rng(stride).integers(-32, 32, (4, *shape))
    dut = Subsample(SubsampleNode("sub", "x", stride), FeatureMap(*shape, Int(6)), lanes=lanes)
    expected = frames[:, ::stride, ::stride].reshape(-1, lanes).tolist()

    outputs = transact(dut, words(frames, lanes), len(expected), stall=stall)

    assert [list(out.lanes) for out in outputs] == expected


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(
    ("before", "after", "lanes"), [(2, 2, 2), (0, 4, 2), (4, 0, 1), (0, 0, 4), (1, 3, 1)]
)
def test_pads_channels(before, after, lanes, stall):
    frames = np.random.default_rng(after).integers(-32, 32, (3, 2, 3, 4))
    node = PadChannelsNode("pad", "x", before, after)
    dut = PadChannels(node, FeatureMap(2, 3, 4, Int(6)), lanes=lanes)
    expected = np.pad(frames, ((0, 0),) * 3 + ((before, after),)).reshape(-1, lanes).tolist()

    outputs = transact(dut, words(frames, lanes), len(expected), stall=stall)

    assert [list(out.lanes) for out in outputs] == expected


def test_takes_or_delivers_a_word_every_cycle():
    x = FeatureMap(4, 4, 2, Int(6))
    dut = Subsample(SubsampleNode("sub", "x", 2), x, lanes=1)
    transact(dut, [{"lanes": [1]}] * 96, 24, max_cycles=96 + dut.latency)
    dut = PadChannels(PadChannelsNode("pad", "x", 1, 1), x, lanes=1)
    transact(dut, [{"lanes": [1]}] * 64, 128, max_cycles=128 + dut.latency)


def test_zeros_wait_for_their_pixel():
    dut = PadChannels(PadChannelsNode("pad", "x", 1, 1), FeatureMap(4, 4, 2, Int(6)), lanes=1)
    with pytest.raises(TimeoutError, match=r" 0 of 1 outputs "):
        transact(dut, [], 1, max_cycles=10)


def test_rejects_lanes():
    x = FeatureMap(4, 4, 4, Int(6))
    with pytest.raises(ValueError, match=r"^Lanes must divide the 4 channels, not 3$"):
        Subsample(SubsampleNode("sub", "x", 2), x, lanes=3)
    with pytest.raises(ValueError, match=r"^Lanes must divide \(1, 4, 3\) channels, not 2$"):
        PadChannels(PadChannelsNode("pad", "x", 1, 3), x, lanes=2)
