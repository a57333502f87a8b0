"""The stage that each kind of node becomes."""

from xnorflow import network
from xnorflow.hw.ops.affine import AffineStage
from xnorflow.hw.ops.argmax import ArgMaxStage
from xnorflow.hw.ops.binary_conv import BinaryConvStage
from xnorflow.hw.ops.dynamic import DynamicThresholdStage, DynamicTwoSlopeStage
from xnorflow.hw.ops.elementwise import AddStage, ConcatStage
from xnorflow.hw.ops.integer_conv import IntegerConvStage
from xnorflow.hw.ops.pooling import (
    AveragePoolStage,
    GlobalSumStage,
    HalvingMaxPoolStage,
    MaxPoolStage,
)
from xnorflow.hw.ops.shortcut import PadChannelsStage, SubsampleStage
from xnorflow.hw.ops.stage import NodeStage
from xnorflow.hw.ops.threshold import ThresholdStage
from xnorflow.hw.ops.two_slope import TwoSlopeStage


__all__ = ["STAGES"]

STAGES: dict[type, type[NodeStage]] = {
    network.Add: AddStage,
    network.Affine: AffineStage,
    network.ArgMax: ArgMaxStage,
    network.AveragePool: AveragePoolStage,
    network.BinaryConv: BinaryConvStage,
    network.Concat: ConcatStage,
    network.DynamicThreshold: DynamicThresholdStage,
    network.DynamicTwoSlope: DynamicTwoSlopeStage,
    network.GlobalSum: GlobalSumStage,
    network.HalvingMaxPool: HalvingMaxPoolStage,
    network.IntegerConv: IntegerConvStage,
    network.MaxPool: MaxPoolStage,
    network.PadChannels: PadChannelsStage,
    network.Subsample: SubsampleStage,
    network.Threshold: ThresholdStage,
    network.TwoSlope: TwoSlopeStage,
}
