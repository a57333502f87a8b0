"""Sweeps: one training for each seed and each combination of settings.

A sweep is a TOML file, whose ``settings`` may be lists. Every combination is trained by each seed,
without the last training images, on which its accuracy is then measured: nothing is chosen by the
test set.
"""

import itertools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from xnorflow.errors import DataError
from xnorflow.files import read_file
from xnorflow.parallel import Outcome, digest
from xnorflow.sw.batches import accuracy
from xnorflow.sw.data import load_data
from xnorflow.sw.module_names import is_module_name
from xnorflow.sw.recipes import Optimiser, Recipe
from xnorflow.sw.start import from_module, from_name
from xnorflow.sw.train import train


__all__ = ["Run", "Setting", "Summary", "Sweep", "load_sweep", "runs_of", "summarise", "train_run"]

Setting = tuple[tuple[str, Any], ...]
"""Names and values, of the model's method and the recipe's fields."""

_KEYS = "model", "data", "grid", "seeds", "held_out", "settings"
_FIELDS = {
    field.name: field.type
    for field in fields(Recipe)
    if field.type in (int, float, bool, Optimiser) and field.name not in ("seed", "temperature")
}


@dataclass(frozen=True)
class Sweep:
    """What is trained.

    Attributes
    ----------
    model : str
        Name of a model, or ``my_model.py:MyNet``.
    data : str
        As ``--data`` takes it.
    grid : tuple of int or None
        Of a module of one's own: bits and fractional bits.
    seeds : tuple of int
    held_out : int
        Training images on which accuracy is measured, and which are not learned from.
    settings : tuple of Setting
        Combinations.
    """

    model: str
    data: str
    grid: tuple[int, ...] | None
    seeds: tuple[int, ...]
    held_out: int
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Run:
    """A training of a sweep.

    Attributes
    ----------
    key : str
        Digest of all that it follows from; the name of its folder ends in it.
    """

    key: str
    setting: Setting
    seed: int

    @property
    def name(self) -> str:
        """Settings and seed, as a name for a folder."""
        values = (*self.setting, ("seed", self.seed))
        return "-".join(f"{name}={value}".replace("/", "_") for name, value in values)


@dataclass(frozen=True)
class Summary:
    """Accuracy of a setting on the held-out images, a fraction.

    Attributes
    ----------
    runs : int
        Those that came to an end.
    mean : float or None
        None if no run did.
    deviation : float or None
        Of a sample; None for a single run.
    """

    setting: Setting
    runs: int
    mean: float | None
    deviation: float | None


def load_sweep(path: Path) -> Sweep:
    """Read a sweep.

    Raises
    ------
    DataError
        If it is no TOML, or if a key or a value is none that a sweep has.
    """
    try:
        content = tomllib.loads(read_file(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML file: {error}") from None
    try:
        return _sweep(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _sweep(content: dict[str, Any]) -> Sweep:
    unknown = sorted(set(content) - set(_KEYS))
    if unknown:
        raise DataError(f"a sweep has no {unknown[0]!r}: choose from {', '.join(_KEYS)}")
    model, data = content.get("model", "tfc"), content.get("data", "mnist")
    for name, text in ("model", model), ("data", data):
        if not isinstance(text, str):
            raise DataError(f"{name} must be a text, not {text!r}")
    seeds = content.get("seeds", 1)
    seeds = range(1, seeds + 1) if type(seeds) is int else _integers("seeds", seeds)
    if not seeds:
        raise DataError("there must be a seed")
    held_out = content.get("held_out", 5000)
    if type(held_out) is not int or held_out < 1:
        raise DataError(f"held_out must be a number of training images, not {held_out!r}")
    settings = _settings(content.get("settings", {}))
    if is_module_name(model) and any("method" in dict(setting) for setting in settings):
        raise DataError("method is not for a module of your own")
    grid = None if "grid" not in content else _integers("grid", content["grid"])
    return Sweep(model, data, grid, tuple(dict.fromkeys(seeds)), held_out, settings)


def _integers(name: str, values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise DataError(f"{name} must be a list of whole numbers, not {values!r}")
    return tuple(values)


def _settings(content: Any) -> tuple[Setting, ...]:
    """All combinations of the values."""
    if not isinstance(content, dict):
        raise DataError(f"settings must be a table, not {content!r}")
    choices = []
    for name, value in content.items():
        if name != "method" and name not in _FIELDS:
            allowed = ", ".join(["method", *_FIELDS])
            raise DataError(f"{name!r} is not a setting: choose from {allowed}")
        values = value if isinstance(value, list) else [value]
        if not values:
            raise DataError(f"{name} has no value")
        choices.append([(name, _checked(name, each)) for each in values])
    return tuple(itertools.product(*choices))


def _checked(name: str, value: Any) -> Any:
    kind = _FIELDS.get(name, str)
    if kind is Optimiser:
        names = [each.value for each in Optimiser]
        if value not in names:
            raise DataError(f"{name} must be one of {', '.join(names)}, not {value!r}")
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise DataError(f"{name} must be of type {kind.__name__}, not {value!r}")
    return value


def runs_of(sweep: Sweep) -> list[Run]:
    """All trainings of a sweep, those of the first seed first."""
    own = is_module_name(sweep.model)
    code = read_file(sweep.model.rpartition(":")[0]) if own else b""
    shared = repr((sweep.model, sweep.data, sweep.grid, sweep.held_out))
    return [
        Run(digest(code, shared, repr(sorted(setting)), str(seed)), setting, seed)
        for seed in sweep.seeds
        for setting in sweep.settings
    ]


def train_run(common: tuple[Sweep, str], run: Run) -> dict[str, Any]:
    """Train one of a sweep's runs in a folder of the sweep's, and measure its accuracy.

    It uses a single thread, so that its result does not depend on how many run at once. A training
    that was interrupted goes on.

    Returns
    -------
    dict
        ``held_out``, the accuracy on held-out images, and ``folder``, where the model is.
    """
    sweep, out = common
    data = load_data(sweep.data, None)
    options = dict(run.setting)
    method = options.pop("method", None)
    if is_module_name(sweep.model):
        start = from_module(sweep.model, sweep.grid)
    else:
        start = from_name(sweep.model, method, data)
    if "optimiser" in options:
        options["optimiser"] = Optimiser(options["optimiser"])
    recipe = replace(start.recipe, seed=run.seed, **options)
    folder = Path(out) / f"{run.name}-{run.key[:6]}"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        checkpoint = train(
            start.model, recipe, data, folder, grid=start.grid, held_out=sweep.held_out
        )
        images, labels = data.train_images[-sweep.held_out :], data.train_labels[-sweep.held_out :]
        right = accuracy(checkpoint.model, images, labels, quantisation=data.quantisation)
    finally:
        torch.set_num_threads(threads)
    return {"held_out": right, "folder": str(folder)}


def summarise(runs: Iterable[Run], outcomes: Mapping[str, Outcome]) -> list[Summary]:
    """Mean and deviation of each setting, the best first."""
    found: dict[Setting, list[float]] = {}
    for run in runs:
        accuracies = found.setdefault(run.setting, [])
        outcome = outcomes.get(run.key)
        if outcome is not None and outcome.error is None:
            accuracies.append(outcome.value["held_out"])
    summaries = [
        Summary(
            setting,
            len(accuracies),
            fmean(accuracies) if accuracies else None,
            stdev(accuracies) if len(accuracies) > 1 else None,
        )
        for setting, accuracies in found.items()
    ]
    return sorted(
        summaries, key=lambda each: -1.0 if each.mean is None else each.mean, reverse=True
    )
