"""The contract between software and hardware: what a network computes, in integers.

A `Network` is a directed acyclic graph of nodes over feature maps, with one input and one output.
Nothing here says how a node is executed (`xnorflow.sw.golden`) or built (`xnorflow.hw.ops`).

Conventions, stated once and used everywhere:

- Bit 1 is the upper level of a two-level set (+1), bit 0 the lower level (−1, or 0).
  ``x >= threshold`` gives 1, so sign(0) = +1.
- Feature maps are NHWC; a kernel is (row, column, channel); channels run fastest.
  Lane 0 of a hardware word is its least significant bit, and holds the lowest index.
- A tap outside the frame has bit 0 (integer taps: 0). Nothing is masked in the datapath.
- With u and v the bits of activation and weight over the N taps of a kernel:
  ``M = #{u = v}`` (xnor gate), ``A = #{u and v}`` (and gate), and ``P = #{u}``, which all
  filters share.
- Rounding is to the nearest integer, ties going up; what does not fit is clipped (`Rounding`).
- The class label is the arg-max of the scores; ties go to the lowest index. A single score
  decides between two classes: label 1 if it is ≥ 0.

The parts are in `xnorflow.ir.values` (what flows along edges), `xnorflow.ir.nodes` (what is
computed) and `xnorflow.ir.network`, and can all be imported from here.
"""

from xnorflow.ir.checks import INPUT, MAX_LEVEL_BITS
from xnorflow.ir.heads import Head
from xnorflow.ir.network import Network, Provenance, clip_thresholds
from xnorflow.ir.nodes.affine import Affine, TwoSlope
from xnorflow.ir.nodes.argmax import ArgMax
from xnorflow.ir.nodes.convolution import BinaryConv, Convolution, Gate, IntegerConv
from xnorflow.ir.nodes.dynamic import DynamicThreshold, DynamicTwoSlope
from xnorflow.ir.nodes.elementwise import Add, Concat, PadChannels, Subsample
from xnorflow.ir.nodes.node import Node
from xnorflow.ir.nodes.pooling import AveragePool, GlobalSum, MaxPool, Pool, SumPool
from xnorflow.ir.nodes.threshold import MultiThreshold, Threshold
from xnorflow.ir.nodes.upsampling import Upsample
from xnorflow.ir.values import (
    Bit,
    Counts,
    FeatureMap,
    Int,
    Quantisation,
    Rounding,
    UInt,
    ValueType,
    int_bits,
)


__all__ = [
    "INPUT",
    "MAX_LEVEL_BITS",
    "Add",
    "Affine",
    "ArgMax",
    "AveragePool",
    "BinaryConv",
    "Bit",
    "Concat",
    "Convolution",
    "Counts",
    "DynamicThreshold",
    "DynamicTwoSlope",
    "FeatureMap",
    "Gate",
    "GlobalSum",
    "Head",
    "Int",
    "IntegerConv",
    "MaxPool",
    "MultiThreshold",
    "Network",
    "Node",
    "PadChannels",
    "Pool",
    "Provenance",
    "Quantisation",
    "Rounding",
    "Subsample",
    "SumPool",
    "Threshold",
    "TwoSlope",
    "UInt",
    "Upsample",
    "ValueType",
    "clip_thresholds",
    "int_bits",
]
