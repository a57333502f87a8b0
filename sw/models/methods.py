"""How residual models binarise, and which activation functions they have."""

from enum import Enum


__all__ = ["ResidualMethod"]


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

    DYBNN_APART = "dybnn-apart"
    """The same, but the shifts follow from the means of the sums that they shift."""

    SIMAN_MEAN = "siman-mean"
    """SiMaN's weights ±α, and the mean of each frame as threshold; PReLU."""

    @property
    def dynamic(self) -> bool:
        """Whether thresholds follow from the frame."""
        ways = ResidualMethod.DYBNN, ResidualMethod.DYBNN_APART, ResidualMethod.SIMAN_MEAN
        return self in ways
