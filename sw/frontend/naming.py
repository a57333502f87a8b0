"""Names of a graph's operations, no two of them alike."""

import re

from xnorflow.ir import INPUT


__all__ = ["Names"]


class Names:
    """Makes names that nodes of a network can have, from those of a model."""

    def __init__(self) -> None:
        self.used = {INPUT, "scores", "label"}

    def base(self, text: str) -> str:
        """Prefix of the names of operations, from the name of a module or a node."""
        text = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48]
        return text if re.match(r"[a-z]", text) else f"layer_{text}"

    def unique(self, name: str) -> str:
        """The ``name``, or with a number behind it if there is one like it."""
        number, unique = 1, name
        while unique in self.used:
            number += 1
            unique = f"{name}_{number}"
        self.used.add(unique)
        return unique
