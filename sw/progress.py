"""Progress of a training, as shown while it runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


__all__ = ["ProgressBar", "counting"]

# After so many steps it is known how long an epoch will take.
_TIMED_STEPS = 20


@contextmanager
def counting(what: str, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Bar, if it is to be ``shown``; gives a function of the number done and of all."""
    with Progress(
        TextColumn(what), BarColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), disable=not shown,
    ) as progress:  # fmt: skip
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class ProgressBar(Callback):
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
