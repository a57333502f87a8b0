"""Training: a model, a recipe and a data set → a checkpoint."""

import copy
import hashlib
import io
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning
import numpy as np
import safetensors.torch
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from xnorflow.errors import DataError, FormatError
from xnorflow.files import make_folder, read_file, write_atomically
from xnorflow.network import Provenance
from xnorflow.sw.augment import augment
from xnorflow.sw.checkpoint import Checkpoint, save_checkpoint
from xnorflow.sw.data import ImageData
from xnorflow.sw.kinds import Config, Model, build
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.weights import AdaBinWeight, SiManWeight
from xnorflow.sw.recipes import Optimiser, Recipe
from xnorflow.sw.residual import Residual
from xnorflow.sw.translate import is_translated, translate


__all__ = ["MODEL_FILE", "accuracy", "adopt", "fit", "train"]

MODEL_FILE = "model.safetensors"
"""Name of the trained model in its folder."""

_STATE = "training.ckpt"
_EVALUATION_BATCH = 250

# After so many steps it is known how long an epoch will take.
_TIMED_STEPS = 20
_LOOKED_AT = 100
"""Training pictures that a translation looks at."""


def train(
    config: Config,
    recipe: Recipe,
    data: ImageData,
    folder: Path | str,
    *,
    start: Model | None = None,
    teacher: nn.Module | None = None,
    resume: bool = True,
    held_out: int = 0,
    compiled: bool = False,
    progress: bool = False,
    **trainer_options: Any,
) -> Checkpoint:
    """Train a model, and write it to ``folder``.

    The folder gets `MODEL_FILE` at the end, ``logs`` (CSV and TensorBoard), and after each epoch
    ``training.ckpt``, from which an interrupted training goes on with the same result.

    Parameters
    ----------
    config, recipe, data
        What is trained, how, and on what.
    folder : path
        It is created where it is missing.
    start : Chain or Residual, optional
        A trained model whose parameters this one starts with: see `adopt`.
    teacher : Module, optional
        What gives logits of pixels, from which a recipe with a temperature learns.
    resume : bool
        Go on from where the folder's training stopped, if it has one. Otherwise start afresh.
    held_out : int
        Training pictures that are put aside, the last ones, for measuring accuracy after each
        epoch: for choosing recipes.
    compiled : bool
        Let PyTorch compile the units of a residual model, which takes a minute or two and then
        halves the time of a step on a processor. It needs a compiler of C++.
    progress : bool
        Show a progress bar.
    trainer_options
        For `lightning.Trainer`: ``devices``, ``accelerator``, ``strategy``, …

    Returns
    -------
    Checkpoint
        The model in evaluation mode, and its accuracy on the test set, measured in float64.

    Raises
    ------
    DataError
        If the data do not fit the model; if the recipe needs a teacher and there is none, or the
        other way round; or if the model is to be compiled and is not residual, or there is no
        compiler.
    FormatError
        If the folder's training is damaged or was started with other settings, or if the folder
        cannot be written.
    """
    _check(config, data, held_out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build(config)
    if start is not None:
        adopt(model, start, data.train_images[:_LOOKED_AT])
    if compiled:
        if not isinstance(model, Residual):
            raise DataError("only residual models can be compiled for training")
        if shutil.which(os.environ.get("CXX", "g++")) is None:
            raise DataError("to compile a model for training, install g++")
        # What earlier trainings compiled counts towards a limit, beyond which nothing is compiled.
        torch.compiler.reset()
        model.compile_parts()
    origins = [f", {_digest(other)}" for other in (start, teacher) if other is not None]
    trainer = fit(
        model,
        recipe,
        data,
        folder,
        origin="".join(origins),
        teacher=teacher,
        resume=resume,
        held_out=held_out,
        progress=progress,
        **trainer_options,
    )
    trained = build(config)
    trained.load_state_dict(model.state_dict())
    trained.eval()
    checkpoint = Checkpoint(
        trained,
        Provenance(
            dataset=data.name,
            model=str(config),
            method=config.method.value,
            recipe=recipe.name,
            seed=recipe.seed,
            epochs=recipe.epochs,
            float_accuracy=accuracy(trained, data.test_images, data.test_labels),
        ),
    )
    if trainer.is_global_zero:
        save_checkpoint(checkpoint, Path(folder) / MODEL_FILE)
    return checkpoint


def fit(
    model: nn.Module,
    recipe: Recipe,
    data: ImageData,
    folder: Path | str,
    *,
    origin: str = "",
    teacher: nn.Module | None = None,
    resume: bool = True,
    held_out: int = 0,
    progress: bool = False,
    **trainer_options: Any,
) -> lightning.Trainer:
    """Train ``model``, of any kind that has a ``config``, in place; see `train`.

    ``origin`` tells what else decides the outcome: a training goes on only with the same.
    """
    folder = Path(folder)
    if (teacher is None) != (recipe.temperature == 0):
        raise DataError(
            "the recipe learns from labels, not from a teacher"
            if teacher is not None
            else "the recipe needs a teacher"
        )
    split = len(data.train_images) - held_out
    pictures = _Pictures(data.train_images[:split], data.train_labels[:split])
    task = _Training(model, recipe, pictures, data.name + origin, teacher)
    validation = _Pictures(data.train_images[split:], data.train_labels[split:])

    make_folder(folder)
    state = folder / _STATE
    if not resume:
        state.unlink(missing_ok=True)
    elif state.exists():
        _check_state(state, task.settings)
    csv = CSVLogger(folder, name="logs")
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=recipe.epochs,
            precision="bf16-mixed" if recipe.mixed else "32-true",
            logger=[csv, TensorBoardLogger(folder, name="logs", version=csv.version)],
            callbacks=[
                ModelCheckpoint(folder, state.stem, enable_version_counter=False),
                *([_ProgressBar()] if progress else []),
            ],
            plugins=[_AtomicCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            **trainer_options,
        )
        try:
            trainer.fit(
                task,
                val_dataloaders=_in_order(validation) if held_out else None,
                ckpt_path=state if state.exists() else None,
                weights_only=True,
            )
        except SystemExit:
            # Lightning's answer to Ctrl-C.
            raise KeyboardInterrupt from None
    return trainer


def adopt(model: Model, start: Model, images: Tensor | None = None) -> list[str]:
    """Let ``model`` start with those parameters of ``start`` that have a place in it.

    They are those of the same name and shape: all, where only the grid differs. Where the method
    of a residual model does, ``start`` may have to be translated first, looking at ``images``: see
    `translate`.

    Returns
    -------
    list of str
        Names of the parameters that keep their first values.

    Raises
    ------
    DataError
        If no weights of convolutions and dense layers have a place, or if ``start`` has another
        shape and must be translated.
    """
    if isinstance(model, Residual) and isinstance(start, Residual):
        ours = model.config
        if is_translated(start.config.method, ours.method):
            start = translate(start, ours, images)
    theirs = start.state_dict()
    state = model.state_dict()
    fitting = {
        name: theirs[name].detach().clone()
        for name, value in state.items()
        if name in theirs and theirs[name].shape == value.shape
    }
    if not any(name.endswith("weight") and fitting[name].dim() > 1 for name in fitting):
        raise DataError("nothing of the model to start from fits the one to be trained")
    model.load_state_dict(state | fitting)
    return sorted(state.keys() - fitting.keys())


@torch.no_grad()
def accuracy(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Fraction of ``images`` (N, height, width, channels) that the model gets right in float64.

    ``progress`` is called now and then with the number of images that are done, and of all.
    """
    model = copy.deepcopy(model).double().eval()
    right = done = 0
    for batch, expected in zip(
        images.split(_EVALUATION_BATCH), labels.split(_EVALUATION_BATCH), strict=True
    ):
        right += int((model(batch).argmax(dim=1) == expected).sum())
        done += len(batch)
        if progress is not None:
            progress(done, len(images))
    return right / len(images)


def _digest(model: nn.Module) -> str:
    """Digest of a model's parameters."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()


def _check(config: Config, data: ImageData, held_out: int) -> None:
    shape = tuple(data.train_images.shape[1:])
    if shape != config.input_shape or len(data.classes) != config.classes:
        raise DataError(
            f"{data.name} has {len(data.classes)} classes of pictures of {shape}, "
            f"the model {config.classes} of {config.input_shape}"
        )
    if not 0 <= held_out < len(data.train_images):
        raise DataError(
            f"pictures to hold out must be from 0 to {len(data.train_images) - 1}, not {held_out}"
        )


def _check_state(path: Path, settings: str) -> None:
    """Check that the training in ``path`` was started with ``settings``."""
    content = read_file(path)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # Damage shows in many ways.
    except (EOFError, OSError, RuntimeError, ValueError, UnpicklingError):
        raise FormatError(f"{path} is damaged, so the training must start afresh") from None
    if not isinstance(state, dict) or state.get("settings") != settings:
        raise FormatError(
            f"{path} is of a training with other settings: "
            "give another folder, or let this one start afresh"
        )


class _AtomicCheckpointIO(TorchCheckpointIO):
    """Writes the state whole or not at all, on whatever file system the folder is."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``; there are no ``storage_options``."""
        if storage_options is not None:
            raise TypeError("a state is written without storage options")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(path, buffer.getvalue())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice on hardware and on loading data to itself."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)


# -- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures in memory, from which a whole batch is picked at once."""

    images: Tensor
    labels: Tensor

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.images[indices], self.labels[indices]

    def __len__(self) -> int:
        return len(self.images)


class _Shuffle(Sampler[Tensor]):
    """Batches of indices, in an order that seed and epoch decide; devices take turns.

    What does not fill a batch on every device is left out of the epoch.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int, devices: int) -> None:
        self.count = count
        self.batch_size = min(batch_size, count // devices)
        self.seed = seed
        self.rank = rank
        self.devices = devices
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning, after a resumption too."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        # A generator, because after a resumption Lightning sets the epoch later than it comes here.
        order = torch.randperm(self.count, generator=_generator(self.seed, self.epoch))
        batches = order.split(self.batch_size)[: len(self) * self.devices]
        yield from batches[self.rank :: self.devices]

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.devices)


def _in_order(pictures: _Pictures) -> DataLoader[tuple[Tensor, Tensor]]:
    batches = torch.arange(len(pictures)).split(_EVALUATION_BATCH)
    return DataLoader(pictures, batch_size=None, sampler=batches)


def _generator(*seeds: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Generator that depends on all of ``seeds``, and on nothing that happened before."""
    (seed,) = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(seed))


# -- the loop -------------------------------------------------------------------------------------


class _Training(lightning.LightningModule):
    """What happens in a step. All randomness comes from the seed and the count of steps."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        pictures: _Pictures,
        origin: str,
        teacher: nn.Module | None,
    ) -> None:
        super().__init__()
        self.origin = origin
        self.model = model
        self.teacher = teacher
        self.recipe = recipe
        self.pictures = pictures

    @property
    def settings(self) -> str:
        """What must stay the same when a training goes on."""
        return repr((self.model.config, self.recipe, len(self.pictures), self.origin))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Batches of this device."""
        trainer, recipe = self.trainer, self.recipe
        shuffle = _Shuffle(
            len(self.pictures),
            recipe.batch_size,
            recipe.seed,
            trainer.global_rank,
            trainer.world_size,
        )
        return DataLoader(self.pictures, batch_size=None, sampler=shuffle)

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimiser, and a learning rate that changes with every step."""
        for module in self.model.modules():
            if isinstance(module, BinaryConv2d | BinaryLinear):
                module.weight.requires_grad_(not self.recipe.frozen)
        parameters = [each for each in self.model.parameters() if each.requires_grad]
        rate, decay = self.recipe.learning_rate, self.recipe.weight_decay
        optimiser: torch.optim.Optimizer
        match self.recipe.optimiser:
            case Optimiser.ADAM:
                optimiser = torch.optim.Adam(parameters, rate, weight_decay=decay, fused=True)
            case Optimiser.SGD:
                optimiser = torch.optim.SGD(
                    parameters, rate, momentum=0.9, weight_decay=decay, fused=True
                )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_train_epoch_start(self) -> None:
        """Tell the weight quantisers how far training is."""
        recipe = self.recipe
        share = self.current_epoch / recipe.epochs
        for module in self.model.modules():
            if isinstance(module, AdaBinWeight | SiManWeight):
                module.progress = recipe.progress + (1 - recipe.progress) * share
            if isinstance(module, SiManWeight) and recipe.centred:
                module.centre = max(0.0, 0.5 * (1 - share / recipe.centred))

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Loss of a batch."""
        images, labels = batch
        generator = _generator(
            self.recipe.seed, self.global_step, self.global_rank, device=images.device
        )
        images = augment(images, self.recipe.augmentation, generator)
        logits = self.model(images)
        if self.teacher is None:
            smoothing = self.recipe.label_smoothing
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        else:
            with torch.no_grad():
                taught = self.teacher.eval()(images)
            loss = _distillation(logits, taught, self.recipe.temperature)
        self._log("train", loss, logits, labels)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Accuracy on pictures that were held out."""
        images, labels = batch
        # What was compiled is for batches of training.
        with torch.compiler.set_stance("force_eager"):
            logits = self.model(images)
        self._log("held_out", functional.cross_entropy(logits, labels), logits, labels)

    def _log(self, what: str, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        right = (logits.argmax(dim=1) == labels).float().mean()
        self.log_dict(
            {f"{what}_loss": loss, f"{what}_accuracy": right},
            on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels),
        )  # fmt: skip

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the training was started with."""
        checkpoint["settings"] = self.settings


def _distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Cross entropy of ``logits`` with a teacher's, ``taught``, both (N, classes).

    Both distributions are softened by ``temperature``, which leaves the gradient as large as it is.
    Source: Hinton et al., arXiv 1503.02531.
    """
    soft = (taught.float() / temperature).softmax(dim=1)
    return functional.cross_entropy(logits.float() / temperature, soft) * temperature**2


class _ProgressBar(Callback):
    """One bar over all epochs, with the accuracy of the last one.

    Until there is one, it says how long an epoch will take.
    """

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        self._task = self._bar.add_task("training", total=None)
        self._begin = 0.0
        self._steps = 0

    def on_train_start(self, trainer: lightning.Trainer, _task: lightning.LightningModule) -> None:
        """Show the bar, filled as far as the training was before."""
        total = trainer.estimated_stepping_batches
        self._bar.update(self._task, total=total, completed=trainer.global_step)
        if trainer.is_global_zero:
            self._bar.start()
        self._begin = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_args: Any) -> None:
        """Step."""
        self._bar.advance(self._task)
        self._steps += 1
        if self._steps == _TIMED_STEPS:
            seconds = (time.perf_counter() - self._begin) / _TIMED_STEPS
            text = (
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, "
                f"about {seconds * trainer.num_training_batches:.0f} s each"
            )
            self._bar.update(self._task, description=text)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, _task: lightning.LightningModule
    ) -> None:
        """Show the accuracy."""
        metrics = trainer.callback_metrics
        which = "held_out" if "held_out_accuracy" in metrics else "train"
        text = (
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, "
            f"{which.replace('_', '-')} accuracy {metrics[f'{which}_accuracy']:.2%}"
        )
        self._bar.update(self._task, description=text)

    def on_train_end(self, *_args: Any) -> None:
        """Leave the last state on the screen."""
        self._bar.stop()

    def on_exception(self, *_args: Any) -> None:
        """Leave it there after an interruption, too."""
        self._bar.stop()
