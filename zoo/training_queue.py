"""The queue: networks that gain from longer training, those that gain most first.

A run of the queue goes on where the last one stopped, be it within an epoch, and stops in time. All
that it knows is in its folder: a folder for each network and seed, with the state of each training,
and ``results.json``. Nothing is chosen by the test set: the last training images are held back, and
what a network gets right of these decides whether it replaces the one in the zoo.
"""

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entries import ENTRIES, STREAM, Entry
from results import lowered, share, standing, write
from torch import nn

from xnorflow.errors import DataError
from xnorflow.files import write_atomically
from xnorflow.sw.adabin_import import import_adabin_resnet20
from xnorflow.sw.checkpoint import Checkpoint, load_checkpoint
from xnorflow.sw.data import Dataset, ImageData, load
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.queue_recipes import Machine, queue_recipe, queue_teacher
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.teacher import TEACHER_FILE, load_teacher, train_teacher
from xnorflow.sw.train import MODEL_FILE, train


__all__ = ["HELD_OUT", "QUEUE", "Job", "Run", "run_queue"]

HELD_OUT = 5000
"""Training images at the end that no network of the queue sees."""

_RESULTS = "results.json"


@dataclass(frozen=True)
class Job:
    """A network of the queue.

    Attributes
    ----------
    name : str
        Of the network in the zoo.
    entry : Entry
    seed : int
    """

    name: str
    entry: Entry
    seed: int = 1

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.name}.{self.seed}"


def _new(model: str, method: ResidualMethod) -> Entry:
    """A network that has no entry yet; it has no start either."""
    return Entry(Dataset.CIFAR10, model, method, grid=STREAM, scratch=True)


_SEEDS = 1, 2, 3
_REACTNET, _DYBNN = "cifar10-resnet20-reactnet", "cifar10-resnet20-dybnn"

QUEUE: tuple[Job, ...] = (
    *(
        Job(name, ENTRIES[name])
        for name in (
            "cifar10-cnv",
            "cifar10-resnet20-adabin",
            "cifar10-resnet20-siman-bipolar",
            _REACTNET,
            _DYBNN,
        )
    ),
    Job(
        "cifar10-vgg-small-adabin",
        Entry(Dataset.CIFAR10, "vgg-small", ENTRIES["mnist-tfc-adabin"].method),
    ),
    Job("cifar10-resnet18-adabin", _new("resnet18", ResidualMethod.ADABIN)),
    *(Job(name, ENTRIES[name], seed) for seed in _SEEDS[1:] for name in (_REACTNET, _DYBNN)),
)
"""In this order; a teacher comes before all of them."""


@dataclass(frozen=True)
class Run:
    """How the queue is run.

    Attributes
    ----------
    folder : Path
        Of its state.
    zoo : Path
        Folder of the networks that better ones replace.
    machine : Machine
        Decides the recipes.
    adabin : Path, optional
        AdaBin's released weights, with which residual networks start on a processor.
    deadline : float, optional
        Time of `time.monotonic` at which it stops.
    held_out : int
        Training images that are held back.
    """

    folder: Path
    zoo: Path
    machine: Machine
    adabin: Path | None = None
    deadline: float | None = None
    held_out: int = HELD_OUT

    @property
    def options(self) -> dict[str, Any]:
        """For each training."""
        return {
            "held_out": self.held_out,
            "deadline": self.deadline,
            "accelerator": "cpu" if self.machine is Machine.PROCESSOR else "gpu",
            "devices": 1,
        }

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return self.deadline is not None and time.monotonic() >= self.deadline


def run_queue(run: Run, jobs: tuple[Job, ...] = QUEUE) -> None:
    """Train, lower, measure and maybe take those ``jobs`` that are not done yet.

    Raises
    ------
    OutOfTimeError
        At the deadline, unless all are done by then.
    """
    # What is compiled in one slice is at hand in the next.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(run.folder.resolve() / "compiled"))
    for job in jobs:
        if job.folder not in _results(run.folder):
            data = load(job.entry.dataset)
            _finish(run, job, data, _trained(run, job, data))


def _teacher(run: Run, dataset: Dataset, data: ImageData) -> nn.Module:
    """The teacher of a data set, which is trained first."""
    folder = run.folder / f"{dataset.value}-teacher"
    path = folder / TEACHER_FILE
    if not path.exists():
        recipe, body = queue_teacher(run.machine, dataset)
        _, right = train_teacher(recipe, dataset, data, folder, body=body, **run.options)
        print(f"teacher: {right:.2%} of the test images")
    return load_teacher(path, data.name)


def _trained(run: Run, job: Job, data: ImageData) -> Checkpoint:
    """Trained model of a job."""
    folder, entry = run.folder / job.folder, job.entry
    recipe = _recipe(run, job)
    if (folder / MODEL_FILE).exists():
        return load_checkpoint(folder / MODEL_FILE)
    teacher = _teacher(run, entry.dataset, data) if recipe.temperature else None
    start = None
    if entry.released and run.machine is Machine.PROCESSOR:
        if run.adabin is None:
            raise DataError(f"{job.name} starts with AdaBin's released weights: give --adabin FILE")
        start = import_adabin_resnet20(run.adabin, stem_bits=entry.stem_bits)
    return train(
        entry.spec,
        recipe,
        data,
        folder,
        grid=entry.grid,
        start=start,
        teacher=teacher,
        compiled=entry.residual or run.machine is Machine.GPU,
        **run.options,
    )


def _recipe(run: Run, job: Job) -> Recipe:
    entry = job.entry
    return replace(queue_recipe(run.machine, entry.model, entry.method), seed=job.seed)


def _finish(run: Run, job: Job, data: ImageData, checkpoint: Checkpoint) -> None:
    """Measure a trained model, and let it replace the one in the zoo if it is better."""
    images, labels = (each[-run.held_out :] for each in (data.train_images, data.train_labels))
    network = lowered(job.name, data, checkpoint)
    found = share(network, images, labels)
    before = standing(job.name, run.zoo, images, labels)
    taken = found > before
    entry = replace(
        job.entry,
        recipes=(_recipe(run, job),),
        scratch=job.entry.scratch or run.machine is Machine.GPU,
    )
    folder = run.zoo if taken else run.folder / job.folder
    text = write(job.name, entry, data, checkpoint, folder, (run.held_out, found))
    print(text)
    row = {"held_out": found, "before": before, "taken": taken}
    results = _results(run.folder) | {job.folder: row}
    content = json.dumps(results, indent=2) + "\n"
    write_atomically(run.folder / _RESULTS, content.encode())
    print(f"{job.folder}: {found:.2%} of the images held back, {before:.2%} before; taken: {taken}")


def _results(folder: Path) -> dict[str, Any]:
    path = folder / _RESULTS
    if not path.exists():
        return {}
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return rows
