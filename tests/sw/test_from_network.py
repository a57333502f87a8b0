from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training import MODEL, TASK
from xnorflow.errors import DataError
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.data import ImageData
from xnorflow.sw.from_network import model_of
from xnorflow.sw.lower import lower
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.recipes import OWN, longer
from xnorflow.sw.start import from_network


FRAME = FeatureMap(28, 28, 1, UInt(8))
CONVS = ModelSpec("conv-net", TASK, {"convs": [[4, 5, 2, 0, 2], [6, 3]], "hidden": [5]})
PIXELS = ModelSpec("cnv", replace(TASK, shape=(1, 32, 32)), {"width": 0.125})


def data_of(spec):
    generator = torch.Generator().manual_seed(3)
    channels, height, width = spec.task.shape
    images = torch.randint(0, 256, (40, height, width, channels), generator=generator)
    images, labels = images.to(torch.uint8), torch.arange(40) % 3
    return ImageData("own", images, labels, images, labels, ("a", "b", "c"))


@torch.no_grad()
def network_of(spec, data):
    """Network of a model whose parameters are anything; some comparisons are inverted."""
    torch.manual_seed(5)
    model = spec.build()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            for each in (module.weight, module.bias, module.running_mean):
                each.normal_()
    return lower(model.eval(), input=data.frame)


@pytest.mark.parametrize("spec", [MODEL, CONVS, PIXELS], ids=lambda spec: spec.name)
def test_lowering_gives_the_same_network_again(spec):
    data = data_of(spec)
    network = network_of(spec, data)
    model = model_of(network, spec, data).model
    again = lower(model, input=data.frame)
    assert [type(node) for node in again.nodes] == [type(node) for node in network.nodes]
    compared = 0
    for ours, theirs in zip(again.nodes, network.nodes, strict=True):
        for name in ("weights", "thresholds", "inverted", "scale", "offset"):
            assert np.array_equal(getattr(ours, name, None), getattr(theirs, name, None)), ours.name
            compared += getattr(ours, name, None) is not None
    assert compared >= 8
    # Latent weights are of all sizes, so that bits can flip one after the other.
    weights = torch.cat([each.flatten() for each in model.parameters() if each.ndim > 1])
    assert weights.std().item() == pytest.approx(0.1, rel=0.1)
    other = model_of(network, spec, data, seed=2).model
    (first, second) = (
        [each for each in m.parameters() if each.ndim > 1][-1] for m in (model, other)
    )
    assert not torch.equal(first, second)


def test_a_longer_training_keeps_what_was_learned():
    data = data_of(MODEL)
    start, model = from_network(network_of(MODEL, data), "mlp", data, (16, 16))
    assert start.model == model.spec
    assert start.model.options["hidden"] == [16, 16]
    assert start.recipe.name == "mlp-longer"
    assert start.recipe.averaging
    longer_own = longer(OWN, 3)
    assert (longer_own.epochs, longer_own.learning_rate) == (3, OWN.learning_rate / 2)


def test_says_what_does_not_fit():
    data = data_of(MODEL)
    network = network_of(MODEL, data)
    with pytest.raises(DataError, match=r"^tfc has other layers than the network$"):
        model_of(network, ModelSpec("tfc", TASK), data)
    with pytest.raises(DataError, match=r"by adabin cannot be made of a network: only by sign$"):
        model_of(network, MODEL.with_method("adabin"), data)
    padded = ModelSpec("conv-net", TASK, {"convs": [[4, 5, 2], [6, 3, 1, 1]]})
    with pytest.raises(DataError, match=r"is no plain sign$"):
        model_of(network_of(padded, data), padded, data)
