"""Generated Verilog in Icarus, by the plain cocotb bench of examples/, under two language levels.

    python bench/icarus.py                    # the networks below
    python bench/icarus.py mnist-tfc-sign     # only this one

Each network classifies test images from power-on without a reset, where memories start undefined,
and after a reset of one cycle, where all registers start undefined, too. Adds a row for each to
results/icarus.json.
"""

import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from designs import DESIGNS
from record import update
from rich.console import Console

from xnorflow.hw.compile.emit import generate
from xnorflow.ir.xnf import load as load_network
from xnorflow.sim.bench import LanguageLevel, Simulator, build_bench, run_bench
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden


NETWORKS = [
    "mnist-tfc-sign",
    "mnist-tfc-adabin",
    "mnist-tfc-siman",
    "mnist-sfc-sign",
    "mnist-conv-up5k",
    "fashion-conv",
]
IMAGES = 20
LEVELS = (LanguageLevel.VERILOG_2005, LanguageLevel.SYSTEMVERILOG_2012)
"""The level that Verilog mostly has, and the one that cocotb asks for."""

EXAMPLES = Path(__file__).parents[1] / "examples"
BENCH = "cocotb_bench"

_INITIAL_VALUE = re.compile(r"^(  reg .*\S) +=.*;$", re.MULTILINE)


def main() -> None:
    """Simulate, print and record."""
    console = Console()
    sys.path.insert(0, str(EXAMPLES))  # where the simulator's Python finds the bench
    for name in sys.argv[1:] or NETWORKS:
        network = load_network(f"zoo/{name}.xnf")
        images = load(Dataset(network.provenance.dataset)).test_images[:IMAGES]
        with tempfile.TemporaryDirectory() as folder:
            path = generate(DESIGNS[name].fold(network), folder)
            np.save(Path(folder, "frames.npy"), images.numpy())
            np.save(Path(folder, "scores.npy"), golden(network, images).scores.numpy())
            equal = {
                f"{level.value}, {start}": passes(path, level, start, reset)
                for level in LEVELS
                for start, reset in [("power-on", 0), ("reset", 1)]
            }
        row = {"network": name, "images": len(images), "equal": equal}
        console.print(row)
        update("icarus", "python bench/icarus.py", ["amaranth", "cocotb"], row)


def passes(path: Path, level: LanguageLevel, start: str, reset: int) -> bool:
    """Whether all scores are as expected; ``reset`` is the number of cycles that it is held for."""
    text = path.read_text()
    if reset:
        text = _INITIAL_VALUE.sub(r"\1 ;", text)
    folder = path.parent / f"{level.value}-{start}"
    folder.mkdir()
    source = folder / path.name
    source.write_text(text)
    build = build_bench(Simulator.ICARUS, source, path.stem, folder / "build", level=level)
    variables = {"DESIGN": str(path.parent), "RESET": str(reset), "TIMEOUT_MS": "10"}
    return not run_bench(build, BENCH, variables=variables).failed


if __name__ == "__main__":
    main()
