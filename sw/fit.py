"""The training loop: batches, steps, and the state from which an interrupted training goes on."""

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from xnorflow.errors import FormatError
from xnorflow.files import locked, make_folder, remove_file, write_atomically
from xnorflow.ir import Quantisation
from xnorflow.sw.augment import augment, seeded
from xnorflow.sw.batches import EVALUATION_BATCH
from xnorflow.sw.data import ImageData, values_of
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.quantiser import WeightQuantiser
from xnorflow.sw.progress import ProgressBar
from xnorflow.sw.recipes import Optimiser, Recipe
from xnorflow.sw.torch_file import read_torch_file


__all__ = ["STATE_FILE", "device_of", "fit"]

STATE_FILE = "training.ckpt"
"""Name, in the folder of a training, of what it goes on from."""


def fit(
    model: nn.Module,
    recipe: Recipe,
    data: ImageData,
    folder: Path | str,
    *,
    origin: str = "",
    taught: Tensor | None = None,
    resume: bool = True,
    held_out: int = 0,
    progress: bool = False,
    **trainer_options: Any,
) -> lightning.Trainer:
    """Train ``model`` in place; see `xnorflow.sw.train.train`.

    ``taught`` is a teacher's distribution for each image, (N, classes), if the recipe learns from
    one. ``origin`` tells what else decides the outcome: a training goes on only with the same.
    """
    folder = Path(folder)
    split = len(data.train_images) - held_out
    images = _Images(
        data.train_images[:split],
        data.train_labels[:split],
        None if taught is None else taught[:split],
    )
    validation = _Images(data.train_images[split:], data.train_labels[split:])

    make_folder(folder)
    state = folder / STATE_FILE
    mixed = recipe.mixed and _multiplies_bfloat16(
        device_of(trainer_options.get("accelerator", "auto"))
    )
    csv = CSVLogger(folder, name="logs")
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=recipe.epochs,
            precision="bf16-mixed" if mixed else "32-true",
            logger=[csv, TensorBoardLogger(folder, name="logs", version=csv.version)],
            callbacks=[
                ModelCheckpoint(folder, state.stem, enable_version_counter=False),
                *([ProgressBar()] if progress else []),
            ],
            plugins=[_AtomicCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            **trainer_options,
        )
        # Batches grow with the number of devices.
        origin = f"{data.name}{origin}, devices: {trainer.world_size}"
        if mixed:
            # It rounds in other ways.
            origin += ", bfloat16"
        task = _Training(model, recipe, images, data.quantisation, origin)
        # Processes for further devices belong to the same run.
        with locked(folder) if trainer.is_global_zero else nullcontext():
            if not resume:
                remove_file(state)
            elif state.exists():
                _check_state(state, task.settings)
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
            except OSError as error:
                # Logs are written by Lightning.
                raise FormatError(
                    f"the folder {folder} cannot be written to: {error.strerror}"
                ) from None
    return trainer


def device_of(accelerator: str = "auto") -> torch.device:
    """Device that Lightning trains on if it is given this ``accelerator``."""
    if accelerator != "cpu" and (found := torch.accelerator.current_accelerator()) is not None:
        return found
    return torch.device("cpu")


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster than in float32: on a processor whose libraries do
    not know it, they take twenty times as long.
    """
    if device.type != "cpu":
        return True
    return bool(
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _check_state(path: Path, settings: str) -> None:
    """Check that the training in ``path`` was started with ``settings``."""
    try:
        state = read_torch_file(path)
    except FormatError as error:
        raise FormatError(f"{error}: let the training start afresh (--fresh)") from None
    if not isinstance(state, dict) or state.get("settings") != settings:
        raise FormatError(
            f"{path} is of a training with other settings: "
            "give another folder, or let this one start afresh (--fresh)"
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
    """Keep Lightning's advice on hardware and on loading data to itself.

    And what a thread of TensorBoard cannot write: it tells our thread, too.
    """
    logger = logging.getLogger("lightning.pytorch")
    level, hook = logger.level, threading.excepthook

    def ignore(failure: threading.ExceptHookArgs) -> None:
        if not issubclass(failure.exc_type, OSError):
            hook(failure)

    logger.setLevel(logging.ERROR)
    threading.excepthook = ignore
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
        threading.excepthook = hook


# -- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Images(Dataset[tuple[Tensor, ...]]):
    """Images in memory, from which a whole batch is picked at once.

    A batch has images and labels, and then what a teacher says if there is one.
    """

    images: Tensor
    labels: Tensor
    taught: Tensor | None = None

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, ...]:
        parts = self.images[indices], self.labels[indices]
        return parts if self.taught is None else (*parts, self.taught[indices])

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
        order = torch.randperm(self.count, generator=seeded(self.seed, self.epoch))
        batches = order.split(self.batch_size)[: len(self) * self.devices]
        yield from batches[self.rank :: self.devices]

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.devices)


def _in_order(images: _Images) -> DataLoader[tuple[Tensor, ...]]:
    batches = torch.arange(len(images)).split(EVALUATION_BATCH)
    return DataLoader(images, batch_size=None, sampler=batches)


# -- the loop -------------------------------------------------------------------------------------


class _Training(lightning.LightningModule):
    """A training step: all randomness comes from the seed and the count of steps."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        images: _Images,
        quantisation: Quantisation,
        origin: str,
    ) -> None:
        super().__init__()
        self.origin = origin
        self.model = model
        self.recipe = recipe
        self.images = images
        self.quantisation = quantisation

    @property
    def settings(self) -> str:
        """Settings that must stay the same when a training goes on."""
        return repr((self.recipe, len(self.images), self.origin))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of this device."""
        trainer, recipe = self.trainer, self.recipe
        shuffle = _Shuffle(
            len(self.images),
            recipe.batch_size,
            recipe.seed,
            trainer.global_rank,
            trainer.world_size,
        )
        return DataLoader(self.images, batch_size=None, sampler=shuffle)

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
            if isinstance(module, WeightQuantiser):
                module.progress = recipe.progress + (1 - recipe.progress) * share
                if recipe.centred:
                    module.centred = max(0.0, 1 - share / recipe.centred)

    def training_step(self, batch: tuple[Tensor, ...], _index: int) -> Tensor:
        """Loss of a batch."""
        images, labels, *taught = batch
        generator = seeded(
            self.recipe.seed, self.global_step, self.global_rank, device=images.device
        )
        images = augment(images, self.recipe.augmentation, generator)
        logits = self.model(values_of(images, self.quantisation))
        if taught:
            loss = _distillation(logits, taught[0], self.recipe.temperature)
        else:
            smoothing = self.recipe.label_smoothing
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        self._log("train", loss, logits, labels)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Accuracy on images that were held out."""
        images, labels = batch
        # What was compiled is for batches of training.
        with torch.compiler.set_stance("force_eager"):
            logits = self.model(values_of(images, self.quantisation))
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
    """Cross entropy of ``logits`` (N, classes) with a teacher's distribution, ``taught``.

    Both are softened by ``temperature``, which leaves the gradient as large as it is.
    Source: Hinton et al., arXiv 1503.02531.
    """
    return functional.cross_entropy(logits.float() / temperature, taught) * temperature**2
