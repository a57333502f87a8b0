"""How models binarise, and which activation functions they have."""

from enum import Enum

from xnorflow.sw.nn.adabin import AdaBinActivation, AdaBinWeight
from xnorflow.sw.nn.integer_activation import IntegerActivation
from xnorflow.sw.nn.quantiser import ActivationQuantiser, WeightQuantiser
from xnorflow.sw.nn.sign import Sign, SignWeight
from xnorflow.sw.nn.siman import SiManForm, SiManWeight


__all__ = ["Method", "ResidualMethod"]


# Fractional bits of β before the last layer, whose scores are integers of about as many bits more.
_SCORE_FRACTION = 4

# First step of activations of 2 bits: HWGQ's, arXiv 1702.00953, for the normal distribution.
_STEP = 0.538


class Method(Enum):
    """How weights and activations of a model without residual connections are binarised."""

    SIGN = "sign"
    """Sign with a scale for every filter; sign."""

    ADABIN = "adabin"
    """Two adaptive levels for every filter; two learned levels."""

    SIMAN = "siman"
    """Weights {0, α} that mark the larger half of the magnitudes; sign."""

    SIMAN_BIPOLAR = "siman-bipolar"
    """The same bits as weights ±α; sign."""

    W1A2 = "w1a2"
    """Sign with a scale for every filter; 0…3 times a learned scale."""

    def weights(self, filters: int, *, last: bool = False) -> WeightQuantiser:
        """Quantiser of weights; in the ``last`` layer all classes share a scale."""
        match self:
            case Method.SIGN | Method.W1A2:
                return SignWeight(shared_scale=last)
            case Method.ADABIN:
                return AdaBinWeight(shared_scale=last)
            case Method.SIMAN:
                return SiManWeight(filters, SiManForm.HALF, shared_scale=last)
            case Method.SIMAN_BIPOLAR:
                return SiManWeight(filters, SiManForm.BIPOLAR, shared_scale=last)

    def activations(self, *, last: bool = False) -> ActivationQuantiser:
        """Quantiser of activations."""
        if self is Method.ADABIN:
            return AdaBinActivation(_SCORE_FRACTION if last else None)
        if self is Method.W1A2:
            return IntegerActivation(2, scale=_STEP)
        return Sign()


class ResidualMethod(Enum):
    """How a residual model binarises, and which two slopes it has."""

    ADABIN = "adabin"
    """Two adaptive levels for every filter, two learned levels; Maxout."""

    SIMAN = "siman"
    """Weights {0, α} that mark the larger half of the magnitudes, learned thresholds, half of them
    inverted; PReLU.
    """

    SIMAN_BIPOLAR = "siman-bipolar"
    """The same bits as weights ±α, learned thresholds; PReLU."""

    REACTNET = "reactnet"
    """Sign with a scale for every filter, learned thresholds; RPReLU."""

    DYBNN = "dybnn"
    """ReActNet's, with thresholds and shifts that follow from the means of what a block gets."""

    DYBNN_SEPARATE = "dybnn-separate"
    """The same, but the shifts follow from the means of the sums that they shift."""

    SIMAN_MEAN = "siman-mean"
    """SiMaN's weights ±α, and the mean of each frame as threshold; PReLU."""

    @property
    def dynamic(self) -> bool:
        """Whether thresholds follow from the frame."""
        ways = ResidualMethod.DYBNN, ResidualMethod.DYBNN_SEPARATE, ResidualMethod.SIMAN_MEAN
        return self in ways
