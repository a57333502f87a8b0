"""Nodes of a network: what each computes, in integers, and what it accepts.

Everything is a frozen dataclass that is checked when it is constructed, and again when its
``infer`` is given what feeds it; arrays are made read-only. The conventions are those of
`xnorflow.ir`.
"""

from xnorflow.ir.nodes.affine import Affine, TwoSlope
from xnorflow.ir.nodes.argmax import ArgMax
from xnorflow.ir.nodes.convolution import BinaryConv, Gate, IntegerConv
from xnorflow.ir.nodes.dynamic import DynamicThreshold, DynamicTwoSlope
from xnorflow.ir.nodes.elementwise import Add, Concat, PadChannels, Subsample
from xnorflow.ir.nodes.pooling import AveragePool, GlobalSum, HalvingMaxPool, MaxPool
from xnorflow.ir.nodes.threshold import Threshold


__all__ = [
    "Add",
    "Affine",
    "ArgMax",
    "AveragePool",
    "BinaryConv",
    "Concat",
    "DynamicThreshold",
    "DynamicTwoSlope",
    "Gate",
    "GlobalSum",
    "HalvingMaxPool",
    "IntegerConv",
    "MaxPool",
    "Node",
    "PadChannels",
    "Subsample",
    "Threshold",
    "TwoSlope",
    "sources_of",
]


Node = (
    BinaryConv
    | IntegerConv
    | MaxPool
    | Threshold
    | Affine
    | TwoSlope
    | DynamicThreshold
    | DynamicTwoSlope
    | Add
    | Concat
    | Subsample
    | PadChannels
    | AveragePool
    | HalvingMaxPool
    | GlobalSum
    | ArgMax
)


def sources_of(node: Node) -> tuple[str, ...]:
    """Names of what feeds a node, in the order in which its ``infer`` takes their maps."""
    match node:
        case Add() | Concat():
            return node.source, node.other
        case DynamicThreshold() | DynamicTwoSlope():
            return node.source, node.parameters
        case _:
            return (node.source,)
