"""The kinds of models: what is trained, saved, lowered and compared."""

from xnorflow.sw.models.chain import Chain, ChainConfig
from xnorflow.sw.residual import Residual
from xnorflow.sw.residual_config import ResidualConfig


__all__ = ["Config", "Model", "build"]

Config = ChainConfig | ResidualConfig
"""What a model is made of."""

Model = Chain | Residual


def build(config: Config) -> Model:
    """Model with its first parameters."""
    return Chain(config) if isinstance(config, ChainConfig) else Residual(config)
