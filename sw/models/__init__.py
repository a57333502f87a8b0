"""Models that have a name, each readable alone."""
