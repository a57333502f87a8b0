"""Units that move words and compute nothing, and what all units know of words."""
