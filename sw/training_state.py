"""The state of a training: written now and then, and in time before a deadline."""

import io
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from xnorflow.errors import FormatError
from xnorflow.files import write_atomically
from xnorflow.sw.torch_file import read_torch_file


__all__ = ["STATE_FILE", "AtomicCheckpointIO", "OutOfTimeError", "Saving", "check_state"]

STATE_FILE = "training.ckpt"
"""Name, in the folder of a training, of what it goes on from."""

_SECONDS = 180.0
"""Time between two states, beside those of epochs."""


class OutOfTimeError(Exception):
    """A training has stopped at its deadline; it goes on from its state."""


class Saving(Callback):
    """Writes the state within an epoch: every few minutes, and at the ``deadline``.

    The deadline is one of `time.monotonic`. At the end of an epoch the state is written anyway.
    """

    def __init__(self, path: Path, deadline: float | None) -> None:
        self._path = path
        self._deadline = deadline
        self._due = 0.0

    def on_train_start(self, *_args: Any) -> None:
        """Count from here."""
        self._due = time.monotonic() + _SECONDS

    def on_train_batch_end(self, trainer: lightning.Trainer, *_args: Any) -> None:
        """Write the state if it is time."""
        now = time.monotonic()
        over = self._deadline is not None and now >= self._deadline
        due = over or now >= self._due
        if trainer.world_size > 1:
            # All devices write it, or none.
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
            over = trainer.strategy.reduce_boolean_decision(over, all=False)
        if not due or trainer.is_last_batch:
            return
        trainer.save_checkpoint(self._path)
        self._due = time.monotonic() + _SECONDS
        if over:
            raise OutOfTimeError(f"{self._path} goes on from step {trainer.global_step}")

    def on_train_epoch_start(self, *_args: Any) -> None:
        """Do not start an epoch behind the deadline."""
        if (
            self._deadline is not None
            and time.monotonic() >= self._deadline
            and self._path.exists()
        ):
            raise OutOfTimeError(f"{self._path} goes on with the next epoch")


class AtomicCheckpointIO(TorchCheckpointIO):
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


def check_state(path: Path, settings: str) -> None:
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
