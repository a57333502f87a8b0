"""Statistics of batch normalisation, measured once a model is trained."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from xnorflow.ir import Quantisation
from xnorflow.sw.augment import augment
from xnorflow.sw.batches import EVALUATION_BATCH
from xnorflow.sw.data import values_of
from xnorflow.sw.recipes import Recipe


__all__ = ["measure_statistics"]


@torch.no_grad()
def measure_statistics(
    model: nn.Module, images: Tensor, recipe: Recipe, quantisation: Quantisation | None = None
) -> None:
    """Replace running means and variances by those of all ``images``, as training saw them.

    Those that training leaves are averages of the last few batches, most of them from before the
    last weights changed. Every batch normalisation gets the mean over batches of what it would use
    in training. Source: Wu and Johnson, arXiv 2105.07576.

    Parameters
    ----------
    model : Module
        It is left in evaluation mode.
    images : uint8 tensor, (N, height, width, channels)
        Training images.
    recipe : Recipe
        Whose distortions they get; its seed decides which.
    quantisation : Quantisation, optional
        What the integers of the images stand for.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    # Only these: weights that are quantised in training mode may change.
    users = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        or any(isinstance(child, _BatchNorm) for child in module.children())
    ]
    momenta = [norm.momentum for norm in norms]
    generator = torch.Generator().manual_seed(recipe.seed)
    for module in users:
        module.training = True
    for number, batch in enumerate(images.split(EVALUATION_BATCH), 1):
        for norm in norms:
            norm.momentum = 1 / number
        model(values_of(augment(batch, recipe.augmentation, generator), quantisation))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
