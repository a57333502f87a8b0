"""Make the networks of the zoo, with their cards: those that are named, or all.

    python zoo/make.py mnist-tfc-sign

Each is trained (in ``runs/``; a training that was interrupted goes on, one that is complete is not
done again), lowered, and compared with the model in float64 over the whole test set. Most take
minutes on one core; those for CIFAR-10 take hours, unless there is ``--accelerator gpu``. The
residual networks among these start with the weights that AdaBin's authors released:
``--adabin FILE``; one starts with another network of the zoo, which is trained first.
"""

import argparse
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xnorflow.errors import DataError, LoweringError
from xnorflow.files import write_atomically
from xnorflow.ir.xnf import dumps
from xnorflow.sw.adabin_import import GRID, PIXELS, STEM_BITS, import_adabin_resnet20
from xnorflow.sw.checkpoint import Checkpoint, load_checkpoint
from xnorflow.sw.compare import Comparison, compare
from xnorflow.sw.data import Dataset, ImageData, load
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.recipes import (
    Optimiser,
    Recipe,
    fine_tune,
    low_rate,
    recipe_for,
    small,
    warm_start,
)
from xnorflow.sw.train import MODEL_FILE, train


ZOO = Path(__file__).parent
RUNS = ZOO.parent / "runs"

_CARD = """# {name}

{model} on {dataset}.

| | |
|---|---|
| accuracy of the integer network | {integer_accuracy:.2%} |
| accuracy of the PyTorch model in float64 | {float_accuracy:.2%} |
| test {frame}s | {test_frames:,} |
| {what} that differ between the two | {differing:,} of {compared:,}{frames} |
| data | {dataset}, all {train_frames:,} training {frame}s; the last epoch counts |
{start}| recipe | {recipe} |
| seed | {seed} |
| SHA-256 | `{sha256}` |

To make it again: `xnorflow data fetch {dataset_name}`, then `python zoo/make.py {name}{option}`.
On another machine rounding can differ, and with it the weights, but hardly the accuracy.
"""

_METHODS: dict[Method | ResidualMethod, str] = {
    Method.SIGN: "plain signs",
    Method.ADABIN: "AdaBin's adaptive binary sets",
    Method.SIMAN: "SiMaN's {0, 1} weights and sign activations",
    Method.SIMAN_BIPOLAR: "SiMaN's ±1 weights and sign activations",
    Method.W1A2: "weights of plain signs and activations of 2 bits",
    ResidualMethod.ADABIN: "AdaBin's adaptive binary sets and Maxout",
    ResidualMethod.SIMAN: "SiMaN's {0, 1} weights, learned thresholds and PReLU",
    ResidualMethod.SIMAN_BIPOLAR: "SiMaN's ±1 weights, learned thresholds and PReLU",
    ResidualMethod.REACTNET: "ReActNet's thresholds and RPReLU",
    ResidualMethod.DYBNN: "DyBNN's dynamic thresholds and shifts",
    ResidualMethod.DYBNN_SEPARATE: "DyBNN's thresholds and shifts, each from its own means",
    ResidualMethod.SIMAN_MEAN: "SiMaN's ±1 weights, the mean of each frame as threshold and PReLU",
}

_RELEASED = (
    "the weights of AdaBin's ResNet-20 as its authors released them (MIT licence, Huawei "
    "Technologies)"
)

_GRID = Grid(score_bits=10)

_OPTIMISERS = {Optimiser.ADAM: "Adam", Optimiser.SGD: "SGD with momentum 0.9"}


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Attributes
    ----------
    dataset : Dataset
    model : str
        Its name.
    method : Method or ResidualMethod
    recipes : tuple of Recipe
        What it is trained with, one after the other; that of the model, unless others are given.
    grid : Grid, optional
        Of a residual network.
    after : str, optional
        Entry whose trained model it starts with.
    stem_bits : int
        Width of the first layer's weights.
    """

    dataset: Dataset
    model: str
    method: Method | ResidualMethod
    recipes: tuple[Recipe, ...] = ()
    grid: Grid | None = None
    after: str | None = None
    stem_bits: int = PIXELS.bits

    def __post_init__(self) -> None:
        if isinstance(self.method, Method):
            recipe = recipe_for(self.model, self.method, self.dataset)
            object.__setattr__(self, "recipes", self.recipes or (recipe,))

    @property
    def residual(self) -> bool:
        """Whether it has a residual stream."""
        return isinstance(self.method, ResidualMethod)

    @property
    def released(self) -> bool:
        """Whether it starts with AdaBin's released weights, or with a model that did."""
        return self.residual and self.dataset is Dataset.CIFAR10

    @property
    def spec(self) -> ModelSpec:
        """Specification of the model; after AdaBin's, pixels are normalised as its authors do."""
        pixels = PIXELS if self.released else IntegerPixels(*self.dataset.normalisation)
        height, width, channels = self.dataset.shape
        task = Task(
            (channels, height, width),
            len(self.dataset.classes),
            replace(pixels, bits=self.stem_bits),
        )
        return ModelSpec(self.model, task, {"method": self.method.value})

    def starts(self) -> str:
        """Which parameters it starts with, in words."""
        if self.after is not None:
            return f"the trained `{self.after}` of this zoo, which starts with {_RELEASED}"
        return _RELEASED if self.released else "random weights"

    def __str__(self) -> str:
        return f"{_spell_model(self)} with {_METHODS[self.method]}"


def _residual(
    model: str,
    method: ResidualMethod,
    *recipes: Recipe,
    dataset: Dataset = Dataset.CIFAR10,
    grid: Grid = _GRID,
    **options: Any,
) -> Entry:
    return Entry(dataset, model, method, recipes, grid, **options)


_CIFAR10 = Dataset.CIFAR10
_WARM_START = warm_start(_CIFAR10, mixed=True)

ENTRIES: dict[str, Entry] = {
    "mnist-tfc-sign": Entry(Dataset.MNIST, "tfc", Method.SIGN),
    "mnist-tfc-adabin": Entry(Dataset.MNIST, "tfc", Method.ADABIN),
    "mnist-tfc-siman": Entry(Dataset.MNIST, "tfc", Method.SIMAN),
    "mnist-tfc-w1a2": Entry(
        Dataset.MNIST,
        "tfc",
        Method.W1A2,
        (replace(recipe_for("tfc", Method.W1A2), epochs=60),),
    ),
    "mnist-sfc-sign": Entry(Dataset.MNIST, "sfc", Method.SIGN),
    "mnist-lfc-sign": Entry(Dataset.MNIST, "lfc", Method.SIGN),
    "mnist-conv-up5k": Entry(Dataset.MNIST, "conv-s", Method.SIGN),
    "fashion-lfc-adabin": Entry(Dataset.FASHION_MNIST, "lfc", Method.ADABIN),
    "fashion-conv": Entry(Dataset.FASHION_MNIST, "conv-m", Method.SIGN),
    "har-dscnn-w1a1": Entry(Dataset.HAR, "dscnn", Method.SIGN),
    "cifar10-cnv": Entry(_CIFAR10, "cnv", Method.SIGN),
    "cifar10-resnet20-adabin": _residual(
        "resnet20",
        ResidualMethod.ADABIN,
        fine_tune(_CIFAR10, mixed=True),
        grid=GRID,
        stem_bits=STEM_BITS,
    ),
    "cifar10-resnet20-siman": _residual(
        "resnet20",
        ResidualMethod.SIMAN,
        warm_start(_CIFAR10, mixed=True, half=True),
        low_rate(_CIFAR10, mixed=True),
        grid=GRID,
        after="cifar10-resnet20-siman-bipolar",
    ),
    "cifar10-resnet20-siman-bipolar": _residual(
        "resnet20", ResidualMethod.SIMAN_BIPOLAR, _WARM_START
    ),
    "cifar10-resnet20-reactnet": _residual("resnet20", ResidualMethod.REACTNET, _WARM_START),
    "cifar10-resnet20-dybnn": _residual("resnet20", ResidualMethod.DYBNN, _WARM_START),
    "fashion-small-reactnet": _residual(
        "resnet8",
        ResidualMethod.REACTNET,
        small(Dataset.FASHION_MNIST),
        dataset=Dataset.FASHION_MNIST,
    ),
    "fashion-small-dybnn": _residual(
        "resnet8",
        ResidualMethod.DYBNN,
        small(Dataset.FASHION_MNIST),
        dataset=Dataset.FASHION_MNIST,
    ),
}


def trained(
    name: str, data: ImageData, accelerator: str, adabin: Path | None, rounds: int | None = None
) -> Checkpoint:
    """Model of the entry ``name`` after so many of its recipes, or all."""
    entry = ENTRIES[name]
    last = len(entry.recipes)
    rounds = rounds or last
    recipe = entry.recipes[rounds - 1]
    folder = RUNS / (name if rounds == last else f"{name}.{rounds}")
    if (folder / MODEL_FILE).exists():
        found = load_checkpoint(folder / MODEL_FILE)
        made = found.provenance
        same = (made.recipe, made.epochs, made.seed) == (recipe.name, recipe.epochs, recipe.seed)
        if (found.spec, found.grid) != (entry.spec, entry.grid) or not same:
            raise DataError(f"{folder} holds another model than that of {name}: remove it")
        return found
    start: Checkpoint | None = None
    if rounds > 1:
        start = trained(name, data, accelerator, adabin, rounds - 1)
    elif entry.after is not None:
        start = trained(entry.after, data, accelerator, adabin)
    elif entry.released:
        if adabin is None:
            raise DataError(f"{name} starts with AdaBin's released weights: give their file")
        start = import_adabin_resnet20(adabin, stem_bits=entry.stem_bits)
    return train(
        entry.spec,
        recipe,
        data,
        folder,
        grid=entry.grid,
        start=start,
        compiled=entry.residual,
        progress=True,
        accelerator=accelerator,
    )


def make(name: str, accelerator: str = "cpu", adabin: Path | None = None) -> str:
    """Write an entry's network and card, and return the card."""
    entry = ENTRIES[name]
    data = load(entry.dataset)
    checkpoint = trained(name, data, accelerator, adabin)
    network = lower(
        checkpoint.model,
        input=checkpoint.frame,
        name=name,
        labels=data.classes,
        quantisation=data.quantisation,
        provenance=checkpoint.provenance,
    )
    comparison = compare(checkpoint.model, network, data.test_images[: _compared(entry)])
    if comparison.differing:
        raise LoweringError(f"{name} is not what was trained: {comparison}")
    labels = golden(network, data.test_images).labels
    content = dumps(network)
    card = _card(
        name,
        data,
        checkpoint,
        comparison,
        integer_accuracy=float((labels == data.test_labels).double().mean()),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    write_atomically(ZOO / f"{name}.xnf", content)
    write_atomically(ZOO / f"{name}.md", card.encode())
    return card


def _needs_adabin(name: str) -> bool:
    """Whether the entry is to be trained, and starts with AdaBin's released weights."""
    entry = ENTRIES[name]
    if (RUNS / name / MODEL_FILE).exists():
        return False
    return entry.released if entry.after is None else _needs_adabin(entry.after)


def _compared(entry: Entry) -> int | None:
    """How many test images are compared value by value: those for CIFAR-10 take long in float64."""
    return 1000 if entry.dataset is Dataset.CIFAR10 else None


def _card(
    name: str,
    data: ImageData,
    checkpoint: Checkpoint,
    comparison: Comparison,
    *,
    integer_accuracy: float,
    sha256: str,
) -> str:
    entry = ENTRIES[name]
    return _CARD.format(
        name=name,
        model=entry,
        what="values and bits" if entry.residual else "binary activations",
        option=" --adabin FILE" if entry.released else "",
        start=f"| starts with | {entry.starts()} |\n" if entry.residual else "",
        dataset=entry.dataset.title,
        frame="window" if entry.dataset is Dataset.HAR else "image",
        dataset_name=entry.dataset.value,
        integer_accuracy=integer_accuracy,
        float_accuracy=checkpoint.provenance.float_accuracy,
        test_frames=len(data.test_images),
        frames=(
            ""
            if comparison.frames == len(data.test_images)
            else f", on the first {comparison.frames:,}"
        ),
        differing=sum(layer.differing for layer in comparison.layers),
        compared=sum(layer.compared for layer in comparison.layers),
        train_frames=len(data.train_images),
        recipe="; then ".join(map(_spell, entry.recipes)),
        seed=entry.recipes[-1].seed,
        sha256=sha256,
    )


def _spell_model(entry: Entry) -> str:
    """Model in words."""
    model = entry.spec.build()
    convs = [module for module in model.modules() if isinstance(module, BinaryConv2d)]
    if entry.grid is not None:
        channels = [conv.weight.shape[0] for conv in convs if conv.weight.shape[2] > 1]
        return (
            f"{entry.model.upper()} ({len(channels)} binary convolutions of {channels[0]} to "
            f"{channels[-1]} channels with a shortcut around each; a residual stream of "
            f"{entry.grid.bits} bits, {entry.grid.fraction} of them fractional)"
        )
    hidden = "-".join(
        str(module.num_features) for module in model.modules() if isinstance(module, nn.BatchNorm1d)
    )
    layers = dict(model.named_children())
    parts = [
        _spell_conv(layer, layers.get(name.replace("conv", "pool")))
        for name, layer in layers.items()
        if isinstance(layer, BinaryConv2d | IntegerConv2d)
    ]
    if not parts:
        return f"{entry.model.upper()} ({hidden} hidden neurons)"
    first = "a threshold for the pixels"
    conv = next(layer for layer in layers.values() if hasattr(layer, "stride"))
    if isinstance(conv, IntegerConv2d):
        first = f"{conv.weight_quantiser.bits}-bit weights in the first layer"
    weights = sum(value.numel() for value in model.parameters() if value.dim() > 1)
    return (
        f"{entry.model.upper()} (convolutions {', '.join(parts)}; "
        + (f"{hidden} hidden neurons; " if hidden else "")
        + f"{first}; {weights:,} weights)"
    )


def _spell_conv(conv: BinaryConv2d | IntegerConv2d, pool: nn.Module | None) -> str:
    channels, _, rows, columns = conv.weight.shape
    text = f"{rows}×{columns}×{channels}"
    if conv.groups > 1:
        text += " depthwise"
    if conv.stride != 1:
        text += f" with stride {conv.stride}"
    if conv.padding:
        text += " padded"
    if isinstance(pool, nn.MaxPool2d):
        text += f" and {pool.kernel_size}×{pool.kernel_size} max-pool"
    return text


def _spell(recipe: Recipe) -> str:
    """Recipe in words."""
    parts = [
        f"`{recipe.name}`: {recipe.epochs} epochs in batches of {recipe.batch_size}",
        f"{_OPTIMISERS[recipe.optimiser]}, "
        f"learning rate {recipe.learning_rate} falling to 0 in half a cosine",
    ]
    if recipe.weight_decay:
        parts.append(f"weight decay {recipe.weight_decay:g}")
    if recipe.label_smoothing:
        parts.append(f"labels smoothed by {recipe.label_smoothing}")
    if recipe.centred:
        parts.append(f"weights of ±½ that become {{0, 1}} in {recipe.centred:.0%} of the epochs")
    if recipe.frozen:
        parts.append("binary weights as they were")
    if recipe.measured:
        parts.append("statistics of batch normalisation measured in the end")
    augmentation = recipe.augmentation
    if recipe.mixed:
        parts.append("bfloat16 products")
    if augmentation.shift:
        parts.append(f"images shifted by up to {augmentation.shift:g} pixels")
    if augmentation.rotation:
        parts.append(f"rotated by up to {augmentation.rotation:g}°")
    if augmentation.zoom:
        parts.append(f"zoomed by up to {augmentation.zoom:.1%}")
    if augmentation.crop:
        parts.append(f"images shifted by up to {augmentation.crop} whole pixels")
    if augmentation.tilt:
        parts.append(f"sensors turned by about {augmentation.tilt:g}° (normal) about each axis")
    if augmentation.flip:
        parts.append("half of the images mirrored")
    return ", ".join(parts)


def main() -> None:
    """Make the networks that the command line names."""
    parser = argparse.ArgumentParser(description="Make the networks of the zoo, with their cards.")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(ENTRIES))
    parser.add_argument("--accelerator", default="cpu", help="what Lightning trains on")
    parser.add_argument("--adabin", type=Path, help="AdaBin's released ResNet-20 for CIFAR-10")
    options = parser.parse_args()
    # Sums depend on how threads share them, so a fixed number of threads is part of the recipe.
    torch.set_num_threads(1)
    names = options.names
    if unknown := set(names) - ENTRIES.keys():
        parser.error(f"the zoo has no {', '.join(sorted(unknown))}")
    chosen = names or list(ENTRIES)
    starting = [name for name in chosen if _needs_adabin(name)]
    if starting and options.adabin is None:
        parser.error(f"{starting[0]} starts with AdaBin's released weights: give --adabin FILE")
    for name in chosen:
        print(make(name, options.accelerator, options.adabin))


if __name__ == "__main__":
    main()
