"""Images that the golden model executes on a core by each kind of product of bits.

    python bench/bit_products.py

`xnorflow.sw.bit_product` takes the kind that is fastest on the machine: bytes where the processor
has instructions for them, packed bits or float32 elsewhere. Here each kind executes the same test
images, in turns, in one thread. Rates are the best of all turns, in images a second of processor
time; scores must be the same. Writes results/bit_products.json.
"""

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from earlier import ROOT
from record import record
from rich.console import Console
from torch import Tensor

from xnorflow.ir import Network
from xnorflow.ir.xnf import load as load_network
from xnorflow.sw import bit_product
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.golden import golden


IMAGES = {
    "mnist-sfc-sign": 10_000,
    "mnist-lfc-sign": 5_000,
    "cifar10-cnv": 60,
    "cifar10-resnet20-adabin": 60,
}
TURNS = 5
KINDS = {
    "bytes": bit_product._byte_product,
    "float32": bit_product._float_product,
    "packed": bit_product._packed_product,
}


def main() -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    rows = []
    for name, count in IMAGES.items():
        network = load_network(ROOT / "zoo" / f"{name}.xnf")
        images = load(Dataset(network.provenance.dataset)).test_images[:count]
        row: dict[str, Any] = {"network": name, "images": count}
        expected = golden(network, images).scores
        for _ in range(TURNS):
            for kind, product in KINDS.items():
                scores, rate = _execute(network, images, product)
                if not torch.equal(scores, expected):
                    raise SystemExit(f"{name}: the scores by {kind} differ")
                row[kind] = max(row.get(kind, 0), round(rate, 1))
        rows.append(row)
        Console().print(row)
    record("bit_products", "python bench/bit_products.py", ["torch", "numpy"], rows)


def _execute(
    network: Network, images: Tensor, product: Callable[[Tensor], Any]
) -> tuple[Tensor, float]:
    """Scores, and images a second; what cannot be packed is multiplied in float32."""
    packs = product is bit_product._packed_product

    def fastest(packable: bool) -> Callable[[Tensor], Any]:
        return bit_product._float_product if packs and not packable else product

    with patch.object(bit_product, "_fastest", fastest):
        start = time.process_time()
        scores = golden(network, images, threads=1).scores
        return scores, len(images) / (time.process_time() - start)


if __name__ == "__main__":
    main()
