"""Processor time of an epoch, beside that of an earlier revision.

    python bench/training.py [REVISION]

The earlier revision is checked out into a temporary worktree. Both train each network on one core
with the recipe and the options of zoo/make.py, on a few batches. What a step takes is the
difference between a long and a short training, so that neither compilation nor the test images
count; an epoch of CIFAR-10 has 391 steps. Writes results/training.json.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from earlier import ROOT, environment, short, worktree
from record import record
from rich.console import Console


BEFORE = "acd8060^"
"""Before images stayed on the device."""

NETWORKS = "cifar10-cnv", "cifar10-resnet20-reactnet"
BATCHES, BATCH = 6, 128
EPOCHS = 1, 1, 5
"""Of three trainings: the first one compiles."""

STEPS_PER_EPOCH = 391


def main() -> None:
    """Measure, print and record."""
    revision = sys.argv[1] if len(sys.argv) > 1 else BEFORE
    rows = []
    with worktree(revision) as tree:
        for name in NETWORKS:
            before, after = (_measured(name, each) for each in (tree, ROOT))
            rows.append({
                "network": name,
                "revision": short(revision),
                "epoch_before": round(STEPS_PER_EPOCH * before),
                "epoch": round(STEPS_PER_EPOCH * after),
                "times_as_fast": round(before / after, 2),
            })
            Console().print(rows[-1])
    record("training", "python bench/training.py", ["torch", "lightning"], rows)


def _measured(name: str, tree: Path) -> float:
    """Processor seconds of a step, by the xnorflow in ``tree``."""
    command = [sys.executable, __file__, "--step", name, str(tree)]
    done = subprocess.run(
        command, env=environment(tree), cwd=tree, check=True, stdout=subprocess.PIPE, text=True
    )
    seconds: float = json.loads(done.stdout.splitlines()[-1])
    return seconds


def _step(name: str, tree: Path) -> float:
    """The same, in the process that trains."""
    sys.path.insert(0, str(tree / "zoo"))
    import make

    from xnorflow.sw.data import load
    from xnorflow.sw.train import train

    torch.set_num_threads(1)
    entry = make.ENTRIES[name]
    data = load(entry.dataset)
    few = BATCHES * BATCH
    data = replace(
        data,
        train_images=data.train_images[:few],
        train_labels=data.train_labels[:few],
        test_images=data.test_images[:BATCH],
        test_labels=data.test_labels[:BATCH],
    )
    seconds = []

    def timed(spec, recipe, _data, _folder, **options):
        options |= {"start": None, "progress": False, "resume": False}
        for epochs in EPOCHS:
            with tempfile.TemporaryDirectory() as folder:
                start = time.process_time()
                train(spec, replace(recipe, epochs=epochs), data, folder, **options)
                seconds.append(time.process_time() - start)

    # The options are those that it gives.
    make.train = timed
    make.import_adabin_resnet20 = lambda *_, **__: None
    make.RUNS = Path(tempfile.gettempdir()) / "no such folder"
    make.trained(name, data, "cpu", Path(), 1)
    _, brief, long = seconds
    return (long - brief) / (BATCHES * (EPOCHS[2] - EPOCHS[1]))


if __name__ == "__main__":
    if "--step" in sys.argv:
        print(json.dumps(_step(sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
