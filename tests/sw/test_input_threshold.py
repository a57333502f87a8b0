"""The learned threshold of pixels."""

import math

import pytest
import torch

from tests.sw.quantising import column, slope
from xnorflow.sw.nn.input_threshold import InputThreshold


@pytest.mark.parametrize("level", [-30.0, -0.3, 0.0, 0.7, 30.0])
def test_input_threshold_is_an_integer(level):
    quantiser = InputThreshold().double()
    with torch.no_grad():
        quantiser.level.fill_(level)
    pixels = torch.arange(256, dtype=torch.float64)[:, None]
    (threshold,) = quantiser.levels().thresholds
    assert threshold.denominator == 1
    assert torch.equal(quantiser(pixels) > 0, pixels >= float(threshold))
    assert threshold == math.ceil(255 / (1 + math.exp(-level)))
    assert 1 <= threshold <= 255


def test_input_threshold_learns():
    quantiser = InputThreshold().double()
    pixels = column(0.0, 128.0, 230.0).requires_grad_()
    quantiser(pixels).sum().backward()
    slopes = [slope((pixel - 128) / 255) for pixel in (0.0, 128.0, 230.0)]
    assert (pixels.grad.flatten() * 255).tolist() == pytest.approx(slopes)
    assert quantiser.level.grad.item() == pytest.approx(-sum(slopes) / 4)  # σ′(0) = ¼
