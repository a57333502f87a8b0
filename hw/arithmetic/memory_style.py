"""Places of memories."""

from enum import Enum


__all__ = ["MemoryStyle"]


class MemoryStyle(Enum):
    """Place of a memory; the values are those of Yosys' ``rom_style`` and ``ram_style``."""

    AUTO = "auto"
    BLOCK = "block"
    DISTRIBUTED = "distributed"
    LOGIC = "logic"

    def attributes(self):
        """Attributes that ask the synthesiser for this style."""
        if self is MemoryStyle.AUTO:
            return {}
        return {"rom_style": self.value, "ram_style": self.value}
