from dataclasses import replace
from functools import partialmethod

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tests.training import GRID, MODEL, RECIPE, SMALL, check_goes_on, same_model, untrained
from xnorflow.errors import DataError, FormatError
from xnorflow.sw.fit import _Training, fit
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import Augmentation, Recipe
from xnorflow.sw.train import train


@pytest.fixture(scope="module")
def textures(data):
    """Images whose classes are patterns: what a global average can tell apart."""
    row, column = torch.arange(28)[:, None] // 2, torch.arange(28) // 2
    patterns = torch.stack([(row + 0 * column) % 2, (0 * row + column) % 2, (row + column) % 2])
    noise = torch.randint(0, 100, (300, 28, 28), generator=torch.Generator().manual_seed(1))
    images = (noise + 120 * patterns[torch.arange(300) % 3])[..., None].to(torch.uint8)
    return replace(data, train_images=images[:240], test_images=images[240:])


@pytest.mark.parametrize(
    ("method", "mixed"),
    [
        *((method, False) for method in ResidualMethod),
        (ResidualMethod.ADABIN, True),
        *(
            pytest.param(method, True, marks=pytest.mark.slow)
            for method in ResidualMethod
            if method is not ResidualMethod.ADABIN
        ),
    ],
)
def test_residual_models_learn(textures, tmp_path, method, mixed):
    recipe = Recipe("test", epochs=8, batch_size=24, mixed=mixed)
    checkpoint = train(SMALL.with_method(method.value), recipe, textures, tmp_path, grid=GRID)
    assert checkpoint.provenance.float_accuracy > 0.9


@pytest.mark.parametrize("fast", [False, True])
def test_bfloat16_is_for_those_that_multiply_it(textures, tmp_path, monkeypatch, fast):
    monkeypatch.setattr("xnorflow.sw.fit._multiplies_bfloat16", lambda _device: fast)
    recipe = Recipe("test", epochs=1, batch_size=120, mixed=True)
    trainer = fit(untrained(SMALL, GRID).model, recipe, textures, tmp_path)
    assert trainer.precision == ("bf16-mixed" if fast else "32-true")
    monkeypatch.setattr("xnorflow.sw.fit._multiplies_bfloat16", lambda _device: not fast)
    with pytest.raises(FormatError, match="with other settings"):
        fit(untrained(SMALL, GRID).model, recipe, textures, tmp_path)


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_weights_stay(textures, tmp_path, frozen):
    start = untrained(SMALL, GRID)
    recipe = Recipe("test", epochs=2, batch_size=24, frozen=frozen)
    trained = train(SMALL, recipe, textures, tmp_path, grid=GRID, start=start).model
    found, before = trained.state_dict(), start.model.state_dict()
    binary = {f"blocks.{n}.conv.weight" for n in range(2)}
    assert all(torch.equal(found[name], before[name]) == frozen for name in binary)
    others = dict(start.model.named_parameters()).keys() - binary
    assert any("quantiser" in name for name in others)
    assert not any(torch.equal(found[name], before[name]) for name in others)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's own
def test_a_compiled_model_learns_the_same(textures, tmp_path):
    recipe = Recipe("test", epochs=2, batch_size=24)
    plain = train(SMALL, recipe, textures, tmp_path / "plain", grid=GRID)
    compiled = train(SMALL, recipe, textures, tmp_path / "compiled", grid=GRID, compiled=True)
    # Sums are rounded in another order, which now and then moves a value of the grid.
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(
            compiled.model.state_dict()[name], value, rtol=0.05, atol=0.02, msg=name
        )


@pytest.mark.filterwarnings("ignore")  # PyTorch's own
@pytest.mark.parametrize(
    ("spec", "grid", "method"),
    [
        (MODEL, None, "siman"),
        (SMALL, GRID, "adabin"),
        pytest.param(MODEL, None, "adabin", marks=pytest.mark.slow),
        pytest.param(SMALL, GRID, "siman", marks=pytest.mark.slow),
    ],
)
def test_a_graph_without_other_kernels_learns_exactly_the_same(
    data, tmp_path, monkeypatch, spec, grid, method
):
    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", partialmethod(compile_, backend="aot_eager"))
    spec, recipe = spec.with_method(method), replace(RECIPE, epochs=2)
    plain = train(spec, recipe, data, tmp_path / "plain", grid=grid)
    compiled = train(spec, recipe, data, tmp_path / "compiled", grid=grid, compiled=True)
    assert same_model(plain, compiled)


COMPILED = ResidualMethod.ADABIN, ResidualMethod.SIMAN, ResidualMethod.DYBNN_SEPARATE


@pytest.mark.filterwarnings("ignore")  # PyTorch's own
@pytest.mark.parametrize(
    ("spec", "grid"),
    [
        *((MODEL.with_method(method.value), None) for method in Method),
        *(
            pytest.param(
                SMALL.with_method(method.value),
                GRID,
                marks=() if method in COMPILED else pytest.mark.slow,
            )
            for method in ResidualMethod
        ),
    ],
)
def test_a_model_is_compiled_once(data, tmp_path, monkeypatch, spec, grid):
    """And not again in each epoch, in which the weight quantisers are farther."""
    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", partialmethod(compile_, backend="eager"))
    counters.clear()
    recipe = replace(RECIPE, epochs=3, centred=0.5)
    train(spec, recipe, data, tmp_path, grid=grid, held_out=40, compiled=True)
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize(("spec", "grid"), [(MODEL, None), (SMALL, GRID)])
def test_refuses_to_compile_without_a_compiler(data, tmp_path, monkeypatch, spec, grid):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DataError, match=r"^to compile a model for training, install g\+\+$"):
        train(spec, RECIPE, data, tmp_path, grid=grid, compiled=True)


def test_training_starts_with_what_it_is_given(data, tmp_path):
    """A step so small that nothing changes shows where it started."""
    first = train(SMALL, RECIPE, data, tmp_path / "first")
    recipe = replace(RECIPE, epochs=1, learning_rate=1e-12)
    second = train(SMALL, recipe, data, tmp_path / "second", grid=GRID, start=first)
    assert (second.spec, second.grid, first.grid) == (SMALL, GRID, None)
    for name, value in first.model.named_parameters():
        found = second.model.get_parameter(name)
        torch.testing.assert_close(found, value, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "before"), [("siman", "siman"), ("dybnn", "reactnet"), ("siman", "adabin")]
)
def test_goes_on_with_what_it_was_given(data, tmp_path, monkeypatch, method, before):
    """Also with how far the weight quantisers are, which no file tells."""
    torch.manual_seed(0)
    start = untrained(SMALL.with_method(before))
    recipe = replace(RECIPE, progress=0.5, centred=0.75, measured=True)
    model, error = SMALL.with_method(method), KeyboardInterrupt()
    check_goes_on(data, tmp_path, monkeypatch, error, model, recipe, grid=GRID, start=start)


def test_a_folder_belongs_to_one_start(data, tmp_path):
    """Another model to start from, another grid, or other data, is another training."""
    torch.manual_seed(0)
    recipe, start = replace(RECIPE, epochs=1), untrained(SMALL)
    train(SMALL, recipe, data, tmp_path, grid=GRID, start=start)
    text = r"is of a training with other settings: .* let this one start afresh \(--fresh\)$"
    for others in ({"start": untrained(SMALL)}, {"grid": Grid(15, 6)}, {"start": None}):
        with pytest.raises(FormatError, match=text):
            train(SMALL, recipe, data, tmp_path, **{"grid": GRID, "start": start} | others)
    with pytest.raises(FormatError, match=text):
        train(SMALL, recipe, replace(data, name="other"), tmp_path, grid=GRID, start=start)


def test_weight_quantisers_go_on_from_where_the_recipe_says(data, tmp_path, monkeypatch):
    seen = []
    step = _Training.training_step

    def watching_step(self, batch, index):
        seen.append(self.model.get_submodule("blocks.0.conv").weight_quantiser.progress)
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", watching_step)
    train(SMALL, replace(RECIPE, epochs=2, progress=0.5), data, tmp_path, grid=GRID)
    assert sorted(set(seen)) == [0.5, 0.75]


def test_half_weights_leave_their_centre(data, tmp_path, monkeypatch):
    seen = []
    step = _Training.training_step

    def watching_step(self, batch, index):
        if index == 0:
            conv = self.model.get_submodule("blocks.0.conv")
            code, _ = conv.weight_quantiser.encode(conv.weight.detach().flatten(1).clone())
            seen.append((code.min().item(), code.max().item()))
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", watching_step)
    recipe = replace(RECIPE, epochs=4, centred=0.5)
    model = train(SMALL.with_method("siman"), recipe, data, tmp_path, grid=GRID).model
    assert seen == [(-0.5, 0.5), (-0.25, 0.75), (0.0, 1.0), (0.0, 1.0)]
    conv = model.get_submodule("blocks.0.conv")
    code, _ = conv.weight_quantiser.encode(conv.weight.flatten(1))
    assert set(code.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("method", [Method.SIMAN, Method.ADABIN])
def test_measured_statistics_are_those_of_all_images(data, tmp_path, monkeypatch, method):
    """And nothing else changes, above all no weight that is clipped in training."""
    monkeypatch.setattr("xnorflow.sw.statistics.EVALUATION_BATCH", 80)
    spec, recipe = MODEL.with_method(method.value), replace(RECIPE, augmentation=Augmentation())
    plain = train(spec, recipe, data, tmp_path / "plain").model
    model = train(spec, replace(recipe, measured=True), data, tmp_path / "measured").model
    state, before = model.state_dict(), plain.state_dict()
    changed = {name for name in state if not torch.equal(state[name], before[name])}
    assert {name.rpartition(".")[2] for name in changed} >= {"running_mean", "running_var"}
    assert all("running" in name or "tracked" in name for name in changed)
    assert not any(module.training for module in model.modules())
    assert model.norm1.momentum == plain.norm1.momentum

    inputs = []
    model.norm1.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        model(data.train_images.movedim(-1, 1).float())
    parts = inputs[0].unflatten(0, (3, 80))
    torch.testing.assert_close(model.norm1.running_mean, parts.mean(dim=(0, 1)))
    torch.testing.assert_close(model.norm1.running_var, parts.var(dim=1).mean(dim=0))
