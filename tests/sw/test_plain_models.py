"""Plain models without shortcuts: the logits and the integers of the chains that they replace."""

import numpy as np
import pytest
import torch

from tests.sw.test_frontend import randomise
from xnorflow.errors import NetworkError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.lower import lower
from xnorflow.sw.models import NAMED, Task
from xnorflow.sw.models.chain import Chain, Named
from xnorflow.sw.models.cnv import Conv, ConvNet
from xnorflow.sw.models.former import from_chain_config, from_chain_state
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.mlp import MLP
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.blocks import Family
from xnorflow.sw.residual_names import NamedResidual


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("named", Named)
def test_plain_models_are_what_chains_were(named, method):
    coloured = named in (Named.CNV, Named.VGG_SMALL)
    shape = (32, 32, 3) if coloured else (28, 28, 1)
    pixels = IntegerPixels((0.4,) * shape[2], (0.25,) * shape[2])
    width = 0.125 if coloured else 0.25
    torch.manual_seed(1)
    chain = Chain(named.config(method, input_shape=shape, pixels=pixels, width=width))
    chain = randomise(chain, 1).double()
    height, columns, channels = shape
    task = Task((channels, height, columns), 10, pixels)
    plain = NAMED[named.value](task, method=method, width=width).double().eval()
    plain.load_state_dict(from_chain_state(chain.config, chain.state_dict()))
    assert str(from_chain_config(chain.config)) == str(plain)
    images = torch.randint(0, 256, (8, *shape), dtype=torch.uint8)
    with torch.no_grad():
        logits = plain(images.movedim(-1, 1).double())
        torch.testing.assert_close(logits, chain(images.double()), rtol=0, atol=0)
    former, network = lower(chain), lower(plain, input=FeatureMap(*shape, UInt(8)))
    assert [*map(type, network.nodes)] == [*map(type, former.nodes)]
    for node, other in zip(network.nodes, former.nodes, strict=True):
        for name, value in vars(node).items():
            if name not in ("name", "source"):
                np.testing.assert_equal(value, vars(other)[name], err_msg=node.name)


def test_all_models_have_names():
    assert set(NAMED) == {member.value for member in [*Named, *NamedResidual]}
    assert len(NAMED) == len(set(NAMED))
    with pytest.raises(KeyError):
        NAMED["lenet"]


def test_pixels_without_statistics_have_a_threshold():
    model = NAMED["cnv"](Task((3, 32, 32), 10), width=0.125)
    assert "conv1.activation_quantiser.level" in model.state_dict()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Task((28, 28), 10), r"^an image must have channels, a height and a width, not"),
        (lambda: Task((1, 28.0, 28), 10), r"^height must be an integer of at least 1, not 28\.0$"),
        (lambda: Task((1, 28, 28), 0), "^classes must be an integer of at least 1, not 0$"),
        (lambda: Task((1, 8, 8), 2, (0.5,)), r"^pixels must be an IntegerPixels, not \(0\.5,\)$"),
        (
            lambda: Task((1, 8, 8), 2, IntegerPixels((0.5,) * 3, (0.5,) * 3)),
            "^mean and deviation must have 1 channels, not 3 and 3$",
        ),
        (
            lambda: NAMED["resnet8"](Task((3, 32, 32), 2)),
            "^a residual model needs the mean and the standard deviation of pixels$",
        ),
        (lambda: Family("siman"), "^method must be a ResidualMethod, not 'siman'$"),
        (
            lambda: Family(ResidualMethod.SIMAN, "pad"),
            "^shortcut must be a Shortcut, not 'pad'$",
        ),
        (lambda: MLP(8, (4,), 2, method="sign"), "^method must be a Method, not 'sign'$"),
        (lambda: Conv(8, pool=2.0), r"^pool must be an integer of at least 1, not 2\.0$"),
        (lambda: Conv(8, padding=-1), "^padding must be an integer of at least 0, not -1$"),
        (
            lambda: ConvNet((1, 8, 8), [Conv(8, 5, pool=8)], (), 2),
            "^a 5×5 kernel with a 8×8 pool does not fit 8 rows or columns$",
        ),
        (
            lambda: ConvNet((1, 8, 8), [Conv(8)], (), 2, border="lower"),
            "^border must be a Border, not 'lower'$",
        ),
        (
            lambda: ConvNet((1, 8, 8), [Conv(8)], (), 2, method="sign"),
            "^method must be a Method, not 'sign'$",
        ),
    ],
)
def test_models_refuse_what_they_cannot_be_made_of(make, match):
    with pytest.raises(NetworkError, match=match):
        make()
