"""Specification of a model that has a name, as files and trainings keep it."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import nn

from xnorflow.errors import NetworkError
from xnorflow.sw.models.registry import NAMED, Task
from xnorflow.sw.nn.arguments import member


__all__ = ["ModelSpec"]


@dataclass(frozen=True)
class ModelSpec:
    """The name of a model, what it is made for, and what else its function takes.

    Attributes
    ----------
    name : str
        In `NAMED`.
    task : Task
    options : mapping of str to JSON value
        Further arguments; ``method`` is the value of an enumeration.

    Raises
    ------
    NetworkError
        If no model has the name, or if it takes no such options.
    """

    name: str
    task: Task
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # As a file has it, so that specs are equal that build the same.
        object.__setattr__(self, "options", json.loads(json.dumps(dict(self.options))))
        if self.name not in NAMED:
            raise NetworkError(f"{self.name!r} is not a model: choose from {', '.join(NAMED)}")
        try:
            self._signature.bind(self.task, **self.options)
        except TypeError as error:
            raise NetworkError(f"{self.name} cannot be made of these options: {error}") from None
        member(f"method of {self.name}", self.method, self.methods)

    @property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(NAMED[self.name])

    @property
    def methods(self) -> type[Enum]:
        """Methods that there are of the model."""
        return type(self._signature.parameters["method"].default)

    @property
    def method(self) -> str:
        """How the model binarises: that of the options, or its authors'."""
        usual: str = self._signature.parameters["method"].default.value
        return str(self.options.get("method", usual))

    def with_method(self, method: str) -> "ModelSpec":
        """The same model, binarised in another way."""
        return ModelSpec(self.name, self.task, {**self.options, "method": method})

    def build(self) -> nn.Module:
        """The model, with first parameters; in floating point."""
        make: Callable[..., nn.Module] = NAMED[self.name]
        return make(self.task, **{**self.options, "method": self.methods(self.method)})
