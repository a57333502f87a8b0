"""Checkpoints of version 3, in which chains and residual models had forms of their own."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from xnorflow.errors import FormatError
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid


__all__ = ["grid_of", "spec_of", "state_of"]


_METHODS = {"dybnn-apart": "dybnn-separate"}


def spec_of(kind: object, config: Mapping[str, Any]) -> ModelSpec:
    """`ModelSpec` of a model of a ``kind``, with a ``config`` of version 3.

    Raises
    ------
    FormatError
        If there is no such kind.
    NetworkError, KeyError, TypeError, ValueError
        If the configuration is damaged.
    """
    height, width, channels = config["input_shape"]
    pixels = config["pixels"]
    task = Task((channels, height, width), config["classes"], pixels and IntegerPixels(**pixels))
    method = {"method": _METHODS.get(config["method"], config["method"])}
    match kind:
        case "chain" if not config["convolutions"]:
            return ModelSpec("mlp", task, method | {"hidden": config["hidden"]})
        case "chain":
            names = "channels", "kernel", "stride", "padding", "pool"
            convs = [[conv[name] for name in names] for conv in config["convolutions"]]
            same = {name: config[name] for name in ("hidden", "border", "score_bits")}
            return ModelSpec("conv-net", task, method | same | {"convs": convs})
        case "residual":
            blocks = [
                [unit["channels"], unit["stride"], unit["kernel"]] for unit in config["units"]
            ]
            return ModelSpec(
                "residual",
                task,
                method
                | {
                    "first": config["stem"],
                    "blocks": blocks,
                    "shortcut": config["shortcut"],
                    "classic": config["form"] == "classic",
                    "hyper": [config["hyper"]["ratio"], config["hyper"]["bits"]],
                },
            )
    raise FormatError("it holds no model of a known kind")


def grid_of(config: Mapping[str, Any]) -> Grid | None:
    """Grid of a configuration of version 3."""
    grid = config.get("grid")
    return None if grid is None else Grid(**grid)


def state_of(spec: ModelSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of the model that ``spec`` builds, from one of version 3.

    Raises
    ------
    FormatError
        If it has parameters that such models do not have.
    """
    return _residual_state(spec, state) if spec.name == "residual" else _chain_state(spec, state)


def _chain_state(spec: ModelSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    convs, hidden = spec.options.get("convs", ()), spec.options["hidden"]
    layers = [f"conv{n + 1}" for n in range(len(convs))]
    layers += [f"fc{n + 1}" for n in range(len(hidden) + 1)]
    norms = [f"norm{n + 1}" for n in range(len(convs))]
    norms += [f"fc{n + 1}_norm" if convs else f"norm{n + 1}" for n in range(len(hidden))]
    names = {"layers": layers, "norms": norms}
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        kind, _, rest = name.partition(".")
        if kind in names:
            number, _, rest = rest.partition(".")
            if not number.isdecimal() or int(number) >= len(names[kind]):
                raise FormatError("its tensors do not fit its configuration")
            name = f"{names[kind][int(number)]}.{rest}"
        renamed[name] = value
    # The first dense layer had its features in the order row, column, channel.
    weight = renamed.get("fc1.weight")
    channels = convs[-1][0] if convs else spec.task.shape[0]
    if weight is not None and weight.dim() == 2 and weight.shape[1] % channels == 0:
        rows = weight.unflatten(1, (-1, channels)).movedim(-1, 1)
        renamed["fc1.weight"] = rows.reshape(weight.shape)
    return renamed


_PREFIXES = {
    "stem.conv.": "stem.conv.",
    "stem.norm.": "stem.norm.",
    "stem_slopes.": "stem.act.",
    "classifier.norm.": "norm.",
    "classifier.dense.": "fc.",
}
_BIREAL = {
    "conv.conv.": "conv.",
    "conv.norm.": "norm.",
    "pointwise.norm.": "shortcut.norm.",
    "pointwise.": "shortcut.conv.",
    "projection.conv.": "shortcut.conv.",
    "projection.norm.": "shortcut.norm.",
    "sign.hyper.": "hyper.",
    "slopes.": "act.",
}
_CLASSIC = _BIREAL | {
    "conv.conv.": "conv2.",
    "conv.norm.": "norm2.",
    "first.conv.": "conv1.",
    "first.norm.": "norm1.",
}


def _residual_state(spec: ModelSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    units = _CLASSIC if spec.options["classic"] else _BIREAL
    names: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith("units.") and name.count(".") > 2:
            _, number, rest = name.split(".", 2)
            names[f"blocks.{number}.{_renamed(rest, units)}"] = value
        else:
            names[_renamed(name, _PREFIXES)] = value
    if spec.method != ResidualMethod.ADABIN.value:
        names = _without_positive(names)
    for name, value in names.items():
        if name.endswith("shortcut.conv.weight") and value.dim() == 2:
            names[name] = value[:, :, None, None]
    _read_shifts(names)
    return names


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    for before, after in prefixes.items():
        if name.startswith(before):
            return after + name.removeprefix(before)
    raise FormatError("its tensors do not fit its configuration")


def _without_positive(names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PReLU has one learned slope, and ReLU none."""
    kept: dict[str, Tensor] = {}
    for name, value in names.items():
        fixed = {"positive": 1.0}
        if name.startswith("stem.act."):
            fixed["negative"] = 0.0
        end = name.rpartition(".")[2]
        if end not in fixed:
            kept[name.replace(".act.negative", ".act.weight")] = value
        elif bool((value != fixed[end]).any()):
            raise FormatError(f"{name} is not {fixed[end]:g}")
    return kept


def _read_shifts(names: dict[str, Tensor]) -> None:
    """Let hyper functions read streams with the shift that the block before them adds.

    They read them without: so their hidden units get what that shift would add to them. In float32
    that may move the integer of an offset by one.
    """
    for name in [name for name in names if name.endswith(".hyper.squeeze.bias")]:
        _, number, rest = name.split(".", 2)
        shift = names.get(f"blocks.{int(number) - 1}.act.after")
        if rest == "hyper.squeeze.bias" and shift is not None:
            weight = names[name.replace("bias", "weight")].double()
            names[name] = (names[name].double() - weight @ shift.double()).to(names[name].dtype)
