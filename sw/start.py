"""Where a training starts: from the name of a model, or from a trained one."""

from dataclasses import replace
from enum import Enum
from typing import TypeVar

from torch import Tensor

from xnorflow.errors import DataError
from xnorflow.sw.calibrate import CALIBRATED_ON, calibrate
from xnorflow.sw.data import Dataset
from xnorflow.sw.kinds import Config, Model
from xnorflow.sw.models.chain import Chain, ChainConfig, Method, Named
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.recipes import Recipe, fine_tune, recipe_for, recipe_for_residual, warm_start
from xnorflow.sw.residual_config import ResidualMethod
from xnorflow.sw.residual_names import NamedResidual


__all__ = ["choice", "from_model", "from_name"]

_LEAST_IMAGENET_SIDE = 64
"""Below, the last maps of a model for ImageNet would be single pixels."""

Choice = TypeVar("Choice", bound=Enum)


def from_name(
    name: str,
    method: str | None,
    dataset: Dataset,
    classes: int,
    hidden: tuple[int, ...] | None = None,
) -> tuple[Config, Recipe]:
    """What a model that has a name is made of, and what it is trained with.

    Parameters
    ----------
    name : str
        A `Named` or a `NamedResidual`.
    method : str, optional
        A `Method` or a `ResidualMethod`; otherwise plain signs, or whose residual model it is.
    dataset : Dataset
        Whose images it is for.
    classes : int
        How many of them.
    hidden : tuple of int, optional
        Hidden layers of a chain, instead of those that it has.

    Raises
    ------
    DataError
        If there is no such model or method, if the model has no hidden layers to replace, or if
        it is made for larger images.
    """
    pixels = IntegerPixels(*dataset.normalisation)
    residual = {member.value: member for member in NamedResidual}
    if name in residual:
        if hidden is not None:
            raise DataError(f"{name} has no hidden layers")
        member = residual[name]
        chosen = choice(ResidualMethod, method or member.method.value, "residual method")
        height, width, _ = dataset.shape
        if member.imagenet and min(height, width) < _LEAST_IMAGENET_SIDE:
            small = name.removesuffix("-imagenet")
            raise DataError(
                f"{name} is made for larger images than {height}×{width}: choose {small}"
            )
        config = member.config(
            chosen, pixels, input_shape=dataset.shape, classes=classes, grid=member.grid
        )
        return config, recipe_for_residual(member, dataset)
    known = ", ".join([*(member.value for member in Named), *residual])
    if name not in {member.value for member in Named}:
        raise DataError(f"{name!r} is not a model: choose from {known}")
    named, way = Named(name), choice(Method, method or Method.SIGN.value, "method")
    chain = named.config(way, input_shape=dataset.shape, classes=classes, pixels=pixels)
    if hidden is not None:
        chain = replace(chain, hidden=hidden)
    return chain, recipe_for(named, way, dataset)


def from_model(
    start: Model, method: str | None, dataset: Dataset, images: Tensor
) -> tuple[Config, Recipe]:
    """What a model that starts with another one's parameters is made of, and trained with.

    It is the same, on a fixed-point grid if it is residual: the first of the training ``images``
    choose one if it has none. Or it has another ``method``, and then it takes longer to train. Only
    residual models are multiplied in bfloat16, where AdaBin's levels in chains would be rounded.

    Raises
    ------
    DataError
        If there is no such method.
    """
    if isinstance(start, Chain):
        chain: ChainConfig = start.config
        if method is None or method == chain.method.value:
            return chain, fine_tune(dataset, mixed=False)
        way = choice(Method, method, "method")
        return replace(chain, method=way), warm_start(dataset, mixed=False)
    grid = start.config.grid or calibrate(start, images[:CALIBRATED_ON])
    config = replace(start.config, grid=grid)
    if method is None or method == config.method.value:
        return config, fine_tune(dataset, mixed=True)
    other = choice(ResidualMethod, method, "residual method")
    half = other is ResidualMethod.SIMAN
    return replace(config, method=other), warm_start(dataset, mixed=True, half=half)


def choice(kind: type[Choice], text: str, what: str) -> Choice:
    """Member of an enumeration by its value.

    Raises
    ------
    DataError
        If it has none of that value.
    """
    for member in kind:
        if member.value == text:
            return member
    known = ", ".join(str(member.value) for member in kind)
    raise DataError(f"{text!r} is not a {what}: choose from {known}")
