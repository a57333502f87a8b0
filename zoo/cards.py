"""Cards of the zoo: what a network is, how it was trained, and what it reaches."""

from entries import Entry
from torch import nn

from xnorflow.sw.checkpoint import Checkpoint
from xnorflow.sw.compare import Comparison
from xnorflow.sw.data import Dataset, ImageData
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.nn.conv import BinaryConv2d, IntegerConv2d
from xnorflow.sw.recipes import Optimiser, Recipe


__all__ = ["HELD_BACK", "card"]

HELD_BACK = "accuracy on the images held back"
"""What a card calls it, if it was measured."""

_CARD = """# {name}

{model} on {dataset}.

| | |
|---|---|
| accuracy of the integer network | {integer_accuracy:.2%} |
| accuracy of the PyTorch model in float64 | {float_accuracy:.2%} |
| test {frame}s | {test_frames:,} |
| {what} that differ between the two | {differing:,} of {compared:,}{frames} |
| data | {dataset}, {which}; the last epoch counts |
{held}{start}| recipe | {recipe} |
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

_OPTIMISERS = {Optimiser.ADAM: "Adam", Optimiser.SGD: "SGD with momentum 0.9"}


def card(
    name: str,
    entry: Entry,
    data: ImageData,
    checkpoint: Checkpoint,
    comparison: Comparison,
    *,
    integer_accuracy: float,
    sha256: str,
    held_back: tuple[int, float] | None = None,
) -> str:
    """Text of the card of ``entry``.

    ``held_back`` is the number of training images at the end that it has not seen, and its accuracy
    on these.
    """
    seen = len(data.train_images)
    which = f"all {seen:,} training {{frame}}s"
    if held_back is not None:
        which = f"the first {seen - held_back[0]:,} training {{frame}}s"
    then = "; then, with no more than bits and thresholds of it, " if entry.bits_only else "; then "
    return _CARD.format(
        name=name,
        model=f"{_spell_model(entry)} with {_METHODS[entry.method]}",
        what="values and bits" if entry.residual else "binary activations",
        option=(" --adabin FILE" if entry.released else "") + (" --queue" if held_back else ""),
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
        which=which.format(frame="window" if entry.dataset is Dataset.HAR else "image"),
        held=(
            ""
            if held_back is None
            else f"| {HELD_BACK}, the last {held_back[0]:,} | {held_back[1]:.2%} |\n"
        ),
        recipe=then.join(map(_spell, entry.recipes)),
        seed=checkpoint.provenance.seed,
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
    if recipe.temperature:
        parts.append(
            f"a teacher's distribution at temperature {recipe.temperature:g}, the mean of "
            f"{recipe.views} views, in place of labels"
        )
    if recipe.averaging:
        parts.append(f"parameters averaged, {recipe.averaging:g} of the average left by each step")
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
