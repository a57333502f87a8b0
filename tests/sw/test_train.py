import csv
import errno
import os
import re
import threading
from dataclasses import replace

import pytest
import torch

from xnorflow.errors import DataError, FormatError, NetworkError
from xnorflow.sw.augment import augment
from xnorflow.sw.batches import accuracy
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.fit import _Training, fit
from xnorflow.sw.models.chain import Chain, ChainConfig, ConvConfig, Method
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.progress import ProgressBar
from xnorflow.sw.recipes import Augmentation, Optimiser, Recipe
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualConfig, ResidualMethod, StemConfig, UnitConfig
from xnorflow.sw.train import MODEL_FILE, adopt, train


CONFIG = ChainConfig((16, 16), classes=3)
RECIPE = Recipe("test", epochs=4, batch_size=32, augmentation=Augmentation(shift=1.0))


def same_model(first, second):
    a, b = first.model.state_dict(), second.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def interrupt(monkeypatch, epoch, error):
    """Let training stop in the middle of ``epoch``."""
    step = _Training.training_step

    def stopping_step(self, batch, index):
        if self.current_epoch == epoch and index == 3:
            raise error
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", stopping_step)


@pytest.mark.parametrize(
    ("method", "optimiser"),
    [*((method, Optimiser.ADAM) for method in Method), (Method.SIGN, Optimiser.SGD)],
)
def test_learns(data, tmp_path, method, optimiser):
    config = ChainConfig((16, 16), method, classes=3)
    rate = {Optimiser.ADAM: 0.01, Optimiser.SGD: 0.1}[optimiser]
    recipe = replace(RECIPE, epochs=8, optimiser=optimiser, learning_rate=rate)
    checkpoint = train(config, recipe, data, tmp_path)
    assert checkpoint.provenance.float_accuracy > 0.9
    assert checkpoint.provenance.method == method.value
    stored = load_checkpoint(tmp_path / MODEL_FILE)
    assert same_model(stored, checkpoint)
    assert stored.provenance == checkpoint.provenance
    assert (
        accuracy(stored.model, data.test_images, data.test_labels)
        == checkpoint.provenance.float_accuracy
    )


@pytest.mark.parametrize("method", Method)
def test_convolutions_learn(data, tmp_path, method):
    layers = (ConvConfig(8, padding=1, pool=2), ConvConfig(8, stride=2))
    config = ChainConfig(
        (), method, classes=3, convolutions=layers, pixels=IntegerPixels((0.4,), (0.2,))
    )
    checkpoint = train(config, replace(RECIPE, epochs=5), data, tmp_path)
    assert checkpoint.provenance.float_accuracy > 0.9
    assert checkpoint.provenance.model == "conv 8p2-8"
    assert same_model(load_checkpoint(tmp_path / MODEL_FILE), checkpoint)


def test_says_how_long_an_epoch_takes(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("xnorflow.sw.progress._TIMED_STEPS", 2)
    texts = []
    update = ProgressBar.on_train_batch_end

    def spy(self, *args):
        update(self, *args)
        texts.append(self._bar.tasks[0].description)

    monkeypatch.setattr(ProgressBar, "on_train_batch_end", spy)
    train(CONFIG, RECIPE, data, tmp_path, progress=True)
    assert texts[0] == "training"
    assert re.fullmatch(r"epoch 1/4, about \d+ s each", texts[1])
    assert re.fullmatch(r"epoch 1/4, train accuracy [0-9.]+%", texts[7])


def check_goes_on(data, folder, monkeypatch, error, config, recipe, **options):
    """A training that stops in the middle of an epoch goes on from its start, to the same model."""
    whole = train(config, recipe, data, folder / "whole", **options)
    with monkeypatch.context() as patch:
        interrupt(patch, 2, error)
        with pytest.raises(type(error)):
            train(config, recipe, data, folder / "parts", **options)
    left = sorted(path.name for path in (folder / "parts").iterdir())
    assert left == [".xnorflow.lock", "logs", "training.ckpt"]

    steps = []
    step = _Training.training_step

    def counting_step(self, batch, index):
        steps.append(self.global_step)
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", counting_step)
    parts = train(config, recipe, data, folder / "parts", **options)
    assert steps == list(range(2 * 7, 4 * 7))
    assert same_model(parts, whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_goes_on_after_an_interruption(data, tmp_path, monkeypatch, error):
    config = ChainConfig((16, 16), Method.ADABIN, classes=3)
    check_goes_on(data, tmp_path, monkeypatch, error, config, RECIPE)


def test_is_reproducible(data, tmp_path):
    first = train(CONFIG, RECIPE, data, tmp_path / "first")
    torch.rand(7)
    again = train(CONFIG, RECIPE, data, tmp_path / "again", progress=True)
    other = train(CONFIG, Recipe("test", 4, 32, seed=2), data, tmp_path / "other")
    assert same_model(first, again)
    assert not same_model(first, other)


@pytest.mark.parametrize("where", ["write", "flush"])
def test_a_full_disk_gets_one_sentence(data, tmp_path, monkeypatch, capfd, where):
    """Logs are written by a thread of TensorBoard's, which has nothing to say for itself."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"tensorboard.summary.writer.record_writer.RecordWriter.{where}", full)
    message = f"^the folder {tmp_path} cannot be written to: No space left on device$"
    hook = threading.excepthook
    with pytest.raises(FormatError, match=message):
        train(CONFIG, RECIPE, data, tmp_path)
    assert threading.excepthook is hook
    assert capfd.readouterr() == ("", "")


def test_two_trainings_do_not_share_a_folder(data, tmp_path, monkeypatch):
    step = _Training.training_step

    def train_again(self, batch, index):
        if self.global_step == 0:
            with pytest.raises(FormatError, match=r"^another run is writing to the folder "):
                train(CONFIG, RECIPE, data, tmp_path)
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", train_again)
    train(CONFIG, replace(RECIPE, epochs=1), data, tmp_path)


def test_can_start_afresh(data, tmp_path):
    train(CONFIG, Recipe("first", epochs=1), data, tmp_path)
    with pytest.raises(FormatError, match="is of a training with other settings: give another"):
        train(CONFIG, RECIPE, data, tmp_path)
    train(CONFIG, RECIPE, data, tmp_path, resume=False)
    assert load_checkpoint(tmp_path / MODEL_FILE).provenance.recipe == "test"


def test_refuses_a_damaged_state(data, tmp_path):
    train(CONFIG, Recipe("first", epochs=1), data, tmp_path)
    state = tmp_path / "training.ckpt"
    for content in (b"", b"nonsense", state.read_bytes()[:5000]):
        state.write_bytes(content)
        with pytest.raises(FormatError, match=r"training\.ckpt is damaged, .*\(--fresh\)$"):
            train(CONFIG, Recipe("first", epochs=1), data, tmp_path)


def test_refuses_a_state_with_a_flipped_bit(data, tmp_path):
    """PyTorch would load it, and go on with another number."""
    recipe = Recipe("first", epochs=1)
    model = train(CONFIG, recipe, data, tmp_path).model
    state = tmp_path / "training.ckpt"
    content = bytearray(state.read_bytes())
    weight = next(model.parameters()).detach().numpy().tobytes()
    content[content.index(weight) + 3] ^= 1
    state.write_bytes(content)
    torch.load(state, weights_only=True)
    with pytest.raises(FormatError, match=r"training\.ckpt is damaged, .*\(--fresh\)$"):
        train(CONFIG, recipe, data, tmp_path)


def test_what_a_file_cannot_tell_of_a_model_is_refused_before_it_is_trained(data, tmp_path):
    config = replace(CONFIG, hidden=(40,) * 80)
    with pytest.raises(NetworkError, match="provenance: model must be 0 to 200 printable"):
        train(config, RECIPE, data, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_logs_every_epoch(data, tmp_path):
    train(CONFIG, RECIPE, data, tmp_path, held_out=60)
    with (tmp_path / "logs/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    held_out = [row["held_out_accuracy"] for row in rows if row["held_out_accuracy"]]
    trained = [row["train_accuracy"] for row in rows if row["train_accuracy"]]
    assert len(held_out) == len(trained) == 4
    assert float(held_out[-1]) > 0.8
    assert list((tmp_path / "logs/version_0").glob("events.out.tfevents.*"))


def test_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match=r"file/run cannot be created: Not a directory$"):
        train(CONFIG, RECIPE, data, tmp_path / "file/run")


@pytest.mark.parametrize(
    ("config", "held_out", "message"),
    [
        (
            ChainConfig((16,)),
            0,
            r"^stripes has 3 classes of images of 28×28×1, the model 10 of 28×28×1$",
        ),
        (CONFIG, 240, "^images to hold out must be from 0 to 239, not 240$"),
        (CONFIG, -1, "^images to hold out must be from 0 to 239, not -1$"),
    ],
)
def test_refuses_data_that_do_not_fit(data, tmp_path, config, held_out, message):
    with pytest.raises(DataError, match=message):
        train(config, RECIPE, data, tmp_path, held_out=held_out)


@pytest.mark.slow
def test_several_devices_share_the_work(data, tmp_path):
    options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_fork"}
    train(CONFIG, RECIPE, data, tmp_path, **options)
    checkpoint = load_checkpoint(tmp_path / MODEL_FILE)
    assert checkpoint.provenance.float_accuracy > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "at least 1 epoch and 2 images in a batch, not 0 and 256$"),
        ({"epochs": 1, "batch_size": 1}, "not 1 and 1$"),
        ({"epochs": 1, "learning_rate": 0.0}, "^a learning rate must be positive, not 0.0$"),
        ({"epochs": 1, "learning_rate": float("nan")}, "must be positive, not nan$"),
        ({"epochs": 1, "label_smoothing": 1.0}, "^label smoothing must be from 0 to 1, not 1.0$"),
        ({"epochs": 1, "progress": 1.1}, "^progress must be from 0 to 1, not 1.1$"),
        ({"epochs": 1, "views": 0}, "^a teacher must look at 1 view or more, not 0$"),
        ({"epochs": 1, "weight_decay": -0.1}, "^weight decay and temperature cannot be negative$"),
        ({"epochs": 1, "temperature": -1.0}, "^weight decay and temperature cannot be negative$"),
        ({"epochs": 1, "centred": 0.5}, "^of 1 epochs, one must be left in which the weights are "),
        ({"epochs": 9, "centred": 1.0}, "^of 9 epochs, one must be left in which the weights are "),
    ],
)
def test_refuses_a_recipe_out_of_range(options, message):
    with pytest.raises(DataError, match=message):
        Recipe("wrong", **options)


# -- augmentation ---------------------------------------------------------------------------------


def make_image(height, width):
    image = torch.zeros(1, height, width, 1)
    image[0, height // 2 - 2 : height // 2 + 2, width // 2 - 3 : width // 2 + 1] = 200.0
    return image


def centre_of_mass(image):
    rows, columns = (torch.arange(size) + 0.5 - size / 2 for size in image.shape[1:3])
    mass = image[0, :, :, 0]
    return (
        float((mass.sum(1) * rows).sum() / mass.sum()),
        float((mass.sum(0) * columns).sum() / mass.sum()),
    )


def augmented(image, seed, **options):
    return augment(image, Augmentation(**options), torch.Generator().manual_seed(seed))


def test_no_augmentation_changes_nothing():
    image = make_image(28, 28)
    assert torch.equal(augmented(image, 1), image)
    assert augmented(image.to(torch.uint8), 1).dtype == torch.float32


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 32)])
@pytest.mark.parametrize("seed", range(5))
def test_shifts_by_so_many_pixels(height, width, seed):
    image = make_image(height, width)
    before, after = centre_of_mass(image), centre_of_mass(augmented(image, seed, shift=2.0))
    moves = [b - a for a, b in zip(before, after, strict=True)]
    assert all(0.01 < abs(move) <= 2.0 for move in moves)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 32)])
@pytest.mark.parametrize("seed", range(5))
def test_rotates_about_the_centre(height, width, seed):
    image = make_image(height, width)
    row, column = centre_of_mass(image)
    after = centre_of_mass(augmented(image, seed, rotation=90.0))
    assert sum(x * x for x in after) == pytest.approx(row**2 + column**2, rel=0.05)
    assert after != pytest.approx((row, column), abs=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_zooms(seed):
    image = make_image(28, 28)
    ratio = augmented(image, seed, zoom=0.2).sum() / image.sum()
    assert 1 / 1.2**2 - 0.05 < ratio < 1 / 0.8**2 + 0.05
    assert abs(ratio - 1) > 0.01


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 32)])
def test_crops_by_whole_pixels(height, width):
    images = make_image(height, width).repeat(500, 1, 1, 1)
    after = augmented(images, 1, crop=3)
    expected = {
        (r, c): torch.nn.functional.pad(images[:1], (0, 0, 3, 3, 3, 3))[
            :, r : r + height, c : c + width
        ]
        for r in range(7)
        for c in range(7)
    }
    seen = {
        place
        for image in after
        for place, wanted in expected.items()
        if torch.equal(image[None], wanted)
    }
    assert seen == expected.keys()
    assert all(any(torch.equal(image[None], x) for x in expected.values()) for image in after[:50])


def test_flips_half_of_the_images():
    images = torch.rand(400, 4, 5, 3)
    after = augmented(images, 1, flip=True)
    mirrored = [torch.equal(new, old.flip(1)) for new, old in zip(after, images, strict=True)]
    assert 160 < sum(mirrored) < 240
    kept = [torch.equal(new, old) for new, old in zip(after, images, strict=True)]
    assert [a != b for a, b in zip(kept, mirrored, strict=True)] == [True] * 400


# -- training on ----------------------------------------------------------------------------------


SMALL = ResidualConfig(
    ResidualMethod.ADABIN,
    StemConfig(4),
    (UnitConfig(4), UnitConfig(8, stride=2)),
    IntegerPixels((0.4,), (0.3,)),
    input_shape=(28, 28, 1),
    classes=3,
    grid=Grid(14, 6),
)


@pytest.fixture(scope="module")
def textures(data):
    """Images whose classes are patterns: what a global average can tell apart."""
    row, column = torch.arange(28)[:, None] // 2, torch.arange(28) // 2
    patterns = torch.stack([(row + 0 * column) % 2, (0 * row + column) % 2, (row + column) % 2])
    noise = torch.randint(0, 100, (300, 28, 28), generator=torch.Generator().manual_seed(1))
    images = (noise + 120 * patterns[torch.arange(300) % 3])[..., None].to(torch.uint8)
    return replace(data, train_images=images[:240], test_images=images[240:])


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("method", ResidualMethod)
def test_residual_models_learn(textures, tmp_path, method, mixed):
    recipe = Recipe("test", epochs=8, batch_size=24, mixed=mixed)
    checkpoint = train(replace(SMALL, method=method), recipe, textures, tmp_path)
    assert checkpoint.provenance.float_accuracy > 0.9


@pytest.mark.parametrize("fast", [False, True])
def test_bfloat16_is_for_those_that_multiply_it(textures, tmp_path, monkeypatch, fast):
    monkeypatch.setattr("xnorflow.sw.fit._multiplies_bfloat16", lambda _device: fast)
    recipe = Recipe("test", epochs=1, batch_size=120, mixed=True)
    trainer = fit(Residual(SMALL), recipe, textures, tmp_path)
    assert trainer.precision == ("bf16-mixed" if fast else "32-true")
    monkeypatch.setattr("xnorflow.sw.fit._multiplies_bfloat16", lambda _device: not fast)
    with pytest.raises(FormatError, match="with other settings"):
        fit(Residual(SMALL), recipe, textures, tmp_path)


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_weights_stay(textures, tmp_path, frozen):
    start = Residual(SMALL)
    recipe = Recipe("test", epochs=2, batch_size=24, frozen=frozen)
    trained = train(SMALL, recipe, textures, tmp_path, start=start).model
    found, before = trained.state_dict(), start.state_dict()
    binary = {name for name in before if name.endswith("conv.conv.weight")}
    assert len(binary) == len(start.units)
    assert all(torch.equal(found[name], before[name]) == frozen for name in binary)
    others = dict(start.named_parameters()).keys() - binary
    assert any("quantiser" in name for name in others)
    assert not any(torch.equal(found[name], before[name]) for name in others)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's own
def test_a_compiled_model_learns_the_same(textures, tmp_path):
    recipe = Recipe("test", epochs=2, batch_size=24)
    plain = train(SMALL, recipe, textures, tmp_path / "plain")
    compiled = train(SMALL, recipe, textures, tmp_path / "compiled", compiled=True)
    # Sums are rounded in another order, which now and then moves a value of the grid.
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(
            compiled.model.state_dict()[name], value, rtol=0.05, atol=0.02, msg=name
        )


@pytest.mark.parametrize(
    ("config", "compiler", "message"),
    [
        (CONFIG, "g++", "only residual models can be compiled for training"),
        (SMALL, "no-such-compiler", "to compile a model for training, install g++"),
    ],
)
def test_refuses_to_compile(data, tmp_path, monkeypatch, config, compiler, message):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        train(config, RECIPE, data, tmp_path, compiled=True)


def test_training_starts_with_what_it_is_given(data, tmp_path):
    """A step so small that nothing changes shows where it started."""
    first = train(replace(SMALL, grid=None), RECIPE, data, tmp_path / "first").model
    recipe = replace(RECIPE, epochs=1, learning_rate=1e-12)
    second = train(SMALL, recipe, data, tmp_path / "second", start=first).model
    assert second.config == SMALL
    for name, value in first.named_parameters():
        torch.testing.assert_close(second.get_parameter(name), value, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "before"),
    [
        (ResidualMethod.SIMAN, ResidualMethod.SIMAN),
        (ResidualMethod.DYBNN, ResidualMethod.REACTNET),
        (ResidualMethod.SIMAN, ResidualMethod.ADABIN),
    ],
)
def test_goes_on_with_what_it_was_given(data, tmp_path, monkeypatch, method, before):
    """Also with how far the weight quantisers are, which no file tells."""
    torch.manual_seed(0)
    start = Residual(replace(SMALL, method=before, grid=None))
    recipe = replace(RECIPE, progress=0.5, centred=0.75, measured=True)
    config, error = replace(SMALL, method=method), KeyboardInterrupt()
    check_goes_on(data, tmp_path, monkeypatch, error, config, recipe, start=start)


def test_a_folder_belongs_to_one_start(data, tmp_path):
    """Another model to start from, or other data, is another training."""
    torch.manual_seed(0)
    recipe = replace(RECIPE, epochs=1)
    train(SMALL, recipe, data, tmp_path, start=Residual(SMALL))
    text = r"is of a training with other settings: .* let this one start afresh \(--fresh\)$"
    with pytest.raises(FormatError, match=text):
        train(SMALL, recipe, data, tmp_path, start=Residual(SMALL))
    with pytest.raises(FormatError, match=text):
        train(SMALL, recipe, replace(data, name="other"), tmp_path, start=None)


def test_what_does_not_fit_starts_anew():
    torch.manual_seed(0)
    start = Residual(replace(SMALL, method=ResidualMethod.REACTNET))
    model = Residual(replace(SMALL, method=ResidualMethod.DYBNN))
    fresh = adopt(model, start)
    assert torch.equal(model.units[0].conv.conv.weight, start.units[0].conv.conv.weight)
    assert "units.0.sign.hyper.squeeze.weight" in fresh
    assert "units.0.conv.conv.weight" not in fresh
    assert not (set(fresh) & start.state_dict().keys())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Method.SIGN, Method.SIMAN),
        (Method.ADABIN, Method.SIMAN_BIPOLAR),
        (Method.SIMAN, Method.ADABIN),
        (Method.SIMAN_BIPOLAR, Method.SIMAN),
    ],
)
def test_refuses_to_start_with_weights_that_would_be_other_bits(before, after):
    model, start = (Chain(replace(CONFIG, method=method)) for method in (after, before))
    text = f"as {after.value}, the weights of a chain of {before.value} would be other bits: train"
    with pytest.raises(DataError, match=f"^{text} one from its first parameters$"):
        adopt(model, start)


def test_a_chain_of_signs_starts_adabin():
    model, start = (Chain(replace(CONFIG, method=m)) for m in (Method.ADABIN, Method.SIGN))
    adopt(model, start)
    assert torch.equal(model.layers[0].weight, start.layers[0].weight)


def test_refuses_to_start_with_another_kind_of_model():
    text = "nothing of the model to start from fits the one to be trained"
    with pytest.raises(DataError, match=f"^{text}$"):
        adopt(Residual(SMALL), Chain(CONFIG))


def test_weight_quantisers_go_on_from_where_the_recipe_says(data, tmp_path, monkeypatch):
    seen = []
    step = _Training.training_step

    def watching_step(self, batch, index):
        seen.append(self.model.units[0].conv.conv.weight_quantiser.progress)
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", watching_step)
    train(SMALL, replace(RECIPE, epochs=2, progress=0.5), data, tmp_path)
    assert sorted(set(seen)) == [0.5, 0.75]


def test_half_weights_leave_their_centre(data, tmp_path, monkeypatch):
    seen = []
    step = _Training.training_step

    def watching_step(self, batch, index):
        if index == 0:
            conv = self.model.units[0].conv.conv
            code, _ = conv.weight_quantiser.encode(conv.weight.detach().flatten(1).clone())
            seen.append((code.min().item(), code.max().item()))
        return step(self, batch, index)

    monkeypatch.setattr(_Training, "training_step", watching_step)
    recipe = replace(RECIPE, epochs=4, centred=0.5)
    model = train(replace(SMALL, method=ResidualMethod.SIMAN), recipe, data, tmp_path).model
    assert seen == [(-0.5, 0.5), (-0.25, 0.75), (0.0, 1.0), (0.0, 1.0)]
    assert set(model.units[0].conv.quantise().code.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("method", [Method.SIMAN, Method.ADABIN])
def test_measured_statistics_are_those_of_all_images(data, tmp_path, monkeypatch, method):
    """And nothing else changes, above all no weight that is clipped in training."""
    monkeypatch.setattr("xnorflow.sw.statistics.EVALUATION_BATCH", 80)
    config, recipe = replace(CONFIG, method=method), replace(RECIPE, augmentation=Augmentation())
    plain = train(config, recipe, data, tmp_path / "plain").model
    model = train(config, replace(recipe, measured=True), data, tmp_path / "measured").model
    state, before = model.state_dict(), plain.state_dict()
    changed = {name for name in state if not torch.equal(state[name], before[name])}
    assert {name.rpartition(".")[2] for name in changed} >= {"running_mean", "running_var"}
    assert all("running" in name or "tracked" in name for name in changed)
    assert not any(module.training for module in model.modules())
    assert {norm.momentum for norm in model.norms} == {norm.momentum for norm in plain.norms}

    inputs = []
    model.norms[0].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        model(data.train_images.float())
    parts = inputs[0].unflatten(0, (3, 80))
    torch.testing.assert_close(model.norms[0].running_mean, parts.mean(dim=(0, 1)))
    torch.testing.assert_close(model.norms[0].running_var, parts.var(dim=1).mean(dim=0))
