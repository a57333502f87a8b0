"""Two methods side by side: the same network, recipe and seeds, so that only the method differs.

    python bench/seeds.py                      # all comparisons
    python bench/seeds.py dynamic_vs_static    # only this one

Trains in runs/ (an interrupted one goes on), and writes results/NAME.json.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import torch
from record import record
from rich.console import Console

from xnorflow.sw.data import Dataset, ImageData, load
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import Recipe, recipe_for, small
from xnorflow.sw.start import task_of
from xnorflow.sw.train import train


RUNS = Path(__file__).parent.parent / "runs"
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Match:
    """A model by several methods."""

    name: str
    dataset: Dataset
    recipe: Recipe
    model: str
    methods: tuple[Method, ...] | tuple[ResidualMethod, ...]
    grid: Grid | None = None


MATCHES = (
    Match(
        "adabin_vs_sign",
        Dataset.MNIST,
        replace(recipe_for("tfc", Method.SIGN), name="tfc, 40 epochs", epochs=40),
        "tfc",
        (Method.SIGN, Method.ADABIN),
    ),
    Match(
        "dynamic_vs_static",
        Dataset.FASHION_MNIST,
        small(Dataset.FASHION_MNIST),
        "resnet8",  # as the zoo's fashion-small networks
        (ResidualMethod.REACTNET, ResidualMethod.DYBNN),
        Grid(score_bits=10),
    ),
)


def _train(match: Match, way: str, seed: int, data: ImageData) -> float:
    """Accuracy in float64, which the integer network equals."""
    spec = ModelSpec(match.model, task_of(data), {"method": way})
    checkpoint = train(
        spec,
        replace(match.recipe, seed=seed),
        data,
        RUNS / match.name / f"{way}-{seed}",
        grid=match.grid,
        compiled=match.grid is not None,
        progress=True,
        accelerator="cpu",
    )
    share = checkpoint.provenance.float_accuracy
    assert share is not None
    return share


def main() -> None:
    """Train, print and record."""
    # With one thread, sums do not depend on the machine's count of cores.
    torch.set_num_threads(1)
    console = Console()
    known = {match.name: match for match in MATCHES}
    for name in sys.argv[1:] or known:
        if name not in known:
            raise SystemExit(f"no comparison is called {name}: choose from {', '.join(known)}")
        match = known[name]
        data = load(match.dataset)
        ways = [method.value for method in match.methods]
        shares = {(way, seed): _train(match, way, seed, data) for seed in SEEDS for way in ways}
        rows = []
        for way in ways:
            accuracies = [shares[way, seed] for seed in SEEDS]
            rows.append({
                "method": way,
                "recipe": match.recipe.name,
                "epochs": match.recipe.epochs,
                "seeds": list(SEEDS),
                "accuracies": accuracies,
                "mean": round(mean(accuracies), 5),
                "deviation": round(stdev(accuracies), 5),
            })
            console.print(rows[-1])
        record(match.name, f"python bench/seeds.py {match.name}", ["torch", "lightning"], rows)


if __name__ == "__main__":
    main()
