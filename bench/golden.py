"""Images that the golden model executes in a second, beside those of an earlier revision.

    python bench/golden.py --against REVISION                # all networks and loads
    python bench/golden.py --against REVISION cifar10-cnv    # only this network, not recorded

The earlier revision is checked out into a temporary worktree. Both execute the same test images,
in turns, first on cores that have nothing else to do and then with a process on each core that
counts for ever; what is given is the median of all turns, and of the ratios of two that follow
each other. The last rows are of whole commands, `xnorflow eval` on all 10,000 images, on busy cores
on 200, their start included, once each. Do it on a machine that has no other work. Writes
results/golden.json.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from earlier import ROOT, environment, short, worktree
from record import record
from rich.console import Console


# Images of a turn: enough for several batches in each thread.
IMAGES = {
    "cifar10-cnv": 120,
    "cifar10-resnet20-adabin": 60,
    "mnist-sfc-sign": 10_000,
    "mnist-lfc-sign": 10_000,
}
COMMANDS = ("cifar10-cnv", "cifar10-resnet20-adabin")
# Images of a command, by whether the cores are busy: some revisions are very slow then.
COMMAND_IMAGES = {False: 10_000, True: 200}
TURNS = 3
# A turn is repeated until it has taken so many seconds.
_LEAST = 0.5
# Until the process that started it ends, however that happens.
_SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description="Speed of the golden model.")
    parser.add_argument("--against", required=True, metavar="REVISION")
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    given = parser.parse_args()
    revision = short(given.against)
    names = given.networks or list(IMAGES)
    console = Console()
    rows = []
    with ExitStack() as stack:
        folder = stack.enter_context(worktree(revision))
        both = [stack.enter_context(_server(tree)) for tree in (folder, ROOT)]
        for busy in (False, True):
            for name in names:
                for threads in (1, os.cpu_count() or 1):
                    rows.append(_compare_executions(both, name, threads, busy))
                    console.print(rows[-1])
        for busy in (False, True):
            for name in COMMANDS:
                if name in names:
                    rows.append(_compare_commands((folder, ROOT), name, busy))
                    console.print(rows[-1])
    if not given.networks:
        command = f"python bench/golden.py --against {revision}"
        record("golden", command, ["torch", "numpy"], rows)


@dataclass
class Server:
    """A process that executes networks with the code of one revision."""

    process: subprocess.Popen[str]

    def execute(self, name: str, threads: int) -> tuple[float, float]:
        """Images a second, and the most memory so far, in GiB."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name} {threads}\n")
        self.process.stdin.flush()
        rate, memory = self.process.stdout.readline().split()
        return float(rate), float(memory)


@contextmanager
def _server(tree: Path) -> Iterator[Server]:
    command = [sys.executable, str(Path(__file__).resolve()), "serve"]
    process = subprocess.Popen(
        command, env=environment(tree), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.wait()


def serve() -> None:
    """Execute what the standard input asks for, with the code that PYTHONPATH leads to."""
    import torch

    from xnorflow.ir.xnf import load as load_network
    from xnorflow.sw.data import Dataset, load
    from xnorflow.sw.golden import golden

    for line in sys.stdin:
        name, threads = line.split()
        network = load_network(ROOT / "zoo" / f"{name}.xnf")
        images = load(Dataset(network.provenance.dataset)).test_images[: IMAGES[name]]
        torch.set_num_threads(int(threads))
        golden(network, images[:8])
        start, count = time.perf_counter(), 0
        while (seconds := time.perf_counter() - start) < _LEAST:
            golden(network, images)
            count += len(images)
        # In KiB, on Linux.
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
        print(count / seconds, memory, flush=True)


def _compare_executions(both: list[Server], name: str, threads: int, busy: bool) -> dict[str, Any]:
    """Row of a network, with so many threads."""
    with _load(busy):
        turns = [[server.execute(name, threads) for server in both] for _ in range(TURNS)]
    rates = [[rate for rate, _memory in turn] for turn in turns]
    return _row(name, f"{threads} thread" + "s" * (threads > 1), busy, rates) | {
        "memory_gib": round(max(turn[1][1] for turn in turns), 2)
    }


def _compare_commands(trees: tuple[Path, Path], name: str, busy: bool) -> dict[str, Any]:
    """Row of `xnorflow eval`."""
    with _load(busy):
        turns = [[_evaluate(tree, name, COMMAND_IMAGES[busy]) for tree in trees]]
    outputs = {output for turn in turns for _rate, output in turn}
    if len(outputs) != 1:
        raise SystemExit(f"{name}: the revisions differ: {outputs}")
    return _row(name, "eval", busy, [[rate for rate, _output in turn] for turn in turns])


def _evaluate(tree: Path, name: str, images: int) -> tuple[float, str]:
    """Images a second of the whole command, and what it prints of the accuracy."""
    command = [sys.executable, "-m", "xnorflow", "eval", f"zoo:{name}", "--data", "cifar10"]
    command += ["--limit", str(images)]
    start = time.perf_counter()
    output = subprocess.run(
        command, cwd=tree, env=environment(tree), capture_output=True, text=True, check=True
    ).stdout
    seconds = time.perf_counter() - start
    return images / seconds, output[output.index("accuracy") :].strip()


def _row(name: str, what: str, busy: bool, rates: list[list[float]]) -> dict[str, Any]:
    return {
        "network": name,
        "what": what,
        "cores": "busy" if busy else "idle",
        "before": round(median(before for before, _now in rates), 1),
        "now": round(median(now for _before, now in rates), 1),
        "ratio": round(median(now / before for before, now in rates), 2),
    }


@contextmanager
def _load(busy: bool) -> Iterator[None]:
    """Other work for every core, or none."""
    count = (os.cpu_count() or 1) if busy else 0
    processes = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main()
