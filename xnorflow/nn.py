"""Layers and quantisers of binary networks, for PyTorch modules of your own."""

from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.input_threshold import InputThreshold
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.integer_activation import IntegerActivation
from xnorflow.sw.nn.level_activation import LevelActivation
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.prelu import Maxout, RPReLU
from xnorflow.sw.nn.quantiser import ActivationQuantiser, WeightQuantiser
from xnorflow.sw.nn.shortcuts import PadChannels, RepeatChannels, Subsample
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


__all__ = [
    "ActivationQuantiser",
    "AdaBinActivation",
    "AdaBinWeight",
    "BinaryConv2d",
    "BinaryLinear",
    "Border",
    "InputThreshold",
    "IntegerActivation",
    "IntegerConv2d",
    "IntegerLinear",
    "IntegerWeight",
    "LevelActivation",
    "Maxout",
    "PadChannels",
    "RPReLU",
    "RSign",
    "RepeatChannels",
    "SiManForm",
    "SiManWeight",
    "Sign",
    "SignWeight",
    "Subsample",
    "WeightQuantiser",
]
