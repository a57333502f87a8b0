"""The stage that each kind of node becomes."""

from xnorflow import ir
from xnorflow.hw.ops.affine import AffineStage
from xnorflow.hw.ops.argmax import ArgMaxStage
from xnorflow.hw.ops.binary_conv import BinaryConvStage
from xnorflow.hw.ops.dynamic_threshold import DynamicThresholdStage
from xnorflow.hw.ops.dynamic_two_slope import DynamicTwoSlopeStage
from xnorflow.hw.ops.elementwise import AddStage, ConcatStage
from xnorflow.hw.ops.integer_conv import IntegerConvStage
from xnorflow.hw.ops.pad_channels import PadChannelsStage
from xnorflow.hw.ops.pooling import MaxPoolStage, SumPoolStage
from xnorflow.hw.ops.stage import NodeStage
from xnorflow.hw.ops.subsample import SubsampleStage
from xnorflow.hw.ops.threshold import MultiThresholdStage, ThresholdStage
from xnorflow.hw.ops.two_slope import TwoSlopeStage
from xnorflow.hw.ops.upsample import UpsampleStage


__all__ = ["STAGES"]

STAGES: dict[type, type[NodeStage]] = {
    ir.Add: AddStage,
    ir.Affine: AffineStage,
    ir.ArgMax: ArgMaxStage,
    ir.AveragePool: SumPoolStage,
    ir.BinaryConv: BinaryConvStage,
    ir.Concat: ConcatStage,
    ir.DynamicThreshold: DynamicThresholdStage,
    ir.DynamicTwoSlope: DynamicTwoSlopeStage,
    ir.GlobalSum: SumPoolStage,
    ir.IntegerConv: IntegerConvStage,
    ir.MaxPool: MaxPoolStage,
    ir.MultiThreshold: MultiThresholdStage,
    ir.PadChannels: PadChannelsStage,
    ir.Subsample: SubsampleStage,
    ir.SumPool: SumPoolStage,
    ir.Threshold: ThresholdStage,
    ir.TwoSlope: TwoSlopeStage,
    ir.Upsample: UpsampleStage,
}
