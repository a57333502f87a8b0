"""Recipes of the zoo's queue: long ones for a GPU, and what a processor can do in hours."""

from dataclasses import replace
from enum import Enum

from xnorflow.sw.data import Dataset
from xnorflow.sw.models.methods import Method, ResidualMethod
from xnorflow.sw.recipes import (
    AVERAGING,
    TEMPERATURE,
    Optimiser,
    Recipe,
    recipe_for,
    recipe_for_residual,
    teacher,
    warm_start,
)
from xnorflow.sw.teacher import Body


__all__ = ["Machine", "distilled", "queue_recipe", "queue_teacher"]

_GPU_EPOCHS = 400
_PROCESSOR_EPOCHS = 60
_TEACHER_EPOCHS = 100


class Machine(Enum):
    """What a queue is run on."""

    GPU = "gpu"
    PROCESSOR = "cpu"


def distilled(recipe: Recipe, temperature: float = TEMPERATURE) -> Recipe:
    """Any ``recipe``, with a teacher in place of labels."""
    return replace(
        recipe, name=f"{recipe.name}-taught", temperature=temperature, label_smoothing=0.0
    )


def queue_recipe(machine: Machine, model: str, method: Method | ResidualMethod) -> Recipe:
    """Recipe of a network for CIFAR-10.

    On a GPU it starts with random weights, as its authors have it, but with a teacher. On a
    processor a residual network starts with AdaBin's released weights, at a low rate. ReActNet's
    and DyBNN's authors train with Adam and a teacher.
    """
    if isinstance(method, Method):
        epochs = _GPU_EPOCHS if machine is Machine.GPU else _PROCESSOR_EPOCHS
        recipe = replace(recipe_for(model, method, Dataset.CIFAR10), epochs=epochs)
    elif machine is Machine.PROCESSOR:
        recipe = warm_start(Dataset.CIFAR10, mixed=True)
        if method is ResidualMethod.ADABIN:
            # Nothing is new to its weights but the teacher and the grid.
            recipe = replace(recipe, learning_rate=0.0002, progress=1.0)
    else:
        recipe = replace(recipe_for_residual(model, Dataset.CIFAR10), epochs=_GPU_EPOCHS)
        if method is ResidualMethod.ADABIN:
            recipe = replace(recipe, weight_decay=1e-4)
        elif method is not ResidualMethod.SIMAN_BIPOLAR:
            recipe = replace(recipe, optimiser=Optimiser.ADAM, learning_rate=0.001)
    averaged = replace(recipe, name=f"queue-{machine.value}", measured=True, averaging=AVERAGING)
    return distilled(averaged)


def queue_teacher(machine: Machine, dataset: Dataset) -> tuple[Recipe, Body]:
    """Recipe and body of the teacher."""
    recipe = teacher(dataset)
    if machine is Machine.PROCESSOR:
        return recipe, Body.SMALL
    return replace(recipe, epochs=_TEACHER_EPOCHS), Body.RESNET18
