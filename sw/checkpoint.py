"""Trained models on disk: one safetensors file with a JSON header, without pickle.

The file's metadata has the single key ``xnorflow``, whose value is JSON: the format's version, the
kind of model and its configuration, and where it came from. The tensors are the model's state.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from xnorflow.errors import FormatError, NetworkError
from xnorflow.files import read_file, write_atomically
from xnorflow.ir import Provenance
from xnorflow.sw.kinds import Config, Model, build
from xnorflow.sw.models.chain import Chain, ChainConfig, ConvConfig, Method
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.nn.conv import Border
from xnorflow.sw.nn.dynamic import HyperConfig
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.sign import RSign
from xnorflow.sw.nn.unit import Shortcut
from xnorflow.sw.residual_config import (
    ResidualConfig,
    ResidualMethod,
    StemConfig,
    UnitConfig,
    UnitForm,
)


__all__ = [
    "VERSION",
    "Checkpoint",
    "decode_checkpoint",
    "load_checkpoint",
    "read_header",
    "save_checkpoint",
]

VERSION = 3
"""Version of the format."""

_KEY = "xnorflow"


_Settings = (
    ChainConfig
    | ConvConfig
    | IntegerPixels
    | ResidualConfig
    | StemConfig
    | UnitConfig
    | Grid
    | HyperConfig
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model, and where it came from."""

    model: Model
    provenance: Provenance


def save_checkpoint(checkpoint: Checkpoint, path: Path | str) -> None:
    """Write ``checkpoint`` to the file ``path``, whole or not at all.

    Raises
    ------
    FormatError
        If the file cannot be written.
    ValueError
        If the model is not in float32, in which models are trained.
    """
    model = checkpoint.model
    dtype = next(model.parameters()).dtype
    if dtype != torch.float32:
        raise ValueError(f"a checkpoint must be in float32, not {dtype}")
    header = {
        "version": VERSION,
        "model": "chain" if isinstance(model, Chain) else "residual",
        "config": _encode(model.config),
        "provenance": asdict(checkpoint.provenance),
    }
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, safetensors.torch.save(state, {_KEY: json.dumps(header)}))


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint from the file ``path``; its model is in evaluation mode.

    Raises
    ------
    FormatError
        If the file cannot be read, is damaged or foreign, or is of a newer version.
    """
    data = read_file(path)
    try:
        return decode_checkpoint(data)
    except FormatError as error:
        raise FormatError(f"{path} is not a valid checkpoint: {error}") from None


def read_header(data: bytes, key: str) -> dict[str, Any]:
    """JSON object under a ``key`` of the metadata of a safetensors file's content.

    Raises
    ------
    FormatError
        If there is none.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][key])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError("it is a safetensors file with other content") from None
    if not isinstance(header, dict):
        raise FormatError("it is a safetensors file with other content")
    return header


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Read a checkpoint from the content of a file: see `load_checkpoint`."""
    try:
        state = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, RuntimeError):
        raise FormatError("it is damaged, or not a safetensors file at all") from None
    header = read_header(data, _KEY)
    version = header.get("version")
    if type(version) is not int:
        raise FormatError("it does not say its version")
    if version != VERSION:
        raise FormatError(f"its version is {version}, and only version {VERSION} is known")
    config: Config
    match header.get("model"):
        case "chain":
            config = _config(header.get("config"))
            layers = len(config.convolutions) + len(config.hidden)
        case "residual":
            config = _residual_config(header.get("config"))
            layers = len(config.units)
        case _:
            raise FormatError("it holds no model of a known kind")
    if layers > len(state):
        raise FormatError("its tensors do not fit its configuration")
    # On the meta device no memory is taken, however large a stranger says that the model is.
    with torch.device("meta"):
        model = build(config)
    expected = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
    if {name: (t.shape, t.dtype) for name, t in state.items()} != expected:
        raise FormatError("its tensors do not fit its configuration")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise FormatError("it has parameters that are not finite")
    model.load_state_dict(state, assign=True)
    polarities = (part.polarity for part in model.modules() if isinstance(part, RSign))
    if any(bool((each.abs() != 1).any()) for each in polarities if each is not None):
        raise FormatError("it has polarities that are neither -1 nor 1")
    return Checkpoint(model.eval(), _provenance(header.get("provenance")))


def _encode(config: Config) -> dict[str, Any]:
    """Configuration as JSON has it."""
    value = asdict(config) | {"method": config.method.value}
    if isinstance(config, ChainConfig):
        return value | {"border": config.border.value}
    return value | {"shortcut": config.shortcut.value, "form": config.form.value}


def _config(value: Any) -> ChainConfig:
    try:
        _check_fields(value, ChainConfig)
        height, width, channels = _integers(value["input_shape"])
        if not isinstance(value["convolutions"], list):
            raise TypeError
        return ChainConfig(
            hidden=_integers(value["hidden"]),
            method=Method(value["method"]),
            input_shape=(height, width, channels),
            classes=_integer(value["classes"]),
            convolutions=tuple(map(_convolution, value["convolutions"])),
            border=Border(value["border"]),
            pixels=None if value["pixels"] is None else _pixels(value["pixels"]),
            score_bits=_integer(value["score_bits"]),
        )
    except NetworkError as error:
        raise FormatError(str(error)) from None
    except (ValueError, TypeError):
        raise FormatError("its configuration has a wrong value") from None


def _residual_config(value: Any) -> ResidualConfig:
    try:
        _check_fields(value, ResidualConfig)
        height, width, channels = _integers(value["input_shape"])
        if not isinstance(value["units"], list):
            raise TypeError
        return ResidualConfig(
            method=ResidualMethod(value["method"]),
            stem=_stem(value["stem"]),
            units=tuple(map(_unit, value["units"])),
            pixels=_pixels(value["pixels"]),
            shortcut=Shortcut(value["shortcut"]),
            input_shape=(height, width, channels),
            classes=_integer(value["classes"]),
            grid=None if value["grid"] is None else _grid(value["grid"]),
            form=UnitForm(value["form"]),
            hyper=_hyper(value["hyper"]),
        )
    except NetworkError as error:
        raise FormatError(str(error)) from None
    except (ValueError, TypeError):
        raise FormatError("its configuration has a wrong value") from None


def _stem(value: Any) -> StemConfig:
    _check_fields(value, StemConfig)
    return StemConfig(
        channels=_integer(value["channels"]),
        kernel=_integer(value["kernel"]),
        stride=_integer(value["stride"]),
        activated=_flag(value["activated"]),
        pooled=_flag(value["pooled"]),
    )


def _unit(value: Any) -> UnitConfig:
    _check_fields(value, UnitConfig)
    return UnitConfig(**{name: _integer(number) for name, number in value.items()})


def _grid(value: Any) -> Grid:
    _check_fields(value, Grid)
    return Grid(**{name: _integer(number) for name, number in value.items()})


def _hyper(value: Any) -> HyperConfig:
    _check_fields(value, HyperConfig)
    return HyperConfig(**{name: _integer(number) for name, number in value.items()})


def _convolution(value: Any) -> ConvConfig:
    _check_fields(value, ConvConfig)
    return ConvConfig(**{name: _integer(number) for name, number in value.items()})


def _pixels(value: Any) -> IntegerPixels:
    _check_fields(value, IntegerPixels)
    return IntegerPixels(
        _floats(value["mean"]), _floats(value["deviation"]), _integer(value["bits"])
    )


def _check_fields(value: Any, kind: type[_Settings]) -> None:
    if not isinstance(value, dict) or value.keys() != {field.name for field in fields(kind)}:
        raise FormatError("its configuration has missing or unknown fields")


def _integer(value: Any) -> int:
    return _integers([value])[0]


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _floats(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(type(item) is float for item in value):
        raise TypeError
    return tuple(value)


def _integers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise TypeError
    return tuple(value)


def _provenance(value: Any) -> Provenance:
    if not isinstance(value, dict) or value.keys() != {field.name for field in fields(Provenance)}:
        raise FormatError("its provenance has missing or unknown fields")
    try:
        return Provenance(**value)
    except NetworkError as error:
        raise FormatError(str(error)) from None
