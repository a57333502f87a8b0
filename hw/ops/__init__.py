"""Operators: a file each, with the stage of a pipeline and the component that it becomes."""
