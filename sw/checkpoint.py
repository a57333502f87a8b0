"""Checkpoints: trained models in safetensors files, without pickle.

The file's metadata has, as JSON, what the model is built from (`ModelSpec`), or nothing for a
module of the user's own; what its inputs are like; its classes; its fixed-point grid; and where it
came from. Checkpoints of version 3 are read, too.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from xnorflow.errors import FormatError, LoweringError, NetworkError
from xnorflow.files import read_file, write_atomically
from xnorflow.ir import FeatureMap, Provenance, Quantisation, UInt
from xnorflow.ir.xnf import decode_type, encode_type
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.models.former import grid_of, spec_of, state_of
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid
from xnorflow.sw.nn.sign import RSign


__all__ = [
    "VERSION",
    "Checkpoint",
    "decode_checkpoint",
    "load_checkpoint",
    "read_header",
    "save_checkpoint",
]

VERSION = 4
"""Version of the format that is written."""

_KEY = "xnorflow"
_FIELDS = {"version", "model", "input", "quantisation", "labels", "grid", "provenance"}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model, and what it was trained for.

    Attributes
    ----------
    model : Module
        In evaluation mode; on the ``grid`` if there is one.
    frame : FeatureMap
        What an input is like.
    labels : tuple of str
        Names of the classes.
    provenance : Provenance
    quantisation : Quantisation
        What the integers of an input stand for.
    grid : Grid or None
    spec : ModelSpec or None
        What the model is built from, unless it is a module of the user's own.
    """

    model: nn.Module
    frame: FeatureMap
    labels: tuple[str, ...]
    provenance: Provenance
    quantisation: Quantisation = field(default_factory=Quantisation)
    grid: Grid | None = None
    spec: ModelSpec | None = None


def save_checkpoint(checkpoint: Checkpoint, path: Path | str) -> None:
    """Write ``checkpoint`` to the file ``path``, whole or not at all.

    Raises
    ------
    FormatError
        If the file cannot be written.
    ValueError
        If the model is not in float32, in which models are trained.
    """
    dtype = next(checkpoint.model.parameters()).dtype
    if dtype != torch.float32:
        raise ValueError(f"a checkpoint must be in float32, not {dtype}")
    frame, grid, spec = checkpoint.frame, checkpoint.grid, checkpoint.spec
    header = {
        "version": VERSION,
        "model": None if spec is None else asdict(spec),
        "input": [*frame.shape, encode_type(frame.type)],
        "quantisation": asdict(checkpoint.quantisation),
        "labels": checkpoint.labels,
        "grid": None if grid is None else asdict(grid),
        "provenance": asdict(checkpoint.provenance),
    }
    state = {name: tensor.contiguous() for name, tensor in checkpoint.model.state_dict().items()}
    write_atomically(path, safetensors.torch.save(state, {_KEY: json.dumps(header)}))


def load_checkpoint(path: Path | str, model: nn.Module | None = None) -> Checkpoint:
    """Read a checkpoint from the file ``path``; its model is in evaluation mode.

    Parameters
    ----------
    path : path
        The file.
    model : Module, optional
        The user's own module that gets the parameters, if it was trained on one.

    Raises
    ------
    FormatError
        If the file cannot be read, is damaged or foreign, is of a newer version, or does not fit
        the ``model``.
    """
    data = read_file(path)
    try:
        return decode_checkpoint(data, model)
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


def decode_checkpoint(data: bytes, model: nn.Module | None = None) -> Checkpoint:
    """Read a checkpoint from the content of a file: see `load_checkpoint`."""
    try:
        state = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, RuntimeError):
        raise FormatError("it is damaged, or not a safetensors file at all") from None
    header = read_header(data, _KEY)
    version = header.get("version")
    if type(version) is not int:
        raise FormatError("it does not say its version")
    if version not in (3, VERSION):
        raise FormatError(f"its version is {version}, and only 3 and {VERSION} are known")
    try:
        made = _former(header, state) if version == 3 else _present(header)
        spec, state = made.spec, made.state if version == 3 else state
        if (spec is None) != (model is not None):
            raise FormatError(
                "it is of a module of one's own, which must be given"
                if spec is None
                else "it brings its own model"
            )
        float_model = model if spec is None else _empty(spec, len(state))
        assert float_model is not None
        _fill(float_model, state)
        trained = float_model
        if made.grid is not None:
            trained = prepare(float_model, made.grid, made.frame)
    except (NetworkError, LoweringError) as error:
        raise FormatError(str(error)) from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError):
        raise FormatError("its configuration has a wrong value") from None
    return Checkpoint(
        trained.eval(), made.frame, made.labels, made.provenance, made.quantisation, made.grid, spec
    )


@dataclass(frozen=True, eq=False)
class _Made:
    """Content of a header, and for version 3 the parameters by their present names."""

    spec: ModelSpec | None
    frame: FeatureMap
    labels: tuple[str, ...]
    provenance: Provenance
    quantisation: Quantisation
    grid: Grid | None
    state: dict[str, Tensor]


def _present(header: dict[str, Any]) -> _Made:
    if header.keys() != _FIELDS:
        raise FormatError("its header has missing or unknown fields")
    height, width, channels, kind = header["input"]
    spec = None if header["model"] is None else _spec(**header["model"])
    labels = tuple(map(str, header["labels"]))
    if spec is not None and (
        spec.task.shape != (channels, height, width) or len(labels) not in (0, spec.task.classes)
    ):
        raise FormatError("its input or its labels do not fit its model")
    return _Made(
        spec=spec,
        frame=FeatureMap(height, width, channels, decode_type(kind)),
        labels=labels,
        provenance=_provenance(header["provenance"]),
        quantisation=Quantisation(**header["quantisation"]),
        grid=None if header["grid"] is None else Grid(**header["grid"]),
        state={},
    )


def _spec(name: str, task: dict[str, Any], options: dict[str, Any]) -> ModelSpec:
    pixels = task["pixels"]
    return ModelSpec(
        name,
        Task(
            tuple(task["shape"]),
            task["classes"],
            None if pixels is None else IntegerPixels(**pixels),
        ),
        options,
    )


def _former(header: dict[str, Any], state: dict[str, Tensor]) -> _Made:
    spec = spec_of(header.get("model"), header["config"])
    channels, height, width = spec.task.shape
    return _Made(
        spec,
        FeatureMap(height, width, channels, UInt(8)),
        tuple(map(str, range(spec.task.classes))),
        _provenance(header["provenance"]),
        Quantisation(),
        grid_of(header["config"]),
        state_of(spec, state),
    )


def _empty(spec: ModelSpec, tensors: int) -> nn.Module:
    """The model of a ``spec`` without memory for parameters, of which there are so many."""
    lists = [value for value in spec.options.values() if isinstance(value, list)]
    if any(len(value) > tensors for value in lists):
        raise FormatError("its tensors do not fit its configuration")
    # On the meta device no memory is taken, however large a stranger says that the model is.
    with torch.device("meta"):
        return spec.build()


def _fill(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a model the parameters of a file."""
    expected = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
    if {name: (t.shape, t.dtype) for name, t in state.items()} != expected:
        raise FormatError("its tensors do not fit its configuration")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise FormatError("it has parameters that are not finite")
    model.load_state_dict(state, assign=True)
    polarities = (part.polarity for part in model.modules() if isinstance(part, RSign))
    if any(bool((each.abs() != 1).any()) for each in polarities if each is not None):
        raise FormatError("it has polarities that are neither -1 nor 1")


def _provenance(value: Any) -> Provenance:
    if not isinstance(value, dict) or value.keys() != {field.name for field in fields(Provenance)}:
        raise FormatError("its provenance has missing or unknown fields")
    return Provenance(**value)
