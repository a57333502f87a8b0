"""The training loop: batches, steps, and the state from which an interrupted training goes on."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from xnorflow.errors import FormatError
from xnorflow.files import locked, make_folder, remove_file
from xnorflow.ir import Quantisation
from xnorflow.sw.augment import augment, seeded
from xnorflow.sw.data import ImageData, values_of
from xnorflow.sw.nn.conv import BinaryConv2d
from xnorflow.sw.nn.linear import BinaryLinear
from xnorflow.sw.nn.quantiser import WeightQuantiser
from xnorflow.sw.progress import ProgressBar
from xnorflow.sw.recipes import Optimiser, Recipe
from xnorflow.sw.training_data import Images, Shuffle, in_order
from xnorflow.sw.training_state import STATE_FILE, AtomicCheckpointIO, Saving, check_state


__all__ = ["STATE_FILE", "device_of", "fit"]


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
    deadline: float | None = None,
    channels_last: bool = False,
    **trainer_options: Any,
) -> lightning.Trainer:
    """Train ``model`` in place; see `xnorflow.sw.train.train`.

    ``taught`` is a teacher's distribution for each image, (N, classes), if the recipe learns from
    one. ``origin`` tells what else decides the outcome: a training goes on only with the same. With
    ``channels_last``, images have that layout, which no module may then ``view``.
    """
    folder = Path(folder)
    split = len(data.train_images) - held_out
    images = Images(
        data.train_images[:split],
        data.train_labels[:split],
        None if taught is None else taught[:split],
    )
    validation = Images(data.train_images[split:], data.train_labels[split:])

    make_folder(folder)
    state = folder / STATE_FILE
    mixed = recipe.mixed and _multiplies_bfloat16(
        device_of(trainer_options.get("accelerator", "auto"))
    )
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=recipe.epochs,
            precision="bf16-mixed" if mixed else "32-true",
            logger=_loggers(folder),
            callbacks=[
                ModelCheckpoint(folder, state.stem, enable_version_counter=False),
                Saving(state, deadline),
                *([ProgressBar()] if progress else []),
            ],
            plugins=[AtomicCheckpointIO()],
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
        task = _Training(model, recipe, images, data.quantisation, origin, channels_last)
        # Processes for further devices belong to the same run.
        with locked(folder) if trainer.is_global_zero else nullcontext():
            if not resume:
                remove_file(state)
            elif state.exists():
                check_state(state, task.settings)
            try:
                trainer.fit(
                    task,
                    val_dataloaders=in_order(validation) if held_out else None,
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
    task.settle()
    return trainer


def _loggers(folder: Path) -> list[Logger]:
    """CSV, and TensorBoard's where it is installed."""
    csv = CSVLogger(folder, name="logs")
    if find_spec("tensorboard") is None:
        return [csv]
    return [csv, TensorBoardLogger(folder, name="logs", version=csv.version)]


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
        # Sums of integers in float32 are exact, but not where a GPU rounds the factors to TF32.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with warnings.catch_warnings(), exact:
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
        threading.excepthook = hook


# -- the loop -------------------------------------------------------------------------------------


class _Training(lightning.LightningModule):
    """A training step: all randomness comes from the seed and the count of steps."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        images: Images,
        quantisation: Quantisation,
        origin: str,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.origin = origin
        self.channels_last = channels_last
        # Loss, right answers and images of the epoch so far.
        self.averages: list[Tensor] = []
        self.register_buffer("sums", torch.zeros(3, dtype=torch.float64), persistent=False)
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
        shuffle = Shuffle(
            len(self.images),
            recipe.batch_size,
            recipe.seed,
            trainer.global_rank,
            trainer.world_size,
            steps=lambda: self.global_step,
            device=self.device,
        )
        if self.channels_last:
            layout: dict[str, Any] = {"memory_format": torch.channels_last}
            self.model.to(**layout)
        return DataLoader(self.images.to(self.device), batch_size=None, sampler=shuffle)

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimiser, and a learning rate that changes with every step."""
        for module in self.model.modules():
            if isinstance(module, BinaryConv2d | BinaryLinear):
                module.weight.requires_grad_(not self.recipe.frozen)
        parameters = self._learned()
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

    def on_train_start(self) -> None:
        """Go on, maybe within an epoch."""
        self._tell_progress()
        if self.recipe.averaging:
            averages = self.averages or [each.detach().clone() for each in self._learned()]
            self.averages = [each.to(self.device) for each in averages]

    def _learned(self) -> list[nn.Parameter]:
        return [each for each in self.model.parameters() if each.requires_grad]

    @torch.no_grad()
    def settle(self) -> None:
        """Let the model have the averages of its parameters, if the recipe wants them."""
        for parameter, average in zip(self._learned(), self.averages, strict=False):
            parameter.copy_(average)

    def on_train_epoch_start(self) -> None:
        """Start to count, and tell the weight quantisers how far training is."""
        self.sums.zero_()
        self._tell_progress()

    def _tell_progress(self) -> None:
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
        logits = self.model(self._values(images))
        if taught:
            loss = _distillation(logits, taught[0], self.recipe.temperature)
        else:
            smoothing = self.recipe.label_smoothing
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        with torch.no_grad():
            right = (logits.argmax(dim=1) == labels).sum()
            self.sums += torch.stack([loss * len(labels), right, loss.new_tensor(len(labels))])
        return loss

    def _values(self, images: Tensor) -> Tensor:
        """What the model is given."""
        values = values_of(images, self.quantisation)
        if not self.channels_last:
            return values
        return values.contiguous(memory_format=torch.channels_last)

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Step, and average the parameters: before the state is written."""
        super().optimizer_step(*args, **options)
        if self.averages:
            with torch.no_grad():
                learned: list[Tensor] = [*self._learned()]
                torch._foreach_lerp_(self.averages, learned, 1 - self.recipe.averaging)

    def on_train_batch_end(self, *_args: Any) -> None:
        """Log what has been counted, at the end of the epoch."""
        if self.trainer.is_last_batch:
            loss, right, count = self.sums
            self.log_dict(
                {"train_loss": loss / count, "train_accuracy": right / count},
                on_step=False, on_epoch=True, sync_dist=True, batch_size=1,
            )  # fmt: skip

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Accuracy on images that were held out."""
        images, labels = batch
        # What was compiled is for batches of training.
        with torch.compiler.set_stance("force_eager"):
            logits = self.model(self._values(images))
        loss = functional.cross_entropy(logits, labels)
        right = (logits.argmax(dim=1) == labels).float().mean()
        self.log_dict(
            {"held_out_loss": loss, "held_out_accuracy": right},
            on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels),
        )  # fmt: skip

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the training was started with, and what has been counted."""
        checkpoint["settings"] = self.settings
        checkpoint["sums"] = self.sums
        checkpoint["averages"] = self.averages

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting, and averaging."""
        self.sums.copy_(checkpoint["sums"])
        self.averages = checkpoint["averages"]


def _distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Cross entropy of ``logits`` (N, classes) with a teacher's distribution, ``taught``.

    Both are softened by ``temperature``, which leaves the gradient as large as it is.
    Source: Hinton et al., arXiv 1503.02531.
    """
    return functional.cross_entropy(logits.float() / temperature, taught) * temperature**2
