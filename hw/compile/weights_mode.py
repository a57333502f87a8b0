"""Whether weights are fixed."""

from enum import Enum


__all__ = ["WeightsMode"]


class WeightsMode(Enum):
    """Whether weights and thresholds may change in what has been built."""

    FIXED = "fixed"
    RUNTIME = "runtime"
