"""AdaBin's released ResNet-20: in floating point, and in integers without any training.

    python bench/imported.py adabin_resnet20.th

Needs the file that AdaBin's authors released. Measures all 10,000 test images of CIFAR-10, and
writes results/imported.json.
"""

import sys
from dataclasses import replace

from record import record
from rich.console import Console

from xnorflow.sw.adabin_import import GRID, import_adabin_resnet20, in_floating_point
from xnorflow.sw.batches import accuracy
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower


FRACTIONS = 6, 8, 10
INTEGER_BITS = GRID.bits - GRID.fraction
"""Bits before the binary point, the sign included."""


def main() -> None:
    """Measure, print and record."""
    (path,) = sys.argv[1:]
    console = Console()
    data = load(Dataset.CIFAR10)
    images, labels = data.test_images, data.test_labels
    imported = import_adabin_resnet20(path)
    share = accuracy(in_floating_point(imported.model), images, labels)
    rows = [{"numbers": "real", "images": len(labels), "accuracy": share}]
    console.print(rows[-1])
    for fraction in FRACTIONS:
        grid = replace(GRID, bits=INTEGER_BITS + fraction, fraction=fraction)
        found = golden(lower(prepare(imported.model, grid, imported.frame)), images).labels
        rows.append({
            "numbers": f"{grid.bits} bits, {fraction} fractional",
            "images": len(labels),
            "accuracy": float((found == labels).double().mean()),
        })
        console.print(rows[-1])
    record("imported", "python bench/imported.py adabin_resnet20.th", ["torch", "numpy"], rows)


if __name__ == "__main__":
    main()
