"""Small networks with one feature each, exported by Brevitas, against their execution by qonnx.

    python bench/features.py             # all
    python bench/features.py dilation    # only this one

They are trained for a moment on images of MNIST of 14×14 pixels, so that thresholds are not all in
the middle, and exported to build/qonnx. All scales are powers of two: qonnx's scores, in float32,
have all digits. Compared are activations, labels and scores of the import; and labels and scores of
what is exported from it and imported once more. Scores are equal but for one factor, exactly.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx as export_brevitas
from conformance import activations, different
from feature_models import CHANGES, MODELS
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
from xnorflow.sw.data import Dataset, load
from xnorflow.sw.frontend.qonnx.exporting import export_qonnx
from xnorflow.sw.frontend.qonnx.importing import import_onnx
from xnorflow.sw.golden import golden


FOLDER = Path("build/qonnx")
IMAGES = 1000
STEPS = 60


def main() -> None:
    """Compare, print and record."""
    parser = argparse.ArgumentParser(description="Small networks of Brevitas against qonnx.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*MODELS, []])
    names = parser.parse_args().names
    warnings.simplefilter("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    console, rows = Console(), []
    for name in names or MODELS:
        path = FOLDER / f"{name.replace(' ', '_')}.onnx"
        if not path.exists():
            export(name, path)
        rows.append(compare(name, path))
        console.print(rows[-1], soft_wrap=True)
    known = {row["model"]: row for row in [*read_rows("features"), *rows]}
    packages = ["torch", "brevitas", "onnx", "qonnx", "onnxruntime"]
    ordered = [known[name] for name in MODELS if name in known]
    record("features", "python bench/features.py", packages, ordered)


def export(name: str, path: Path) -> None:
    """Train a network for a moment, and export it."""
    torch.manual_seed(0)
    model = MODELS[name]()
    data = load(Dataset.MNIST)
    images, labels = _small(data.train_images[:6000], name), data.train_labels[:6000]
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, *((-1.5, 1.5) if "gamma" in name else (0.5, 1.5)))
            nn.init.normal_(norm.bias, std=0.3)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(STEPS):
        part = torch.randint(len(images), (64,))
        found = model(images[part].float() / 255)
        heads = found if isinstance(found, tuple) else (found,)
        loss = sum(functional.cross_entropy(scores, labels[part]) for scores in heads)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    export_brevitas(model, images[:1].float() / 255, str(path))
    if name in CHANGES:
        onnx.save(CHANGES[name](onnx.load(path)), path)


def compare(name: str, path: Path) -> dict[str, Any]:
    """Execute a model, its network, and what comes back from a file of that."""
    start = time.process_time()
    network = import_onnx(path).network
    seconds = time.process_time() - start
    model = _executable(path)
    images = _small(load(Dataset.MNIST).test_images[:IMAGES], name)
    values = (images.float() / 255).numpy()
    tensors = execute_onnx(model, {model.graph.input[0].name: values}, True)
    # Rows and columns of a sequence are its channels and its only row.
    frames = images.numpy().reshape(IMAGES, *_channels_first(network)).transpose(0, 2, 3, 1)
    if network.quantisation is not None:
        frames = quantise(frames / np.float32(255), network.input.type, network.quantisation)
    outputs = {node.name.replace("__", "_").lower(): node.output[0] for node in model.graph.node}
    found = golden(network, frames, keep=network.maps)
    pairs = list(activations(found.maps, outputs, tensors))
    last = model.graph.node[-1]
    ends = last.op_type in ("Softmax", "TopK")
    results = [last.input[0]] if ends else [each.name for each in model.graph.output]
    scores = [tensors[each].reshape(IMAGES, -1) for each in results]
    export_qonnx(network, path.with_suffix(".again.onnx"))
    again = import_onnx(path.with_suffix(".again.onnx"), input=network.input).network
    columns = np.cumsum([each.shape[1] for each in scores])[:-1]
    integers, second = (
        np.split(each.scores.numpy(), columns, axis=1) for each in (found, golden(again, frames))
    )
    return {
        "model": name,
        "images": IMAGES,
        "values": sum(codes.size for codes, _ in pairs),
        "differing": sum(int((codes != levels).sum()) for codes, levels in pairs),
        "labels": _other_labels(integers, scores),
        "scores": max(map(different, integers, scores)),
        "trip_labels": _other_labels(integers, second),
        "trip_scores": max(map(different, integers, second)),
        "import_seconds": round(seconds, 2),
    }


def _other_labels(first: list[NDArray[Any]], second: list[NDArray[Any]]) -> int:
    """Images of which some output says another class."""
    pairs = zip(first, second, strict=True)
    return int(np.any([a.argmax(1) != b.argmax(1) for a, b in pairs], axis=0).sum())


def _channels_first(network: Any) -> tuple[int, int, int]:
    frame = network.input
    return frame.channels, frame.height, frame.width


def _small(images: torch.Tensor, name: str) -> torch.Tensor:
    """Images (n, 1, 14, 14), or sequences (n, 14, 14)."""
    small = images[:, ::2, ::2].movedim(-1, 1)
    return small[:, 0] if name.startswith("1-D") else small


def _executable(path: Path) -> ModelWrapper:
    """Model for a batch, in a domain that qonnx still knows."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.domain = node.domain.replace("onnx.brevitas", "qonnx.custom_op.general")
    if not any("channels_last" in node.domain for node in model.graph.node):
        return ModelWrapper(model).transform(ChangeBatchSize(IMAGES)).transform(InferShapes())
    # Shapes of these operators cannot be inferred once more.
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        sides = value.type.tensor_type.shape.dim
        if len(sides) > 1 and sides[0].dim_value == 1:
            sides[0].dim_value = IMAGES
    return ModelWrapper(model)


if __name__ == "__main__":
    main()
