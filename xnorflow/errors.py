"""Errors that a user can cause. The command line prints them as one sentence and exits with 1.

XnorflowError
├── NetworkError   a network that breaks the contract of xnorflow.ir
├── FormatError    a file that is damaged, foreign, or of a newer version
├── DataError      a data set or an array that is missing or not what it should be
├── LoweringError  a model that has no exact integer network
├── DesignError    a folding, budget or device that does not work out
├── ToolError      an external program that is missing or has failed
└── LinkError      a board that does not answer, or answers wrongly
"""

__all__ = [
    "DataError",
    "DesignError",
    "FormatError",
    "LinkError",
    "LoweringError",
    "NetworkError",
    "ToolError",
    "XnorflowError",
]


class XnorflowError(Exception):
    """Base of all errors that carry a sentence for the user."""


class NetworkError(XnorflowError, ValueError):
    """A network, or one of its nodes, breaks the contract."""


class FormatError(XnorflowError):
    """A file cannot be read as what it claims to be."""


class DataError(XnorflowError):
    """A data set or an input array is missing, damaged, or of a wrong shape or type."""


class LoweringError(XnorflowError):
    """A trained model cannot be turned into an exact integer network."""


class DesignError(XnorflowError, ValueError):
    """A folding is not valid, or a design does not fit its budget."""


class ToolError(XnorflowError):
    """An external tool is missing, or it ran and failed."""


class LinkError(XnorflowError):
    """The connection to a board failed."""
