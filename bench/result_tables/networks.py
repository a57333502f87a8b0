"""Accuracy of trained networks, and what distinguishes their integers from floating point."""

from record import read_rows
from result_tables.table import DIFFERING, Table, section


__all__ = ["ACCURACY", "IMPORTED", "LOWERING", "OWN_MODULES", "adabin", "dynamic", "random_graphs"]

ACCURACY = Table(
    "accuracy",
    "Accuracy on all test images, `python bench/accuracy.py`. The next column counts "
    "binary activations, values of residual streams, and thresholds and shifts of frames, in "
    "which the integer network differs from PyTorch in float64: on the first 1,000 images of "
    "CIFAR-10, and on all of the other data sets. Where a network starts and for how "
    "many epochs it is trained is in its card in [`zoo/`](../zoo).",
    {
        "network": "{network}",
        "integers": "{accuracy:.2%}",
        "float64": "{float_accuracy:.2%}",
        "differ": "{bits_differing} of {bits:,}",
    },
)
IMPORTED = Table(
    "imported",
    "AdaBin's ResNet-20 as its authors released it, on all 10,000 test images, in floating "
    "point and right after the import on three fixed-point grids, `python bench/imported.py`.",
    {"stream": "{numbers}", "accuracy": "{accuracy:.2%}"},
)
LOWERING = Table(
    "lowering",
    "The same count for convolutional networks that were trained for a moment, on real images, "
    "`python bench/lowering.py`.",
    {
        "network": "{network}",
        "method": "{method}",
        "images": "{images:,}",
        "differ": "{bits_differing} of {bits:,}",
    },
)
OWN_MODULES = Table(
    "own_modules",
    "Five modules as one writes them in PyTorch (`examples/modules.py`): activations and "
    "labels of the integers that differ from float64, and scores of the RTL that differ from "
    "the integers, on random images, `python bench/own_modules.py`.",
    {
        "module": "{network}",
        "images": "{frames:,}",
        "integers differ": DIFFERING,
        "RTL scores differ": "{rtl_differing}",
        "cycles a frame": "{cycles:,}",
    },
)


def random_graphs() -> str:
    """Random models of all layers."""
    rows = []
    for rtl, pair in ((False, "float64 = integers"), (True, "integers = RTL")):
        measured = [row for row in read_rows("random_graphs") if row["rtl"] == rtl]
        models, refused, frames, values, differing = (
            sum(row[key] for row in measured)
            for key in ("models", "refused", "frames", "values", "differing")
        )
        if models:
            rows.append([
                pair, f"{models - refused}", f"{refused}", f"{frames:,}",
                f"{differing} of {values:,}",
            ])  # fmt: skip
    return section(
        "Random models of all layers, on a fixed-point grid and without one: activations and order "
        "of the scores that differ from float64, and scores of the Verilated RTL that differ, with "
        "stalls, from the integers, `python bench/random_graphs.py`.",
        ["", "models", "refused", "frames", "differ"],
        rows,
    )


def adabin() -> str:
    """AdaBin beside plain signs."""
    return _match("adabin_vs_sign", "AdaBin against plain signs, TFC on MNIST")


def dynamic() -> str:
    """Dynamic thresholds beside static ones."""
    return _match(
        "dynamic_vs_static",
        "DyBNN's dynamic thresholds and shifts against ReActNet's static ones, ResNet-8 on "
        "Fashion-MNIST",
    )


def _match(name: str, caption: str) -> str:
    """Two methods with the same seeds."""
    measured = read_rows(name)
    if not measured:
        return ""
    epochs, seeds = measured[0]["epochs"], ", ".join(map(str, measured[0]["seeds"]))
    rows = [
        [
            row["method"],
            f"{row['mean']:.2%}",
            f"{row['deviation']:.2%}",
            ", ".join(f"{accuracy:.2%}" for accuracy in row["accuracies"]),
        ]
        for row in measured
    ]
    return section(
        f"{caption}, {epochs} epochs, `python bench/seeds.py {name}`.",
        ["method", "mean", "deviation", f"seeds {seeds}"],
        rows,
    )
