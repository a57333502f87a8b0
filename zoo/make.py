"""Make the networks of the zoo, with their cards: those that are named, or all.

    python zoo/make.py mnist-tfc-sign

Each is trained (in ``runs/``; a training that was interrupted goes on, one that is complete is not
done again), lowered, and compared with the model in float64 over the whole test set. Most take
minutes on one core; those for CIFAR-10 take hours, unless there is ``--accelerator gpu``. The
residual networks among these start with the weights that AdaBin's authors released:
``--adabin FILE``; one starts with another network of the zoo, which is trained first.

    python zoo/make.py --queue --minutes 9 --accelerator gpu

trains what gains from it most, in slices that go on where the last one ended: see `training_queue`.
It exits with 75 as long as there is more to do. ``--pack FOLDER`` packs what that needs for a
machine without a network.
"""

import argparse
import time
from pathlib import Path

import torch
from entries import ENTRIES, ZOO
from pack import pack
from results import lowered, write
from training_queue import QUEUE, Run, run_queue

from xnorflow.errors import DataError
from xnorflow.sw.adabin_import import import_adabin_resnet20
from xnorflow.sw.checkpoint import Checkpoint, load_checkpoint
from xnorflow.sw.data import Dataset, ImageData, load
from xnorflow.sw.from_network import model_of
from xnorflow.sw.queue_recipes import Machine
from xnorflow.sw.train import MODEL_FILE, train
from xnorflow.sw.training_state import OutOfTimeError


RUNS = ZOO.parent / "runs"

_TO_BE_CONTINUED = 75


def trained(
    name: str, data: ImageData, accelerator: str, adabin: Path | None, rounds: int | None = None
) -> Checkpoint:
    """Model of the entry ``name`` after so many of its recipes, or all."""
    entry = ENTRIES[name]
    last = len(entry.recipes)
    rounds = rounds or last
    recipe = entry.recipes[rounds - 1]
    folder = RUNS / (name if rounds == last else f"{name}.{rounds}")
    if (folder / MODEL_FILE).exists():
        found = load_checkpoint(folder / MODEL_FILE)
        made = found.provenance
        same = (made.recipe, made.epochs, made.seed) == (recipe.name, recipe.epochs, recipe.seed)
        if (found.spec, found.grid) != (entry.spec, entry.grid) or not same:
            raise DataError(f"{folder} holds another model than that of {name}: remove it")
        return found
    start: Checkpoint | None = None
    if rounds > 1:
        start = trained(name, data, accelerator, adabin, rounds - 1)
        if entry.bits_only:
            start = model_of(lowered(name, data, start), entry.spec, data)
    elif entry.after is not None:
        start = trained(entry.after, data, accelerator, adabin)
    elif entry.released:
        if adabin is None:
            raise DataError(f"{name} starts with AdaBin's released weights: give their file")
        start = import_adabin_resnet20(adabin, stem_bits=entry.stem_bits)
    return train(
        entry.spec,
        recipe,
        data,
        folder,
        grid=entry.grid,
        start=start,
        compiled=entry.dataset is Dataset.CIFAR10,
        progress=True,
        accelerator=accelerator,
    )


def make(name: str, accelerator: str = "cpu", adabin: Path | None = None) -> str:
    """Write an entry's network and card, and return the card."""
    entry = ENTRIES[name]
    data = load(entry.dataset)
    return write(name, entry, data, trained(name, data, accelerator, adabin), ZOO)


def _needs_adabin(name: str) -> bool:
    """Whether the entry is to be trained, and starts with AdaBin's released weights."""
    entry = ENTRIES[name]
    if (RUNS / name / MODEL_FILE).exists():
        return False
    return entry.released if entry.after is None else _needs_adabin(entry.after)


def _queue(options: argparse.Namespace) -> None:
    """Run the queue, or those of its networks that are named; exit with 75 if more is to do."""
    if unknown := set(options.names) - {job.name for job in QUEUE}:
        raise SystemExit(f"the queue has no {', '.join(sorted(unknown))}")
    deadline = None
    if options.minutes is not None:
        deadline = time.monotonic() + 60 * options.minutes
    gpu = options.accelerator != "cpu"
    machine = Machine.GPU if gpu else Machine.PROCESSOR
    run = Run(options.state, options.zoo, machine, options.adabin, deadline)
    jobs = tuple(job for job in QUEUE if not options.names or job.name in options.names)
    try:
        run_queue(run, jobs)
    except OutOfTimeError as stop:
        print(stop)
        raise SystemExit(_TO_BE_CONTINUED) from None


def main() -> None:
    """Make the networks that the command line names."""
    parser = argparse.ArgumentParser(description="Make the networks of the zoo, with their cards.")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(ENTRIES))
    parser.add_argument("--accelerator", default="cpu", help="what Lightning trains on")
    parser.add_argument("--adabin", type=Path, help="AdaBin's released ResNet-20 for CIFAR-10")
    parser.add_argument("--queue", action="store_true", help="train what gains from it most")
    parser.add_argument("--minutes", type=float, help="of a slice of the queue")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--state", type=Path, default=RUNS / "queue", help="folder of the queue")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="folder of what the queue replaces")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="pack what the queue needs")
    options = parser.parse_args()
    # Sums depend on how threads share them, so the number of threads is part of the recipe.
    torch.set_num_threads(options.threads)
    if options.pack is not None:
        for path in pack(options.pack, options.adabin):
            print(path)
        return
    if options.queue:
        _queue(options)
        return
    names = options.names
    if unknown := set(names) - ENTRIES.keys():
        parser.error(f"the zoo has no {', '.join(sorted(unknown))}")
    chosen = names or list(ENTRIES)
    starting = [name for name in chosen if _needs_adabin(name)]
    if starting and options.adabin is None:
        parser.error(f"{starting[0]} starts with AdaBin's released weights: give --adabin FILE")
    for name in chosen:
        print(make(name, options.accelerator, options.adabin))


if __name__ == "__main__":
    main()
