"""Residual networks as hardware: forks, queues and joins, whole accelerators."""
