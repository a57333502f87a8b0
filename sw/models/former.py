"""Plain models with the parameters of a `Chain` or a `Residual`, as checkpoints had them before."""

import torch
from torch import Tensor, nn

from xnorflow.errors import DataError
from xnorflow.sw.models.chain import ChainConfig
from xnorflow.sw.models.cnv import Conv, ConvNet
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.mlp import MLP
from xnorflow.sw.models.resnet import Family, ResNet, stem
from xnorflow.sw.nn.prelu import Maxout
from xnorflow.sw.residual_config import ResidualConfig, UnitForm


__all__ = [
    "from_chain_config",
    "from_chain_state",
    "from_residual_config",
    "from_residual_state",
    "load_chain_state",
    "load_residual_state",
]


def from_residual_config(config: ResidualConfig) -> ResNet:
    """The plain model that a configuration asks for; its parameters are new."""
    family = Family(config.method, config.shortcut, config.hyper)
    first = config.stem
    act: nn.Module | None = None
    if first.activated:
        adabin = config.method is ResidualMethod.ADABIN
        act = Maxout(first.channels) if adabin else nn.ReLU()
    blocks: list[nn.Module] = []
    channels = first.channels
    make = family.block if config.form is UnitForm.BIREAL else family.classic
    for unit in config.units:
        blocks.append(make(channels, unit.channels, stride=unit.stride, kernel=unit.kernel))
        channels = unit.channels
    return ResNet(
        stem(
            config.pixels,
            first.channels,
            kernel=first.kernel,
            stride=first.stride,
            act=act,
            pooled=first.pooled,
        ),
        blocks,
        channels,
        config.classes,
    )


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


def from_residual_state(config: ResidualConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of the plain model of a configuration, from that of its `Residual`.

    Raises
    ------
    DataError
        If positive values have a slope that is not 1 where the plain model has none.
    """
    units = _CLASSIC if config.form is UnitForm.CLASSIC else _BIREAL
    names: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith("units."):
            _, number, rest = name.split(".", 2)
            names[f"blocks.{number}.{_renamed(rest, units)}"] = value
        else:
            names[_renamed(name, _PREFIXES)] = value
    if config.method is not ResidualMethod.ADABIN:
        names = _without_positive(names)
    for name, value in names.items():
        if name.endswith("shortcut.conv.weight") and value.dim() == 2:
            names[name] = value[:, :, None, None]
    _read_shifts(names)
    return names


def _renamed(name: str, prefixes: dict[str, str]) -> str:
    for before, after in prefixes.items():
        if name.startswith(before):
            return after + name.removeprefix(before)
    raise DataError(f"no plain model has a parameter like {name}")


def _without_positive(names: dict[str, Tensor]) -> dict[str, Tensor]:
    """PReLU has one learned slope, and ReLU none."""
    kept: dict[str, Tensor] = {}
    for name, value in names.items():
        fixed = {"positive": 1.0}
        if name.startswith("stem.act."):
            fixed["negative"] = 0.0
        end = name.rpartition(".")[2]
        if end in fixed:
            if bool((value != fixed[end]).any()):
                raise DataError(f"{name} is not {fixed[end]:g}, which a plain model cannot have")
            continue
        kept[name.replace(".act.negative", ".act.weight")] = value
    return kept


def _read_shifts(names: dict[str, Tensor]) -> None:
    """Let hyper functions read streams with the shift that the block before them adds.

    They read them without: so their hidden units get what that shift would add to them.
    """
    for name in [name for name in names if name.endswith(".hyper.squeeze.bias")]:
        _, number, rest = name.split(".", 2)
        shift = names.get(f"blocks.{int(number) - 1}.act.after")
        if rest == "hyper.squeeze.bias" and shift is not None:
            weight = names[name.replace("bias", "weight")].double()
            names[name] = (names[name].double() - weight @ shift.double()).to(names[name].dtype)


def load_residual_state(config: ResidualConfig, state: dict[str, Tensor]) -> ResNet:
    """The plain model of a configuration, in evaluation mode, with the state of its `Residual`."""
    with torch.device("meta"):
        model = from_residual_config(config)
    model.load_state_dict(from_residual_state(config, state), assign=True)
    return model.eval()


def from_chain_config(config: ChainConfig) -> MLP | ConvNet:
    """The plain model that the configuration of a `Chain` asks for; its parameters are new."""
    height, width, channels = config.input_shape
    if not config.convolutions:
        inputs = height * width * channels
        return MLP(inputs, config.hidden, config.classes, method=config.method)
    return ConvNet(
        (channels, height, width),
        [
            Conv(each.channels, each.kernel, each.stride, each.padding, each.pool)
            for each in config.convolutions
        ],
        config.hidden,
        config.classes,
        method=config.method,
        border=config.border,
        pixels=config.pixels,
        score_bits=config.score_bits,
    )


def from_chain_state(config: ChainConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of the plain model of a configuration, from that of its `Chain`."""
    convs = len(config.convolutions)
    layers = [f"conv{n + 1}" for n in range(convs)]
    layers += [f"fc{n + 1}" for n in range(len(config.hidden) + 1)]
    norms = [f"norm{n + 1}" for n in range(convs)]
    norms += [f"fc{n + 1}_norm" if convs else f"norm{n + 1}" for n in range(len(config.hidden))]
    names = {"layers": layers, "norms": norms}
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        kind, _, rest = name.partition(".")
        if kind in names:
            number, _, rest = rest.partition(".")
            name = f"{names[kind][int(number)]}.{rest}"
        renamed[name] = value
    # The first dense layer had its features in the order row, column, channel.
    height, width, channels = config.maps[-1]
    weight = renamed["fc1.weight"]
    rows = weight.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    return renamed | {"fc1.weight": rows.reshape(weight.shape)}


def load_chain_state(config: ChainConfig, state: dict[str, Tensor]) -> MLP | ConvNet:
    """The plain model of a configuration, in evaluation mode, with the state of its `Chain`."""
    model = from_chain_config(config)
    model.load_state_dict(from_chain_state(config, state))
    return model.eval()
