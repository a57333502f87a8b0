"""Models: plain modules, each readable alone."""
