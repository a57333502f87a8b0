"""Checkpoints of version 3, and the scores that their networks had."""

from pathlib import Path

import numpy as np
import pytest
import torch

from xnorflow.sw.checkpoint import load_checkpoint, save_checkpoint
from xnorflow.sw.compare import compare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower


FOLDER = Path(__file__).parent / "former"
SCORES = np.load(FOLDER / "scores.npz")


def images_of(frame):
    values = np.random.default_rng(0).integers(0, 256, (20, *frame.shape), dtype=np.uint8)
    return torch.from_numpy(values)


def test_each_checkpoint_has_scores():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(SCORES.files)


@pytest.mark.parametrize("name", [name for name in SCORES.files if name != "residual_float"])
def test_former_checkpoints_are_the_same_networks(name):
    checkpoint = load_checkpoint(FOLDER / f"{name}.safetensors")
    images = images_of(checkpoint.frame)
    network = lower(checkpoint.model, input=checkpoint.frame)
    assert np.array_equal(golden(network, images).scores.numpy(), SCORES[name])
    assert compare(checkpoint.model, network, images).differing == 0


def test_a_former_checkpoint_in_floating_point_has_the_same_scores():
    checkpoint = load_checkpoint(FOLDER / "residual_float.safetensors")
    pixels = images_of(checkpoint.frame).movedim(-1, 1).double()
    with torch.no_grad():
        found = checkpoint.model.double()(pixels).numpy()
    np.testing.assert_allclose(found, SCORES["residual_float"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SCORES.files)
def test_former_checkpoints_are_written_anew(tmp_path, name):
    checkpoint = load_checkpoint(FOLDER / f"{name}.safetensors")
    save_checkpoint(checkpoint, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model")
    assert (again.spec, again.grid) == (checkpoint.spec, checkpoint.grid)
    state = again.model.state_dict()
    assert all(torch.equal(state[key], v) for key, v in checkpoint.model.state_dict().items())
