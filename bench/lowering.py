"""Lowering of convolutional networks: every binary activation against PyTorch in float64.

    python bench/lowering.py

Trains each model for an epoch on a few real images, so that batch normalisation, thresholds and
scales are no round numbers, lowers it, and compares 1,000 test images. Models are the whole CNV,
a VGG-small of an eighth of the width (zero padding, pools before batch normalisation, integer
last layer), and the 28×28 net that starts with a padded 5×5 kernel of stride 2; with signs, AdaBin
and SiMaN's {0, 1} weights. Writes results/lowering.json.
"""

import tempfile
from dataclasses import replace

import torch
from record import record
from rich.console import Console

from xnorflow.sw.compare import compare
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import Method
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.recipes import Recipe
from xnorflow.sw.start import task_of
from xnorflow.sw.train import train


TRAINED = 2048
COMPARED = 1000
RECIPE = Recipe("lowering", epochs=1, batch_size=64, learning_rate=0.003)
CASES = (
    ("cnv", Dataset.CIFAR10, 1.0),
    ("vgg-small", Dataset.CIFAR10, 0.125),
    ("conv-m", Dataset.FASHION_MNIST, 1.0),
)


def main() -> None:
    """Train, lower, compare, print and record."""
    torch.set_num_threads(1)
    console = Console()
    rows = []
    for model, dataset, width in CASES:
        data = load(dataset)
        few = replace(
            data,
            train_images=data.train_images[:TRAINED],
            train_labels=data.train_labels[:TRAINED],
        )
        for method in (Method.SIGN, Method.ADABIN, Method.SIMAN):
            spec = ModelSpec(model, task_of(data), {"method": method.value, "width": width})
            with tempfile.TemporaryDirectory() as folder:
                checkpoint = train(spec, RECIPE, few, folder, accelerator="cpu")
            network = lower(checkpoint.model, input=checkpoint.frame, name=model)
            comparison = compare(checkpoint.model, network, data.test_images[:COMPARED])
            rows.append({
                "network": f"{model}, width {width:g}",
                "method": method.value,
                "images": COMPARED,
                "bits": sum(layer.compared for layer in comparison.layers),
                "bits_differing": sum(layer.differing for layer in comparison.layers),
                "labels_differing": comparison.labels,
            })
            console.print(rows[-1])
    record("lowering", "python bench/lowering.py", ["torch", "numpy"], rows)


if __name__ == "__main__":
    main()
