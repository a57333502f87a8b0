"""AdaBin against plain signs: the same widths, recipe and seeds on MNIST.

    python bench/adabin_vs_sign.py

Trains in runs/ (an interrupted one goes on), and writes results/adabin_vs_sign.json and .md.
"""

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch
from record import RESULTS, record
from rich.console import Console

from xnorflow.files import write_atomically
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.models import Method, Named
from xnorflow.sw.recipes import recipe_for
from xnorflow.sw.train import train


RUNS = Path(__file__).parent.parent / "runs" / "adabin_vs_sign"
RECIPE = replace(recipe_for(Named.TFC, Method.SIGN), name="tfc, 40 epochs", epochs=40)
SEEDS = (1, 2, 3)

_TABLE = """\
TFC ({hidden} hidden neurons) on the 10,000 test images of MNIST after {epochs} epochs: accuracy of
the model in float64, which the integer network equals. Mean and deviation of {seeds} seeds.

| weights and activations | mean | deviation | of each seed |
|---|---|---|---|
{rows}
"""


def main() -> None:
    """Train, print and record."""
    # With one thread, sums do not depend on the machine's count of cores.
    torch.set_num_threads(1)
    console = Console()
    data = load(Dataset.MNIST)
    results = []
    for method in (Method.SIGN, Method.ADABIN):
        accuracies = []
        for seed in SEEDS:
            checkpoint = train(
                Named.TFC.config(method),
                replace(RECIPE, seed=seed),
                data,
                RUNS / f"{method.value}-{seed}",
                progress=True,
                accelerator="cpu",
            )
            accuracies.append(checkpoint.provenance.float_accuracy)
        results.append({
            "method": method.value,
            "accuracies": accuracies,
            "mean": round(mean(accuracies), 5),
            "deviation": round(stdev(accuracies), 5),
        })
        console.print(results[-1])
    record("adabin_vs_sign", "python bench/adabin_vs_sign.py", ["torch", "lightning"], results)
    table = _TABLE.format(
        hidden="-".join(map(str, Named.TFC.config().hidden)),
        epochs=RECIPE.epochs,
        seeds=len(SEEDS),
        rows="\n".join(
            f"| {row['method']} | {row['mean']:.2%} | {row['deviation']:.2%} | "
            f"{', '.join(f'{accuracy:.2%}' for accuracy in row['accuracies'])} |"
            for row in results
        ),
    )
    write_atomically(RESULTS / "adabin_vs_sign.md", table.encode())


if __name__ == "__main__":
    main()
