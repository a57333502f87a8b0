"""Accuracy of the zoo's integer networks on whole test sets.

    python bench/accuracy.py                    # all networks of the zoo
    python bench/accuracy.py mnist-tfc-sign     # only this one

Compares every binary activation, and every value of a residual stream, with the trained model's in
float64, on 1,000 images of CIFAR-10, which take long, and on all others; the models are those that
`python zoo/make.py` leaves in runs/. Writes results/accuracy.json.
"""

import sys
from pathlib import Path

from record import update
from rich.console import Console

from xnorflow.ir.xnf import load as load_network
from xnorflow.sw.checkpoint import load_checkpoint
from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden
from xnorflow.sw.train import MODEL_FILE


def zoo_networks() -> list[str]:
    """Names of the networks in the zoo."""
    return sorted(path.stem for path in Path("zoo").glob("*.xnf"))


def main() -> None:
    """Measure, print and record."""
    console = Console()
    for name in sys.argv[1:] or zoo_networks():
        network = load_network(f"zoo/{name}.xnf")
        data = load(Dataset(network.provenance.dataset))
        result = golden(network, data.test_images)
        model = Path("runs") / name / MODEL_FILE
        if not model.exists():
            raise SystemExit(f"{model} is missing: run `python zoo/make.py {name}`")
        few = 1000 if network.provenance.dataset == Dataset.CIFAR10.value else None
        comparison = compare(load_checkpoint(model).model, network, data.test_images[:few])
        row = {
            "network": name,
            "images": len(data.test_labels),
            "accuracy": float((result.labels == data.test_labels).double().mean()),
            "float_accuracy": network.provenance.float_accuracy,
            "bits": sum(layer.compared for layer in comparison.layers),
            "bits_differing": sum(layer.differing for layer in comparison.layers),
        }
        console.print(row)
        update("accuracy", "python bench/accuracy.py", ["torch", "numpy"], row)


if __name__ == "__main__":
    main()
