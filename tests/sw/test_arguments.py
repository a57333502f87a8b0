"""Layers refuse what they would otherwise take for something else."""

import pytest

from xnorflow.errors import NetworkError
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.linear import BinaryLinear, IntegerLinear
from xnorflow.sw.nn.sign import Sign, SignWeight


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"border": "lower"}, "^border must be a Border, not 'lower'$"),
        ({"stride": 2.0}, "^stride must be an integer of at least 1, not 2.0$"),
        ({"padding": -1}, "^padding must be an integer of at least 0, not -1$"),
        ({"kernel": True}, "^kernel must be an integer of at least 1, not True$"),
        ({"weight_quantiser": "sign"}, "^weights must be a WeightQuantiser, not 'sign'$"),
        ({"activation_quantiser": SignWeight()}, "^activations must be a ActivationQuantiser"),
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
    with pytest.raises(NetworkError, match="activations must be a ActivationQuantiser, not None"):
        IntegerLinear(2, 3, None)
    with pytest.raises(NetworkError, match=r"kernel must be an integer of at least 1, not 3\.0"):
        IntegerConv2d(1, 1, 3.0, mean=(0.5,), deviation=(0.5,))
