"""Batches of images through a model, whatever it takes."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from xnorflow.ir import Quantisation
from xnorflow.sw.data import values_of


__all__ = ["EVALUATION_BATCH", "accuracy", "logits_of"]

EVALUATION_BATCH = 250
"""Images that are evaluated at once."""

_AS_THEY_ARE = Quantisation()


def logits_of(model: nn.Module, images: Tensor, quantisation: Quantisation) -> Tensor:
    """Logits (N, classes) of ``images`` (N, height, width, channels)."""
    # Models that xnorflow configures take raw pixels as they are.
    raw = hasattr(model, "config")
    logits: Tensor = model(images if raw else values_of(images, quantisation))
    return logits


@torch.no_grad()
def accuracy(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    progress: Callable[[int, int], None] | None = None,
    *,
    quantisation: Quantisation = _AS_THEY_ARE,
) -> float:
    """Fraction of ``images`` (N, height, width, channels) that the model gets right in float64.

    ``progress`` is called now and then with the number of images that are done, and of all.
    """
    model = copy.deepcopy(model).double().eval()
    right = done = 0
    for batch, expected in zip(
        images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True
    ):
        logits = logits_of(model, batch.double(), quantisation)
        right += int((logits.argmax(dim=1) == expected).sum())
        done += len(batch)
        if progress is not None:
            progress(done, len(images))
    return right / len(images)
