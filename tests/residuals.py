"""Residual models with random parameters."""

from dataclasses import replace

import torch

from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualConfig


def scrambled(config: ResidualConfig, seed: int) -> Residual:
    """Model in evaluation mode whose parameters are far from their first values."""
    torch.manual_seed(seed)
    model = Residual(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("norm.weight", "positive", "negative", "before", "after", "bias")):
                parameter.normal_()
                # Batch norms that ignore what comes in, too.
                parameter[torch.rand(parameter.shape) < 0.1] = 0.0
            if name.endswith(("alpha", "beta", "excite.weight")):
                parameter.normal_()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.3, 3)
    return model


def thinned(config: ResidualConfig, factor: int, side: int) -> ResidualConfig:
    """The same form, with ``factor`` times fewer channels, for images of ``side`` pixels."""
    return replace(
        config,
        stem=replace(config.stem, channels=config.stem.channels // factor),
        units=tuple(replace(unit, channels=unit.channels // factor) for unit in config.units),
        input_shape=(side, side, 3),
    )
