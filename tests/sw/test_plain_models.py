"""Plain models without shortcuts: the logits and the integers of the chains that they replace."""

import numpy as np
import pytest
import torch

from tests.sw.test_frontend import randomise
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.lower import lower
from xnorflow.sw.models.chain import Chain, Named
from xnorflow.sw.models.former import load_chain_state
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.pixels import IntegerPixels


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
    plain = load_chain_state(chain.config, chain.state_dict()).double()
    images = torch.randint(0, 256, (8, *shape), dtype=torch.uint8)
    with torch.no_grad():
        logits = plain(images.movedim(-1, 1).double())
        torch.testing.assert_close(logits, chain(images.double()), rtol=1e-12, atol=1e-12)
    former, network = lower(chain), lower(plain, input=FeatureMap(*shape, UInt(8)))
    assert [*map(type, network.nodes)] == [*map(type, former.nodes)]
    for node, other in zip(network.nodes, former.nodes, strict=True):
        for name, value in vars(node).items():
            if name not in ("name", "source"):
                np.testing.assert_equal(value, vars(other)[name], err_msg=node.name)
