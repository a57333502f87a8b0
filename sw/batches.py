"""Accuracy of a model, batch by batch."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from xnorflow.ir import Quantisation
from xnorflow.sw.data import values_of


__all__ = ["EVALUATION_BATCH", "accuracy"]

EVALUATION_BATCH = 250
"""Images that are evaluated at once."""


@torch.no_grad()
def accuracy(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    progress: Callable[[int, int], None] | None = None,
    *,
    quantisation: Quantisation | None = None,
) -> float:
    """Fraction of ``images`` (N, height, width, channels) that the model gets right in float64.

    ``progress`` is called now and then with the number of images that are done, and of all.
    """
    model = copy.deepcopy(model).double().eval()
    right = done = 0
    for batch, expected in zip(
        images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True
    ):
        logits = model(values_of(batch.double(), quantisation))
        right += int((logits.argmax(dim=1) == expected).sum())
        done += len(batch)
        if progress is not None:
            progress(done, len(images))
    return right / len(images)
