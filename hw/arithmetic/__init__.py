"""Arithmetic and memories that operators are made of, and what they cost."""
