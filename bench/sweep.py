"""A sweep of 8 small trainings on 2 workers against 1: the same results, in what time.

    python bench/sweep.py

TFC on MNIST, 12 epochs, by 4 seeds and 2 learning rates. Each run uses one thread. Writes
results/sweep.json.
"""

import tempfile
from pathlib import Path
from time import monotonic

from record import record
from rich.console import Console

from xnorflow.parallel import Workers, run_pieces
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.sweep import load_sweep, runs_of, train_run


TOML = """
model = "tfc"
seeds = 4

[settings]
epochs = 12
learning_rate = [0.003, 0.01]
"""


def main() -> None:
    """Train twice, compare, print and record."""
    load(Dataset.MNIST)
    found, seconds = {}, {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "sweep.toml"
        path.write_text(TOML)
        sweep = load_sweep(path)
        runs = {run.key: run for run in runs_of(sweep)}
        for count in (1, 2):
            begin = monotonic()
            common = sweep, str(Path(name) / str(count))
            outcomes = run_pieces(train_run, runs, common=common, workers=Workers(count))
            found[count] = {each.key: each.value["held_out"] for each in outcomes}
            seconds[count] = monotonic() - begin
    row = {
        "network": "tfc",
        "runs": len(runs),
        "differing_results": sum(found[1][key] != found[2][key] for key in runs),
        "seconds_by_1": round(seconds[1], 1),
        "seconds_by_2": round(seconds[2], 1),
        "times_as_fast": round(seconds[1] / seconds[2], 2),
    }
    Console().print(row)
    record("sweep", "python bench/sweep.py", ["torch", "lightning", "distributed"], [row])


if __name__ == "__main__":
    main()
