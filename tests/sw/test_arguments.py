"""Layers refuse what they would otherwise take for something else."""

import pytest

from xnorflow.errors import NetworkError
from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.conv import BinaryConv2d, Border, IntegerConv2d
from xnorflow.sw.nn.integer import IntegerWeight
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.sign import RSign, Sign, SignWeight
from xnorflow.sw.nn.siman import SiManWeight


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"border": "lower"}, "^border must be a Border, not 'lower'$"),
        ({"bias": 1}, "^bias must be a bool, not 1$"),
        (
            {"border": Border.LOWER, "padding": 1, "activation_quantiser": None},
            "^a border of the lower level needs a quantiser of two levels$",
        ),
        ({"stride": 2.0}, "^stride must be an integer of at least 1, not 2.0$"),
        ({"padding": -1}, "^padding must be an integer of at least 0, not -1$"),
        ({"kernel": True}, "^kernel must be an integer of at least 1, not True$"),
        ({"weight_quantiser": "sign"}, "^weights must be a WeightQuantiser, not 'sign'$"),
        ({"activation_quantiser": SignWeight()}, "^activations must be an ActivationQuantiser"),
    ],
)
def test_binary_convolutions(changes, match):
    arguments = {
        "in_channels": 2, "out_channels": 3, "kernel": 3,
        "weight_quantiser": SignWeight(), "activation_quantiser": Sign(),
    }  # fmt: skip
    BinaryConv2d(**arguments)
    with pytest.raises(NetworkError, match=match):
        BinaryConv2d(**arguments | changes)


def test_other_layers():
    with pytest.raises(NetworkError, match="in_features must be an integer of at least 1, not 0"):
        BinaryLinear(0, 3, SignWeight(), Sign())
    with pytest.raises(NetworkError, match="activations must be an ActivationQuantiser, not 3"):
        IntegerLinear(2, 2, 3)
    with pytest.raises(NetworkError, match=r"^bias must be a bool, not 'no'$"):
        BinaryLinear(2, 3, SignWeight(), bias="no")
    with pytest.raises(NetworkError, match=r"kernel must be an integer of at least 1, not 3\.0"):
        IntegerConv2d(1, 1, 3.0, mean=(0.5,), deviation=(0.5,))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SignWeight(shared_scale="yes"), "^shared_scale must be a bool, not 'yes'$"),
        (lambda: AdaBinWeight(8.0), r"^fraction must be an integer of at least 0, not 8\.0$"),
        (lambda: AdaBinWeight(shared_scale=1), "^shared_scale must be a bool, not 1$"),
        (lambda: AdaBinActivation("4"), "^fraction must be an integer of at least 0, not '4'$"),
        (lambda: SiManWeight(4.0), r"^filters must be an integer of at least 1, not 4\.0$"),
        (lambda: SiManWeight(4, "half"), "^form must be a SiManForm, not 'half'$"),
        (lambda: SiManWeight(4, shared_scale=0), "^shared_scale must be a bool, not 0$"),
        (lambda: RSign(0), "^channels must be an integer of at least 1, not 0$"),
        (lambda: RSign(4, polarised="no"), "^polarised must be a bool, not 'no'$"),
        (lambda: IntegerWeight(0), "^integer weights must have 1 to 16 bits, not 0$"),
        (lambda: IntegerWeight(8.0), r"^integer weights must have 1 to 16 bits, not 8\.0$"),
        (lambda: IntegerWeight(8, shared_scale=None), "^shared_scale must be a bool, not None$"),
    ],
)
def test_quantisers(make, match):
    with pytest.raises(NetworkError, match=match):
        make()
