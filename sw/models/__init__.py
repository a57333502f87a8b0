"""Models that have a name, each readable alone."""

from xnorflow.sw.models.registry import NAMED, Task


__all__ = ["NAMED", "Task"]
