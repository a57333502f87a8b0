"""Matrices and quantisers that tests of quantisers share."""

import torch

from xnorflow.sw.nn.adabin import AdaBinActivation
from xnorflow.sw.nn.sign import RSign


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def random_matrix(rows, columns, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, requires_grad=True)


def rows(*matrices):
    return zip(*(matrix.tolist() for matrix in matrices), strict=True)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def adabin(alpha, beta, fraction=None):
    quantiser = AdaBinActivation(fraction).double()
    with torch.no_grad():
        quantiser.alpha.fill_(alpha)
        quantiser.beta.fill_(beta)
    return quantiser


def rsign(*bias, polarised=False):
    quantiser = RSign(len(bias), polarised=polarised).double()
    with torch.no_grad():
        quantiser.bias.copy_(torch.tensor(bias))
    return quantiser


def slope(u):
    """Bi-Real's derivative."""
    return max(0.0, 2 - 2 * abs(u))
