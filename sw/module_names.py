"""Names of modules in Python files, as users give them."""

__all__ = ["is_module_name"]


def is_module_name(text: str) -> bool:
    """Whether ``text`` looks like ``my_model.py:MyNet``."""
    path, colon, name = text.rpartition(":")
    return bool(colon) and path.endswith(".py") and name.isidentifier()
